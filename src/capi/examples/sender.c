/* Hosts a session, and sends what it reads from standard input as a file of that session, block by block, read in place:
 * no copy but the kernel's. It prints the session's id, which the receiver wants, and waits until all was read.
 *
 * usage: sender FILE < DATA
 */
#define _POSIX_C_SOURCE 200809L
#include <antiphon.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static int failed(const char *what)
{
    fprintf(stderr, "sender: %s: %s\n", what, antiphon_error_text());
    return 1;
}

int main(int argc, char **argv)
{
    shmem_host *host;
    shmem_session *session;
    shmem_file *file;
    uint64_t bytes = 0;
    size_t came;
    const shmem_entry *entries;
    size_t entries_len;
    if (argc != 2) {
        fprintf(stderr, "usage: sender FILE < DATA\n");
        return 2;
    }
    if (shmem_session_host(NULL, &host) != ANTIPHON_OK) return failed("host");
    if (shmem_session_connect(shmem_host_id(host), NULL, &session) != ANTIPHON_OK) return failed("connect");
    if (shmem_open(session, argv[1], SHMEM_WRITE, NULL, &file) != ANTIPHON_OK) return failed("open");
    printf("%016" PRIX64 "\n", shmem_host_id(host));
    fflush(stdout);
    do {
        shmem_block block;
        antiphon_error error;
        /* That a receiver died is told once; what it had goes to the next. */
        do error = shmem_block_claim(file, &block);
        while (error == ANTIPHON_ERROR_PEER_DIED || error == ANTIPHON_ERROR_DISCONNECTED);
        if (error != ANTIPHON_OK) return failed("claim");
        came = fread(block.data, 1, block.len, stdin);
        bytes += came;
        /* A block of no bytes is the end of the file. */
        if (shmem_block_complete(file, &block, came) != ANTIPHON_OK) return failed("complete");
    } while (came > 0);
    shmem_close(file);
    /* The host keeps the file until all of it was read. */
    for (;;) {
        const struct timespec pause = {0, 10 * 1000 * 1000};
        if (shmem_list(session, &entries, &entries_len) != ANTIPHON_OK) return failed("list");
        if (entries_len == 0) break;
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "sender: %" PRIu64 " bytes\n", bytes);
    shmem_session_close(session);
    shmem_host_close(host);
    return 0;
}
