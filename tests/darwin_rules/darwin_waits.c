/*
 * darwin_waits.c - what Darwin waits with and Linux has not: for a word of memory by its address (os_sync_*, by a
 * futex), and for the end of a process (kqueue, by epoll and a pidfd).
 *
 *   -DBEFORE_14_4             builds a Darwin that has no os_sync_* yet
 *   DARWIN_RULES_FAULTS=n     of so many waits for an address one fails, by turns with EFAULT, EDOM, ENOMEM, EINTR
 *
 * Sources: [H] <os/os_sync_wait_on_address.h>, <sys/event.h>; [X] XNU 11417.101.15, bsd/kern/sys_ulock.c,
 * kern_event.c; [M] memory only, treat as a guess.
 */
#include "darwin_rules.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- os_sync_*: a process that does not say "shared" reaches its own threads only */

#ifndef BEFORE_14_4

enum { SHARED = 1, MACH_ABSOLUTE_TIME = 32 };

static int fails(const char *call, int error)
{
    note("os_sync", call, error);
    errno = error;
    return -1;
}

static int futex_of(int operation, uint32_t flags) { return flags & SHARED ? operation : operation | FUTEX_PRIVATE_FLAG; }

/* The one of `n` waits that is to fail, or 0. */
static int due_fault(void)
{
    static const int faults[] = {EFAULT, EDOM, ENOMEM, EINTR};
    static unsigned waits;
    const char *every = getenv("DARWIN_RULES_FAULTS");
    unsigned n = every ? (unsigned)atoi(every) : 0;
    if (n == 0) return 0;
    unsigned wait = __atomic_add_fetch(&waits, 1, __ATOMIC_RELAXED);
    return wait % n ? 0 : faults[wait / n % 4];
}

/* The number of those who go on waiting [H], which nobody asks for: 0. */
EXPORT int os_sync_wait_on_address_with_timeout(void *address, uint64_t value, size_t size, uint32_t flags,
                                                uint32_t clock, uint64_t nanoseconds)
{
    /* Eight bytes are not imitated. */
    if (!address || (uintptr_t)address % 4 || size != 4 || flags & ~1u || clock != MACH_ABSOLUTE_TIME || !nanoseconds)
        return fails("os_sync_wait_on_address_with_timeout", EINVAL);
    int fault = due_fault();
    if (fault) {
        errno = fault;
        return -1;
    }
    struct timespec limit = {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
    if (limit.tv_sec < 0) limit.tv_sec = INT32_MAX;
    long done = unrefused(SYS_futex, (long)address, futex_of(FUTEX_WAIT, flags), (long)(uint32_t)value, (long)&limit);
    return done == 0 || errno == EAGAIN ? 0 : -1;
}

EXPORT int os_sync_wake_by_address_any(void *address, size_t size, uint32_t flags)
{
    if (!address || (uintptr_t)address % 4 || size != 4 || flags & ~1u)
        return fails("os_sync_wake_by_address_any", EINVAL);
    long woken = unrefused(SYS_futex, (long)address, futex_of(FUTEX_WAKE, flags), 1, 0);
    if (woken == 0) errno = ENOENT; /* nobody waits [H] */
    return woken > 0 ? 0 : -1;
}

#endif

/* ---- kqueue: the ends of processes, one process a queue, and nothing else */

enum { EVFILT_PROC = -5, EV_ADD = 1, EV_ONESHOT = 0x10, EV_ERROR = 0x4000, EV_EOF = 0x8000 };

#define NOTE_EXIT 0x80000000u

#pragma pack(4)

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#pragma pack()

#define FDS 65536

enum { NO_QUEUE = 0, EMPTY = -1 };

/* For each descriptor that is a queue: the pidfd in it, or EMPTY. */
static int watched[FDS];

/* A queue is not inherited by a child: there its number is free, for whatever the child opens next. */
static void forget_queues(void)
{
    for (int fd = 0; fd < FDS; fd++) {
        if (watched[fd] == NO_QUEUE) continue;
        if (watched[fd] != EMPTY) syscall(SYS_close, watched[fd]);
        watched[fd] = NO_QUEUE;
        syscall(SYS_close, fd);
    }
}

static void count_forks(void) { pthread_atfork(NULL, NULL, forget_queues); }

/* Not close-on-exec [M]. */
EXPORT int kqueue(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, count_forks);
    int queue = epoll_create1(0);
    if (queue >= FDS) {
        syscall(SYS_close, queue);
        errno = EMFILE;
        return -1;
    }
    if (queue >= 0) __atomic_store_n(&watched[queue], EMPTY, __ATOMIC_RELAXED);
    return queue;
}

/* 0, or the errno. */
static int watch(int queue, const struct kevent *change)
{
    if (change->filter != EVFILT_PROC || change->flags != (EV_ADD | EV_ONESHOT) || change->fflags != NOTE_EXIT ||
        watched[queue] != EMPTY) {
        note("kqueue", "a kevent that is not imitated", change->filter);
        return EINVAL;
    }
    int pid = (int)change->ident;
    if (!is_process(pid)) return ESRCH; /* a zombie is none [X] */
    int pidfd = (int)unrefused(SYS_pidfd_open, pid, 0, 0, 0);
    if (pidfd < 0) return errno == EMFILE || errno == ENFILE ? ENOMEM : ESRCH;
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = (uint64_t)pid};
    epoll_ctl(queue, EPOLL_CTL_ADD, pidfd, &wanted);
    watched[queue] = pidfd;
    return 0;
}

EXPORT int kevent(int queue, const struct kevent *changes, int nchanges, struct kevent *events, int nevents,
                  const struct timespec *limit)
{
    if (queue < 0 || queue >= FDS || watched[queue] == NO_QUEUE) {
        errno = EBADF;
        return -1;
    }
    int filled = 0;
    for (int i = 0; i < nchanges; i++) {
        int error = watch(queue, &changes[i]);
        if (error && filled < nevents) {
            events[filled] = changes[i];
            events[filled].flags = EV_ERROR;
            events[filled++].data = error;
        } else if (error) {
            errno = error;
            return -1;
        }
    }
    if (filled || !nevents) return filled;
    struct epoll_event ended;
    int milliseconds = limit ? (int)(limit->tv_sec * 1000 + limit->tv_nsec / 1000000) : -1;
    int count = epoll_wait(queue, &ended, 1, milliseconds);
    if (count != 1) return count;
    memset(&events[0], 0, sizeof events[0]);
    events[0].ident = (uintptr_t)ended.data.u64;
    events[0].filter = EVFILT_PROC;
    events[0].flags = EV_ADD | EV_ONESHOT | EV_EOF;
    events[0].fflags = NOTE_EXIT;
    return 1;
}

EXPORT int close(int fd)
{
    if (fd >= 0 && fd < FDS && watched[fd] != NO_QUEUE) {
        if (watched[fd] != EMPTY) syscall(SYS_close, watched[fd]);
        watched[fd] = NO_QUEUE;
    }
    return (int)syscall(SYS_close, fd);
}
