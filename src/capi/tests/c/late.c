/* Touches blocks that are no longer in hand, and looks where it faults. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf back;
static void *volatile fault;

static void faulted(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    fault = info->si_addr;
    siglongjmp(back, 1);
}

/* Whether touching the byte is SIGSEGV, at exactly that address. */
static int faults(volatile unsigned char *at, int writes)
{
    fault = NULL;
    if (sigsetjmp(back, 1) == 0) {
        if (writes)
            *at = 1;
        else
            (void)*at;
        return 0;
    }
    CHECK(fault == (void *)at);
    return 1;
}

static int all_fault(unsigned char *data, size_t len)
{
    size_t at;
    int are = 1;
    for (at = 0; at < len; at += 1021) are &= faults(data + at, at & 1) == 1;
    return are & faults(data + len - 1, 0) & faults(data + len - 1, 1);
}

static int none_faults(unsigned char *data, size_t len)
{
    return !faults(data, 0) && !faults(data + len / 2, 1) && !faults(data + len - 1, 1);
}

#define BLOCK 65536

int main(void)
{
    shmem_host *host;
    shmem_host_options hosting;
    int guards;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = faulted;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    alarm(120);
    memset(&hosting, 0, sizeof hosting);
    hosting.size = sizeof hosting;
    hosting.id = ((uint64_t)getpid() << 32) | 0x1a7e;
    hosting.block_bytes = BLOCK;
    hosting.blocks = 3;
    OK(shmem_session_host(&hosting, &host));
    for (guards = 0; guards < 2; guards++) {
        shmem_session *session;
        shmem_session_options options;
        shmem_file *writer, *reader;
        shmem_block one, two, end, block;
        unsigned char *first, *second, *read[2];
        memset(&options, 0, sizeof options);
        options.size = sizeof options;
        options.guard_blocks = (uint32_t)guards;
        OK(shmem_session_connect(hosting.id, &options, &session));
        OK(shmem_open(session, "late", SHMEM_WRITE, NULL, &writer));
        OK(shmem_open(session, "late", SHMEM_READ, NULL, &reader));
        OK(shmem_block_claim(writer, &one));
        OK(shmem_block_claim(writer, &two));
        first = (unsigned char *)one.data;
        second = (unsigned char *)two.data;
        CHECK(none_faults(first, BLOCK) && none_faults(second, BLOCK));
        OK(shmem_block_complete(writer, &one, BLOCK));
        /* At once with the option; otherwise when the file is at its end. */
        CHECK(guards ? all_fault(first, BLOCK) : none_faults(first, BLOCK));
        CHECK(none_faults(second, BLOCK));
        OK(shmem_block_drop(writer, &two));
        CHECK(guards ? all_fault(second, BLOCK) : none_faults(second, BLOCK));
        OK(shmem_block_claim(writer, &two));
        CHECK(two.again && none_faults((unsigned char *)two.data, BLOCK));
        OK(shmem_block_claim(writer, &end));
        OK(shmem_block_complete(writer, &end, 0));
        CHECK(none_faults((unsigned char *)two.data, BLOCK));
        second = (unsigned char *)two.data;
        OK(shmem_block_complete(writer, &two, BLOCK));
        CHECK(all_fault(first, BLOCK) && all_fault(second, BLOCK));

        OK(shmem_block_claim(reader, &block));
        read[0] = (unsigned char *)block.data;
        CHECK(read[0] != first && none_faults(read[0], BLOCK));
        OK(shmem_block_complete(reader, &block, 0));
        CHECK(guards ? all_fault(read[0], BLOCK) : none_faults(read[0], BLOCK));
        OK(shmem_block_claim(reader, &block));
        read[1] = (unsigned char *)block.data;
        OK(shmem_block_complete(reader, &block, 0));
        RETURNS(ANTIPHON_END, shmem_block_claim(reader, &block));
        CHECK(all_fault(read[0], BLOCK) && all_fault(read[1], BLOCK));
        OK(shmem_close(writer));
        OK(shmem_close(reader));
        OK(shmem_session_close(session));
    }
    OK(shmem_host_close(host));
    puts("ok late");
    return 0;
}
