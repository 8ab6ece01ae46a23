/*
 * darwin_lacks.c - calls that Linux has and Darwin has not: they fail with ENOSYS (our choice: on a Mac the program
 * would not link).
 */
#include "darwin_rules.h"
#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

/* ---- robust mutexes, timed locks */

EXPORT int pthread_mutexattr_setrobust(pthread_mutexattr_t *a, int r)
{
    REAL(int, "pthread_mutexattr_setrobust", pthread_mutexattr_t *, int);
    if (r && !allowed("robust")) {
        note("robust", "pthread_mutexattr_setrobust", r);
        return ENOSYS;
    }
    return real(a, r);
}

EXPORT int pthread_mutex_timedlock(pthread_mutex_t *restrict m, const struct timespec *restrict t)
{
    REAL(int, "pthread_mutex_timedlock", pthread_mutex_t *, const struct timespec *);
    if (!allowed("robust")) {
        note("robust", "pthread_mutex_timedlock", 0);
        return ENOSYS;
    }
    return real(m, t);
}

/* ---- calls that only Linux has */

EXPORT ssize_t process_vm_readv(pid_t p, const struct iovec *l, unsigned long n, const struct iovec *r, unsigned long k,
                                unsigned long f)
{
    REAL(ssize_t, "process_vm_readv", pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long,
         unsigned long);
    return allowed("vmrw") ? real(p, l, n, r, k, f) : refuse("vmrw", "process_vm_readv", p, ENOSYS);
}

EXPORT ssize_t process_vm_writev(pid_t p, const struct iovec *l, unsigned long n, const struct iovec *r,
                                 unsigned long k, unsigned long f)
{
    REAL(ssize_t, "process_vm_writev", pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long,
         unsigned long);
    return allowed("vmrw") ? real(p, l, n, r, k, f) : refuse("vmrw", "process_vm_writev", p, ENOSYS);
}

EXPORT int memfd_create(const char *n, unsigned f)
{
    REAL(int, "memfd_create", const char *, unsigned);
    return allowed("memfd") ? real(n, f) : refuse("memfd", "memfd_create", f, ENOSYS);
}

EXPORT int eventfd(unsigned v, int f)
{
    REAL(int, "eventfd", unsigned, int);
    return allowed("eventfd") ? real(v, f) : refuse("eventfd", "eventfd", f, ENOSYS);
}

/* The same by number.  Rust's std parks with FUTEX_PRIVATE_FLAG, which is left alone. */
#define FUTEX_CMD_PRIVATE 128

static long (*real_syscall(void))(long, ...)
{
    static long (*real)(long, ...);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real;
}

long unrefused(long nr, long a, long b, long c, long d) { return real_syscall()(nr, a, b, c, d, 0, 0); }

EXPORT long syscall(long nr, ...)
{
    va_list v;
    va_start(v, nr);
    long a = va_arg(v, long), b = va_arg(v, long), c = va_arg(v, long), d = va_arg(v, long), e = va_arg(v, long),
         f = va_arg(v, long);
    va_end(v);
    switch (nr) {
    case SYS_futex:
        if (!(b & FUTEX_CMD_PRIVATE) && !allowed("futex")) return refuse("futex", "shared futex", b, ENOSYS);
        break;
#ifdef SYS_futex_waitv
    case SYS_futex_waitv:
        if (!allowed("futex")) return refuse("futex", "futex_waitv", 0, ENOSYS);
        break;
#endif
    case SYS_memfd_create:
        if (!allowed("memfd")) return refuse("memfd", "memfd_create", b, ENOSYS);
        break;
    case SYS_eventfd2:
        if (!allowed("eventfd")) return refuse("eventfd", "eventfd2", b, ENOSYS);
        break;
    case SYS_process_vm_readv:
    case SYS_process_vm_writev:
        if (!allowed("vmrw")) return refuse("vmrw", "process_vm_*", a, ENOSYS);
        break;
#ifdef SYS_pidfd_open
    case SYS_pidfd_open:
    case SYS_pidfd_getfd:
    case SYS_pidfd_send_signal:
        if (!allowed("pidfd")) return refuse("pidfd", "pidfd_*", a, ENOSYS);
        break;
#endif
    default: break;
    }
    return real_syscall()(nr, a, b, c, d, e, f);
}
