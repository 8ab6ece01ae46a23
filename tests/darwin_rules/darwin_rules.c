/*
 * darwin_rules.c - preloaded into a Linux process (glibc), makes it live under Darwin's rules for shared memory, named
 * semaphores, Unix sockets and their like: what macOS refuses is refused here.  What passes is not thereby proven to
 * work on a Mac; what fails would fail there.  ci/darwin-rules builds it and runs the tests under it.
 *
 * Here: shared memory and named semaphores.  darwin_sockets.c: Unix sockets.  darwin_lacks.c: what only Linux has.
 * darwin_calls.c, darwin_waits.c: what only Darwin has.  check.c: does all of this work?
 *
 *   LD_PRELOAD=.../libdarwin_rules.so program     (children inherit it; static programs and bare `syscall`
 *                                                  instructions escape it)
 *
 *   DARWIN_RULES_PAGE=16384   the page that sizes of shared memory are rounded up to (Intel Macs: 4096)
 *   DARWIN_RULES_ALLOW=a,b    switches rules off: name trunc round stat mmap rw lock timedwait getvalue seminit eintr
 *                             vmrw memfd eventfd futex sunpath dgram sock robust pidfd umask devshm otmpfile, or all
 *   DARWIN_RULES_LOG=path     gets one line for each refusal ("2": standard error)
 *   DARWIN_RULES_CACHE=path   the user's cache folder (see darwin_calls.c)
 *   DARWIN_RULES_FAULTS=n     one in so many waits for an address fails (see darwin_waits.c)
 *
 * Sources: XNU 11417.101.15, bsd/kern/posix_shm.c, posix_sem.c, kern_descrip.c,
 * libsyscall/wrappers/posix_sem_obsolete.c.  Where Darwin lacks a call altogether, ENOSYS is our choice.
 */
#include "darwin_rules.h"
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef TMPFS_MAGIC
#define TMPFS_MAGIC 0x01021994
#endif

enum {
    DARWIN_SHMNAME = 31, /* PSHMNAMLEN, without the NUL: 31 characters pass */
    DARWIN_SEMNAME = 30, /* posix_sem.c counts the NUL against PSEMNAMLEN (31) */
    DARWIN_SEM_VALUE_MAX = 32767
};

int allowed(const char *rule)
{
    const char *a = getenv("DARWIN_RULES_ALLOW");
    size_t n = strlen(rule);
    while (a && *a) {
        size_t k = strcspn(a, ",");
        if ((k == n && !memcmp(a, rule, n)) || (k == 3 && !memcmp(a, "all", 3))) return 1;
        a += k + (a[k] == ',');
    }
    return 0;
}

void note(const char *rule, const char *what, long v)
{
    const char *p = getenv("DARWIN_RULES_LOG");
    if (!p) return;
    int e = errno;
    char b[256];
    int n = snprintf(b, sizeof b, "darwin_rules[%d]: %s: %s (%ld)\n", (int)getpid(), rule, what, v);
    int fd =
        !strcmp(p, "2") ? 2 : (int)syscall(SYS_openat, AT_FDCWD, p, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) {
        (void)!syscall(SYS_write, fd, b, (size_t)n);
        if (fd != 2) syscall(SYS_close, fd);
    }
    errno = e;
}

int refuse(const char *rule, const char *what, long v, int err)
{
    note(rule, what, v);
    errno = err;
    return -1;
}

static long darwin_page(void)
{
    static long pg;
    if (!pg) {
        const char *s = getenv("DARWIN_RULES_PAGE");
        pg = s ? strtol(s, 0, 0) : 16384;
        if (pg < 4096) pg = 16384;
    }
    return pg;
}

/* ---- which descriptors are shared memory?  glibc's are regular files on the tmpfs /dev/shm */

/* "/dev/shm/x", or "/dev/shm/x (deleted)"; named semaphores are "/dev/shm/sem.x", and opened inside libc only. */
static int is_shm_path(const char *p) { return !strncmp(p, "/dev/shm/", 9) && strncmp(p + 9, "sem.", 4); }

static int is_shm_fd(int fd)
{
    struct stat st;
    struct statfs fs;
    char link[64], tgt[512];
    int e = errno, r = 0;
    if (fd >= 0 && syscall(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode) && syscall(SYS_fstatfs, fd, &fs) == 0 &&
        (unsigned long)fs.f_type == TMPFS_MAGIC) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, tgt, sizeof tgt - 1);
        if (n > 0) {
            tgt[n] = 0;
            r = is_shm_path(tgt);
        }
    }
    errno = e;
    return r;
}

/* Darwin's objects are nowhere in the file system: is this a path to where Linux has them? */
static int devshm(const char *p)
{
    int inside = p && !strncmp(p, "/dev/shm", 8) && (p[8] == 0 || p[8] == '/');
    return inside && !allowed("devshm");
}

/* ---- shm_open, shm_unlink: length of names, O_TRUNC, no umask */

EXPORT int shm_open(const char *name, int oflag, mode_t mode)
{
    REAL(int, "shm_open", const char *, int, mode_t);
    if (!allowed("name") && strlen(name) > DARWIN_SHMNAME)
        return refuse("name", name, (long)strlen(name), ENAMETOOLONG);
    if ((oflag & O_TRUNC) && !allowed("trunc")) {
        /* Only while the length is not yet set. */
        int fd = real(name, oflag & ~(O_TRUNC | O_CREAT | O_EXCL), 0);
        struct stat st;
        if (fd >= 0) {
            int sized = syscall(SYS_fstat, fd, &st) == 0 && st.st_size != 0;
            syscall(SYS_close, fd);
            if (sized && !(oflag & O_EXCL))
                return refuse("trunc", "O_TRUNC on a sized object", (long)st.st_size, EINVAL);
        }
        oflag &= ~O_TRUNC;
    }
    int fd = real(name, oflag, mode);
    /* XNU does not apply the umask (its code, not its manual).  With O_EXCL we know that we are the creator. */
    if (fd >= 0 && (oflag & O_CREAT) && (oflag & O_EXCL) && !allowed("umask")) {
        int e = errno;
        syscall(SYS_fchmod, fd, mode & 07777);
        errno = e;
    }
    return fd;
}

EXPORT int shm_unlink(const char *name)
{
    REAL(int, "shm_unlink", const char *);
    if (!allowed("name") && strlen(name) > DARWIN_SHMNAME) return refuse("name", name, (long)strlen(name), EINVAL);
    return real(name);
}

/* ---- ftruncate: once in an object's life, rounded up to the page */

static int do_ftruncate(int fd, int64_t len)
{
    if (is_shm_fd(fd)) {
        struct stat st;
        /* The size in the inode tells every process.  (On Darwin ftruncate(0) uses up the one call; here it is
         * refused outright, as nothing good follows.) */
        if (!allowed("trunc")) {
            if (len <= 0) return refuse("trunc", "ftruncate(<=0) on shm", (long)len, EINVAL);
            if (syscall(SYS_fstat, fd, &st) == 0 && st.st_size != 0)
                return refuse("trunc", "second ftruncate on shm", (long)len, EINVAL);
        }
        if (!allowed("round")) {
            int64_t pg = darwin_page();
            len = (len + pg - 1) / pg * pg;
        }
    }
#ifdef SYS_ftruncate64
    return (int)syscall(SYS_ftruncate64, fd, (uint32_t)len, (uint32_t)(len >> 32)); /* i386 */
#else
    return (int)syscall(SYS_ftruncate, fd, len);
#endif
}

EXPORT int ftruncate(int fd, off_t len) { return do_ftruncate(fd, len); }

EXPORT int ftruncate64(int fd, int64_t len) { return do_ftruncate(fd, len); }

static int falloc_refused(int fd) { return is_shm_fd(fd) && !allowed("trunc"); }

EXPORT int fallocate(int fd, int m, off_t o, off_t l)
{
    REAL(int, "fallocate", int, int, off_t, off_t);
    return falloc_refused(fd) ? refuse("trunc", "fallocate on shm", (long)l, ENOTSUP) : real(fd, m, o, l);
}

EXPORT int fallocate64(int fd, int m, int64_t o, int64_t l)
{
    REAL(int, "fallocate64", int, int, int64_t, int64_t);
    return falloc_refused(fd) ? refuse("trunc", "fallocate on shm", (long)l, ENOTSUP) : real(fd, m, o, l);
}

/* Darwin has none. */
EXPORT int posix_fallocate(int fd, off_t o, off_t l)
{
    REAL(int, "posix_fallocate", int, off_t, off_t);
    if (falloc_refused(fd)) {
        note("trunc", "posix_fallocate on shm", (long)l);
        return ENOSYS;
    }
    return real(fd, o, l);
}

/* ---- fstat: shared memory has no identity; device, inode and link count are 0, no type bits, no times */

static void blank_stat(struct stat *st)
{
    struct stat n;
    memset(&n, 0, sizeof n);
    n.st_mode = st->st_mode & 07777;
    n.st_uid = st->st_uid;
    n.st_gid = st->st_gid;
    n.st_size = st->st_size;
    *st = n;
}

EXPORT int fstat(int fd, struct stat *st)
{
    REAL(int, "fstat", int, struct stat *);
    int r = real(fd, st);
    if (r == 0 && !allowed("stat") && is_shm_fd(fd)) blank_stat(st);
    return r;
}

/* Where struct stat is struct stat64. */
#if __SIZEOF_LONG__ == 8
EXPORT int fstat64(int fd, struct stat64 *st)
{
    REAL(int, "fstat64", int, struct stat64 *);
    int r = real(fd, st);
    if (r == 0 && !allowed("stat") && is_shm_fd(fd)) blank_stat((struct stat *)(void *)st);
    return r;
}
#endif

/* Rust's File::metadata is statx(fd, "", AT_EMPTY_PATH). */
EXPORT int statx(int dfd, const char *restrict path, int fl, unsigned mask, struct statx *restrict b)
{
    REAL(int, "statx", int, const char *, int, unsigned, struct statx *);
    if (devshm(path)) return refuse("devshm", path, 0, ENOENT);
    int r = real(dfd, path, fl, mask, b);
    if (r == 0 && !*path && !allowed("stat") && is_shm_fd(dfd)) {
        b->stx_mode &= 07777;
        b->stx_ino = 0;
        b->stx_nlink = 0;
        b->stx_dev_major = b->stx_dev_minor = 0;
    }
    return r;
}

EXPORT int fchmod(int fd, mode_t m)
{
    REAL(int, "fchmod", int, mode_t);
    if (!allowed("stat") && is_shm_fd(fd)) return refuse("stat", "fchmod on shm", m, EINVAL);
    return real(fd, m);
}

EXPORT int fchown(int fd, uid_t u, gid_t g)
{
    REAL(int, "fchown", int, uid_t, gid_t);
    if (!allowed("stat") && is_shm_fd(fd)) return refuse("stat", "fchown on shm", u, EINVAL);
    return real(fd, u, g);
}

/* ---- mmap: shared only, of a sized object only, inside it, from an offset on Darwin's page; EPERM, not EACCES */

static void *do_mmap(void *a, size_t n, int prot, int fl, int fd, int64_t off,
                     void *(*real)(void *, size_t, int, int, int, int64_t))
{
    if (!(fl & MAP_ANONYMOUS) && !allowed("mmap") && is_shm_fd(fd)) {
        struct stat st;
        int acc = (int)syscall(SYS_fcntl, fd, F_GETFL);
        const char *w = NULL;
        int err = EINVAL;
        memset(&st, 0, sizeof st);
        syscall(SYS_fstat, fd, &st);
        /* MAP_SHARED_VALIDATE has this bit too. */
        if (!(fl & MAP_SHARED)) w = "MAP_PRIVATE of shm";
        else if (st.st_size == 0) w = "mmap before ftruncate";
        else if ((uint64_t)off + n > (uint64_t)st.st_size) w = "mmap beyond the object";
        else if (off % darwin_page()) w = "mmap offset is not on the page";
        else if ((prot & PROT_WRITE) && (acc & O_ACCMODE) == O_RDONLY) {
            w = "PROT_WRITE of a read-only shm fd";
            err = EPERM;
        }
        if (w) {
            refuse("mmap", w, (long)n, err);
            return MAP_FAILED;
        }
    }
    if ((fl & (MAP_HUGETLB)) && !allowed("mmap")) {
        refuse("mmap", "MAP_HUGETLB", 0, EINVAL);
        return MAP_FAILED;
    }
    return real(a, n, prot, fl, fd, off);
}

#if __SIZEOF_LONG__ == 8
EXPORT void *mmap(void *a, size_t n, int prot, int fl, int fd, off_t off)
{
    REAL(void *, "mmap", void *, size_t, int, int, int, int64_t);
    return do_mmap(a, n, prot, fl, fd, off, real);
}
#endif

EXPORT void *mmap64(void *a, size_t n, int prot, int fl, int fd, off64_t off)
{
    REAL(void *, "mmap64", void *, size_t, int, int, int, int64_t);
    return do_mmap(a, n, prot, fl, fd, off, real);
}

EXPORT void *mremap(void *a, size_t o, size_t n, int fl, ...)
{
    static void *(*real)(void *, size_t, size_t, int, ...);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "mremap");
    va_list v;
    va_start(v, fl);
    void *to = va_arg(v, void *);
    va_end(v);
    if (allowed("mmap")) return real(a, o, n, fl, to);
    refuse("mmap", "mremap", (long)n, ENOSYS);
    return MAP_FAILED;
}

/* ---- read, write, lseek and locks: not on shared memory (fo_no_read and its like); locks work on ordinary files */

#define RW(ret, name, decl, call, fd)                                                         \
    EXPORT ret name decl                                                                      \
    {                                                                                         \
        static ret(*real) decl;                                                               \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                                 \
        if (!allowed("rw") && is_shm_fd(fd)) return refuse("rw", #name " on shm", fd, ENXIO); \
        return real call;                                                                     \
    }

RW(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n), fd)
RW(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), fd)
RW(ssize_t, pread, (int fd, void *b, size_t n, off_t o), (fd, b, n, o), fd)
RW(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), fd)
RW(ssize_t, pread64, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o), fd)
RW(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), fd)
RW(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), fd)
RW(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd)

EXPORT off_t lseek(int fd, off_t o, int w)
{
    REAL(off_t, "lseek", int, off_t, int);
    if (!allowed("rw") && is_shm_fd(fd)) return refuse("rw", "lseek on shm", fd, ESPIPE);
    return real(fd, o, w);
}

EXPORT off64_t lseek64(int fd, off64_t o, int w)
{
    REAL(off64_t, "lseek64", int, off64_t, int);
    if (!allowed("rw") && is_shm_fd(fd)) return refuse("rw", "lseek on shm", fd, ESPIPE);
    return real(fd, o, w);
}

EXPORT int flock(int fd, int op)
{
    REAL(int, "flock", int, int);
    if (!allowed("lock") && is_shm_fd(fd)) return refuse("lock", "flock on shm", op, ENOTSUP);
    return real(fd, op);
}

static int fcntl_common(const char *sym, int fd, int cmd, void *arg)
{
    static int (*real[2])(int, int, ...);
    int k = sym[5] != 0;
    if (!real[k]) *(void **)&real[k] = dlsym(RTLD_NEXT, sym);
    switch (cmd) {
    case F_SETLK:
    case F_SETLKW:
    case F_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
    case F_OFD_GETLK:
        if (!allowed("lock") && is_shm_fd(fd)) return refuse("lock", "fcntl lock on shm", cmd, EBADF);
        break;
    case F_ADD_SEALS:
    case F_GET_SEALS:
    case F_SETPIPE_SZ:
    case F_GETPIPE_SZ:
    case F_NOTIFY:
        if (!allowed("lock")) return refuse("lock", "Linux-only fcntl", cmd, EINVAL);
        break;
    }
    return real[k](fd, cmd, arg);
}

#define FCNTL(name)                             \
    EXPORT int name(int fd, int cmd, ...)       \
    {                                           \
        va_list v;                              \
        va_start(v, cmd);                       \
        void *a = va_arg(v, void *);            \
        va_end(v);                              \
        return fcntl_common(#name, fd, cmd, a); \
    }

FCNTL(fcntl)
FCNTL(fcntl64)

/* ---- /dev/shm: opening, listing or unlinking by path must fail */

#define OPEN(name)                                                                                          \
    EXPORT int name(const char *p, int fl, ...)                                                             \
    {                                                                                                       \
        static int (*real)(const char *, int, ...);                                                         \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                                               \
        va_list v;                                                                                          \
        va_start(v, fl);                                                                                    \
        mode_t m = va_arg(v, mode_t);                                                                       \
        va_end(v);                                                                                          \
        if (devshm(p)) return refuse("devshm", p, 0, ENOENT);                                               \
        if ((fl & O_TMPFILE) == O_TMPFILE && !allowed("otmpfile")) return refuse("otmpfile", p, 0, EINVAL); \
        return real(p, fl, m);                                                                              \
    }

OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                        \
    EXPORT int name(int d, const char *p, int fl, ...)                                                      \
    {                                                                                                       \
        static int (*real)(int, const char *, int, ...);                                                    \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                                               \
        va_list v;                                                                                          \
        va_start(v, fl);                                                                                    \
        mode_t m = va_arg(v, mode_t);                                                                       \
        va_end(v);                                                                                          \
        if (devshm(p)) return refuse("devshm", p, 0, ENOENT);                                               \
        if ((fl & O_TMPFILE) == O_TMPFILE && !allowed("otmpfile")) return refuse("otmpfile", p, 0, EINVAL); \
        return real(d, p, fl, m);                                                                           \
    }

OPENAT(openat)
OPENAT(openat64)

struct __dirstream;

EXPORT struct __dirstream *opendir(const char *p)
{
    REAL(struct __dirstream *, "opendir", const char *);
    if (devshm(p)) {
        refuse("devshm", p, 0, ENOENT);
        return NULL;
    }
    return real(p);
}

EXPORT int unlink(const char *p)
{
    REAL(int, "unlink", const char *);
    return devshm(p) ? refuse("devshm", p, 0, ENOENT) : real(p);
}

/* ---- named semaphores: length of names, largest value, no timed waits, no looking at the value, no unnamed ones */

EXPORT sem_t *sem_open(const char *name, int oflag, ...)
{
    static sem_t *(*real)(const char *, int, ...);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "sem_open");
    mode_t mode = 0;
    unsigned value = 0;
    if (oflag & O_CREAT) {
        va_list v;
        va_start(v, oflag);
        mode = va_arg(v, mode_t);
        value = va_arg(v, unsigned);
        va_end(v);
    }
    if (!allowed("name") && strlen(name) > DARWIN_SEMNAME) {
        refuse("name", name, (long)strlen(name), ENAMETOOLONG);
        return SEM_FAILED;
    }
    if ((oflag & O_CREAT) && value > DARWIN_SEM_VALUE_MAX && !allowed("name")) {
        refuse("name", "SEM_VALUE_MAX", value, EINVAL);
        return SEM_FAILED;
    }
    return real(name, oflag, mode, value);
}

EXPORT int sem_unlink(const char *name)
{
    REAL(int, "sem_unlink", const char *);
    if (!allowed("name") && strlen(name) > DARWIN_SEMNAME)
        return refuse("name", name, (long)strlen(name), ENAMETOOLONG);
    return real(name);
}

/* A signal whose handler returns ends the wait, SA_RESTART or not (sem_wait_nocancel: KERN_ABORTED is EINTR, never
 * ERESTART).  Linux restarts a futex wait under SA_RESTART, unless it has a time limit: so it gets one. */
EXPORT int sem_wait(sem_t *s)
{
    REAL(int, "sem_wait", sem_t *);
    static int (*timed)(sem_t *, const struct timespec *);
    if (!timed) *(void **)&timed = dlsym(RTLD_NEXT, "sem_timedwait");
    static const struct timespec never = {INT_MAX, 0};
    return allowed("eintr") ? real(s) : timed(s, &never);
}

EXPORT int sem_timedwait(sem_t *restrict s, const struct timespec *restrict t)
{
    REAL(int, "sem_timedwait", sem_t *, const struct timespec *);
    return allowed("timedwait") ? real(s, t) : refuse("timedwait", "sem_timedwait", 0, ENOSYS);
}

EXPORT int sem_clockwait(sem_t *restrict s, clockid_t c, const struct timespec *restrict t)
{
    REAL(int, "sem_clockwait", sem_t *, clockid_t, const struct timespec *);
    return allowed("timedwait") && real ? real(s, c, t) : refuse("timedwait", "sem_clockwait", 0, ENOSYS);
}

EXPORT int sem_getvalue(sem_t *restrict s, int *restrict v)
{
    REAL(int, "sem_getvalue", sem_t *, int *);
    return allowed("getvalue") ? real(s, v) : refuse("getvalue", "sem_getvalue", 0, ENOSYS);
}

EXPORT int sem_init(sem_t *s, int p, unsigned v)
{
    REAL(int, "sem_init", sem_t *, int, unsigned);
    return allowed("seminit") ? real(s, p, v) : refuse("seminit", "sem_init", p, ENOSYS);
}

EXPORT int sem_destroy(sem_t *s)
{
    REAL(int, "sem_destroy", sem_t *);
    return allowed("seminit") ? real(s) : refuse("seminit", "sem_destroy", 0, ENOSYS);
}
