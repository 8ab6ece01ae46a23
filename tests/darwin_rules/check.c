/*
 * check.c - does libdarwin_rules refuse what it should, and leave alone what it should?
 *
 *   check                                            plain Linux: every call does what Linux does
 *   LD_PRELOAD=.../libdarwin_rules.so check darwin   the same calls, as Darwin would have them
 *   ... check darwin-14.3                            as the Darwin that -DBEFORE_14_4 builds would
 *
 * Says nothing where all is well but for the last line; ci/darwin-rules runs it both ways.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int darwin, before_14_4, checks, bad;
static char buf[65536];

static void judge(const char *what, int good, long is, long wanted)
{
    checks++;
    if (good) return;
    bad++;
    printf("BAD  %s: %ld, wanted %ld\n", what, is, wanted);
}

/* A call that succeeds on Linux; under the rules it fails with `want`, or succeeds where that is 0. */
#define CALL(what, expression, want)                                     \
    do {                                                                 \
        errno = 0;                                                       \
        long result = (long)(expression);                                \
        int is = result == -1 ? errno : 0, wanted = darwin ? (want) : 0; \
        judge(what, is == wanted, is, wanted);                           \
    } while (0)

/* A value, under the rules and on Linux. */
#define VALUE(what, expression, on_darwin, on_linux)                              \
    do {                                                                          \
        long is = (long)(expression), wanted = darwin ? (on_darwin) : (on_linux); \
        judge(what, is == wanted, is, wanted);                                    \
    } while (0)

static long opened(sem_t *s) { return s == SEM_FAILED ? -1 : 0; }

static void shared_memory(void)
{
    char name[64], name31[64], name32[64];
    struct stat st;
    snprintf(name, sizeof name, "/dr%d", getpid());
    snprintf(name31, sizeof name31, "/%030d", getpid());
    snprintf(name32, sizeof name32, "/%031d", getpid());

    CALL("shm_open, 31 characters", shm_open(name31, O_RDWR | O_CREAT | O_EXCL, 0666), 0);
    shm_unlink(name31);
    CALL("shm_open, 32 characters", shm_open(name32, O_RDWR | O_CREAT | O_EXCL, 0666), ENAMETOOLONG);
    CALL("shm_unlink, 32 characters", shm_unlink(name32), EINVAL);

    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0666);
    VALUE("shm_open", fd >= 0, 1, 1);
    CALL("mmap before ftruncate", mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EINVAL);
    CALL("ftruncate", ftruncate(fd, 5000), 0);
    fstat(fd, &st);
    VALUE("st_size", st.st_size, 16384, 5000);
    VALUE("st_ino is 0", st.st_ino == 0, 1, 0);
    VALUE("mode, with umask 022", st.st_mode & 07777, 0666, 0644);
    VALUE("S_ISREG", !!S_ISREG(st.st_mode), 0, 1);
    CALL("ftruncate again", ftruncate(fd, 5000), EINVAL);
    pid_t child = fork();
    if (child == 0) {
        int again = shm_open(name, O_RDWR, 0);
        _exit(again < 0 ? 99 : ftruncate(again, 5000) ? errno : 0);
    }
    int status;
    waitpid(child, &status, 0);
    VALUE("ftruncate again, in a child", WEXITSTATUS(status), EINVAL, 0);
    CALL("shm_open with O_TRUNC", shm_open(name, O_RDWR | O_TRUNC, 0), EINVAL);
    if (!darwin) VALUE("ftruncate after O_TRUNC", ftruncate(fd, 5000), 0, 0);

    CALL("mmap", mmap(0, 5000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), 0);
    CALL("mmap past the end", mmap(0, 16385, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EINVAL);
    CALL("mmap at 4096", mmap(0, 512, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096), EINVAL);
    CALL("mmap, private", mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), EINVAL);
    int read_only = shm_open(name, O_RDONLY, 0);
    errno = 0;
    mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, read_only, 0);
    VALUE("mmap for writing, opened for reading", errno, EPERM, EACCES);

    CALL("write", write(fd, "x", 1), ENXIO);
    CALL("read", read(fd, buf, 1), ENXIO);
    CALL("pwrite", pwrite(fd, "x", 1, 0), ENXIO);
    CALL("flock", flock(fd, LOCK_EX), ENOTSUP);
    struct flock lock = {.l_type = F_WRLCK, .l_len = 1};
    CALL("F_SETLK", fcntl(fd, F_SETLK, &lock), EBADF);
    lock = (struct flock){.l_type = F_WRLCK, .l_start = 1 << 20, .l_len = 1};
    CALL("F_OFD_SETLK", fcntl(fd, F_OFD_SETLK, &lock), EBADF);
    CALL("F_OFD_GETLK", fcntl(fd, F_OFD_GETLK, &lock), EBADF);
    CALL("fchmod", fchmod(fd, 0600), EINVAL);
    CALL("posix_fallocate", (errno = posix_fallocate(fd, 0, 9000)) ? -1 : 0, ENOSYS);

    CALL("opendir /dev/shm", opendir("/dev/shm") ? 0 : -1, ENOENT);
    snprintf(buf, 99, "/dev/shm%s", name);
    CALL("open by path", open(buf, O_RDWR), ENOENT);
    CALL("shm_unlink", shm_unlink(name), 0);
    fstat(fd, &st);
    VALUE("links once unlinked", st.st_nlink, 0, 0);
    CALL("ftruncate once unlinked", ftruncate(fd, 5000), EINVAL);
}

/* Nothing is refused, whoever the system is. */
static void ordinary_files(void)
{
    char path[] = "/tmp/darwin-check-XXXXXX";
    int one = mkstemp(path), other = open(path, O_RDWR);
    CALL("file: ftruncate twice", ftruncate(one, 10) || ftruncate(one, 20) ? -1 : 0, 0);
    CALL("file: write", write(one, "x", 1), 0);
    CALL("file: flock", flock(one, LOCK_EX), 0);

    struct flock byte0 = {.l_type = F_WRLCK, .l_len = 1};
    CALL("file: F_OFD_SETLK", fcntl(one, F_OFD_SETLK, &byte0), 0);
    errno = 0;
    fcntl(other, F_OFD_SETLK, &byte0);
    VALUE("file: F_OFD_SETLK held through another descriptor", errno, EAGAIN, EAGAIN);
    fcntl(other, F_OFD_GETLK, &byte0);
    VALUE("file: F_OFD_GETLK finds it", byte0.l_type, F_WRLCK, F_WRLCK);
    close(one);
    byte0 = (struct flock){.l_type = F_WRLCK, .l_len = 1};
    CALL("file: F_OFD_SETLK once closed", fcntl(other, F_OFD_SETLK, &byte0), 0);
    close(other);
    unlink(path);
}

static sem_t *rung;
static int alarms;

/* The second alarm lets a wait end that the first did not interrupt. */
static void on_alarm(int signal)
{
    (void)signal;
    if (++alarms == 2) sem_post(rung);
}

/* The errno of a sem_wait that a signal comes upon; 0 if it went on waiting. */
static int interrupted(int flags)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
    struct itimerval every = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
    alarms = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    int error = sem_wait(rung) ? errno : 0;
    setitimer(ITIMER_REAL, &never, NULL);
    while (sem_trywait(rung) == 0) continue;
    return error;
}

static void semaphores(void)
{
    char name[64], name30[64], name31[64];
    sem_t unnamed;
    int value;
    snprintf(name, sizeof name, "/dr%d", getpid());
    snprintf(name30, sizeof name30, "/%029d", getpid());
    snprintf(name31, sizeof name31, "/%030d", getpid());

    CALL("sem_open, 30 characters", opened(rung = sem_open(name30, O_CREAT | O_EXCL, 0600, 1)), 0);
    CALL("sem_open, 31 characters", opened(sem_open(name31, O_CREAT | O_EXCL, 0600, 1)), ENAMETOOLONG);
    if (!darwin) sem_unlink(name31);
    CALL("sem_open with 32768", opened(sem_open(name, O_CREAT | O_EXCL, 0600, 32768)), EINVAL);
    if (!darwin) sem_unlink(name);

    CALL("sem_trywait", sem_trywait(rung), 0);
    VALUE("sem_trywait, nothing there", sem_trywait(rung) ? errno : 0, EAGAIN, EAGAIN);
    CALL("sem_post", sem_post(rung), 0);
    CALL("sem_wait", sem_wait(rung), 0);
    VALUE("sem_wait, a signal", interrupted(0), EINTR, EINTR);
    VALUE("sem_wait, a signal with SA_RESTART", interrupted(SA_RESTART), EINTR, 0);

    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec++;
    sem_post(rung);
    CALL("sem_timedwait", sem_timedwait(rung, &soon), ENOSYS);
    clock_gettime(CLOCK_MONOTONIC, &soon);
    soon.tv_sec++;
    sem_post(rung);
    CALL("sem_clockwait", sem_clockwait(rung, CLOCK_MONOTONIC, &soon), ENOSYS);
    CALL("sem_getvalue", sem_getvalue(rung, &value), ENOSYS);
    CALL("sem_init", sem_init(&unnamed, 1, 0), ENOSYS);
    CALL("sem_unlink", sem_unlink(name30), 0);
}

static void linux_only(void)
{
    int word = 7, copy;
    pthread_mutexattr_t attribute;
    pthread_mutexattr_init(&attribute);
    CALL("robust mutex", (errno = pthread_mutexattr_setrobust(&attribute, PTHREAD_MUTEX_ROBUST)) ? -1 : 0, ENOSYS);
    struct iovec from = {&word, 4}, to = {&copy, 4};
    CALL("process_vm_readv", process_vm_readv(getpid(), &to, 1, &from, 1, 0), ENOSYS);
    CALL("process_vm_writev", process_vm_writev(getpid(), &to, 1, &from, 1, 0), ENOSYS);
    CALL("memfd_create", memfd_create("x", 0), ENOSYS);
    CALL("memfd_create by number", syscall(SYS_memfd_create, "x", 0), ENOSYS);
    CALL("eventfd", eventfd(0, 0), ENOSYS);
    CALL("shared futex", syscall(SYS_futex, &word, FUTEX_WAKE, 1, 0, 0, 0), ENOSYS);
    CALL("private futex", syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0), 0);
    CALL("pidfd_open", syscall(SYS_pidfd_open, getpid(), 0), ENOSYS);
}

static long bind_to(const struct sockaddr_un *address, size_t path)
{ return bind(socket(AF_UNIX, SOCK_DGRAM, 0), (const void *)address, sizeof address->sun_family + path); }

static void sockets(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/darwin-check-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder)) exit(2);
    memset(address.sun_path, 'x', sizeof address.sun_path);
    address.sun_path[104] = 0;
    CALL("bind, 104 characters", bind_to(&address, 105), ENAMETOOLONG);
    if (!darwin) unlink(address.sun_path);
    address.sun_path[103] = 0;
    CALL("bind, 103 characters", bind_to(&address, 104), 0);
    unlink(address.sun_path);
    if (chdir("/") || rmdir(folder)) exit(2);
    address.sun_path[0] = 0;
    CALL("bind, abstract", bind_to(&address, 20), ENOENT);
    CALL("seqpacket", socket(AF_UNIX, SOCK_SEQPACKET, 0), EPROTONOSUPPORT);

    int pair[2], room = 16384;
    CALL("socketpair", socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    CALL("datagram of 2048", send(pair[0], buf, 2048, 0), 0);
    CALL("datagram of 2049", send(pair[0], buf, 2049, 0), EMSGSIZE);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    CALL("datagram of 16000 after SO_SNDBUF", send(pair[0], buf, 16000, 0), 0);
    if (!darwin) return; /* the last one would block */
    long sent = 0;
    for (int i = 0; i < 10000 && sent >= 0; i++) sent = send(pair[0], buf, 512, 0);
    VALUE("full receiver", errno, ENOBUFS, 0);
}

/* Darwin's struct proc_bsdinfo, as far as it matters here. */
struct bsdinfo {
    uint32_t flags, status, xstatus, pid, ppid, uid, unused[24];
    uint64_t start_sec, start_usec;
};

_Static_assert(sizeof(struct bsdinfo) == 136, "Darwin's size");

static int (*pidinfo)(int, int, uint64_t, void *, int);

/* The errno, or 0. */
static int look(int pid, int zombies, struct bsdinfo *info)
{
    errno = 0;
    int filled = pidinfo(pid, 3, (uint64_t)zombies, info, sizeof *info);
    return filled == sizeof *info ? 0 : filled == 0 ? errno : -1;
}

static void *tell_thread(void *tid)
{
    *(int *)tid = (int)syscall(SYS_gettid);
    struct bsdinfo info;
    return (void *)(long)look(*(int *)tid, 0, &info);
}

static void processes(void)
{
    *(void **)&pidinfo = dlsym(RTLD_DEFAULT, "proc_pidinfo");
    VALUE("proc_pidinfo is there", pidinfo != NULL, 1, 0);
    if (!pidinfo) return;

    struct bsdinfo self, again, child, zombie;
    VALUE("self", look(getpid(), 0, &self), 0, 0);
    VALUE("self: pid", self.pid, getpid(), 0);
    VALUE("self: parent", self.ppid, getppid(), 0);
    VALUE("self: user", self.uid, geteuid(), 0);
    VALUE("self: runs", self.status, 2, 0);
    look(getpid(), 0, &again);
    VALUE("self: the same start time", memcmp(&self.start_sec, &again.start_sec, 16), 0, 0);
    VALUE("flavour unknown", pidinfo(getpid(), 99, 0, &again, sizeof again) ? 0 : errno, EINVAL, 0);
    VALUE("buffer too small", pidinfo(getpid(), 3, 0, &again, sizeof again - 1) ? 0 : errno, ENOMEM, 0);

    usleep(30000); /* start times are counted in hundredths of a second */
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    VALUE("child", look(pid, 0, &child), 0, 0);
    VALUE("child: its parent", child.ppid, getpid(), 0);
    VALUE("child: started later",
          child.start_sec > self.start_sec || (child.start_sec == self.start_sec && child.start_usec > self.start_usec),
          1, 0);
    kill(pid, SIGKILL);
    siginfo_t ended;
    waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT);
    VALUE("zombie", look(pid, 0, &zombie), ESRCH, 0);
    VALUE("zombie, when asked for", look(pid, 1, &zombie), 0, 0);
    VALUE("zombie: status", zombie.status, 5, 0);
    VALUE("zombie: the same start time", memcmp(&child.start_sec, &zombie.start_sec, 16), 0, 0);
    waitpid(pid, NULL, 0);
    VALUE("gone", look(pid, 1, &zombie), ESRCH, 0);
    VALUE("pid -1", look(-1, 0, &zombie), ESRCH, 0);
    struct rlimit all, none;
    getrlimit(RLIMIT_NOFILE, &all);
    none = all;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    int without = look(getpid(), 0, &again);
    setrlimit(RLIMIT_NOFILE, &all);
    VALUE("self, without a descriptor: anything but gone", without != 0 && without != ESRCH, 1, 0);

    pthread_t thread;
    int tid;
    void *seen;
    pthread_create(&thread, NULL, tell_thread, &tid);
    pthread_join(thread, &seen);
    VALUE("a thread is no process", (long)seen, ESRCH, 0);

    if (geteuid() != 0) {
        look(1, 0, &again);
        VALUE("another user's", errno, EPERM, 0);
        return;
    }
    if ((pid = fork()) == 0) {
        pid_t root = getppid();
        if (setuid(65534)) _exit(99);
        _exit(look(root, 0, &again));
    }
    int status;
    waitpid(pid, &status, 0);
    VALUE("another user's", WEXITSTATUS(status), EPERM, 0);
}

static void cache_folder(void)
{
    enum { USER_CACHE_DIR = 65538 };

    char path[4096], cut[8];
    struct stat st;
    VALUE("confstr: _CS_PATH is libc's", confstr(_CS_PATH, path, sizeof path) > 1 && path[0] == '/', 1, 1);
    size_t size = confstr(USER_CACHE_DIR, path, sizeof path);
    VALUE("confstr: the cache folder", size > 0, 1, 0);
    if (!darwin) return;
    VALUE("confstr: the length with the NUL", size, (long)strlen(path) + 1, 0);
    VALUE("confstr: ends in a slash", path[size - 2], '/', 0);
    VALUE("confstr: a folder of one's own", stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? st.st_mode & 07777 : 0, 0700,
          0);
    VALUE("confstr: asked for the length", confstr(USER_CACHE_DIR, NULL, 0), (long)size, 0);
    VALUE("confstr: cut off", confstr(USER_CACHE_DIR, cut, sizeof cut), (long)size, 0);
    VALUE("confstr: cut off, and ended", strncmp(cut, path, sizeof cut - 1) == 0 && cut[sizeof cut - 1] == 0, 1, 0);
}

static int (*wait_for)(void *, uint64_t, size_t, uint32_t, uint32_t, uint64_t);
static int (*wake_one)(void *, size_t, uint32_t);

/* Who waits for a word in a child: the exit status is 0 if it was woken. */
static pid_t waiter(uint32_t *word, uint32_t flags)
{
    pid_t pid = fork();
    if (pid == 0) _exit(wait_for(word, 0, 4, flags, 32, 20000000000) ? errno : 0);
    return pid;
}

static void waits_for_addresses(void)
{
    *(void **)&wait_for = dlsym(RTLD_DEFAULT, "os_sync_wait_on_address_with_timeout");
    *(void **)&wake_one = dlsym(RTLD_DEFAULT, "os_sync_wake_by_address_any");
    int there = darwin && !before_14_4;
    VALUE("os_sync_wait_on_address_with_timeout is there", wait_for != NULL, there, 0);
    VALUE("os_sync_wake_by_address_any is there", wake_one != NULL, there, 0);
    if (!wait_for || !wake_one) return;

    uint32_t *word = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    setenv("DARWIN_RULES_FAULTS", "0", 1);
    CALL("wait for nothing in time", wait_for(word, 0, 4, 1, 32, 1000000), ETIMEDOUT);
    CALL("wait with another value", wait_for(word, 7, 4, 1, 32, 20000000000), 0);
    CALL("wait without a limit", wait_for(word, 0, 4, 1, 32, 0), EINVAL);
    CALL("wait by another clock", wait_for(word, 0, 4, 1, 6, 1000000), EINVAL);
    CALL("wait for an odd address", wait_for((char *)word + 1, 0, 4, 1, 32, 1000000), EINVAL);
    CALL("wake nobody", wake_one(word, 4, 1), ENOENT);

    int status;
    pid_t child = waiter(word, 1);
    while (wake_one(word, 4, 1)) usleep(100);
    waitpid(child, &status, 0);
    VALUE("woken in another process", WEXITSTATUS(status), 0, 0);
    child = waiter(word, 0);
    usleep(100000); /* most likely it waits by then */
    CALL("wake one that did not say that it shares", wake_one(word, 4, 1), ENOENT);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);

    setenv("DARWIN_RULES_FAULTS", "2", 1);
    int seen[4], is_fault[4] = {0, 0, 0, 0}, faults[4] = {EFAULT, EDOM, ENOMEM, EINTR};
    for (int i = 0; i < 8; i++) {
        int error = wait_for(word, 7, 4, 1, 32, 1000000) ? errno : 0;
        if (i % 2) seen[i / 2] = error;
        else VALUE("a wait that is not to fail", error, 0, 0);
    }
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) is_fault[k] |= seen[i] == faults[k];
    VALUE("faults of all kinds", is_fault[0] + is_fault[1] + is_fault[2] + is_fault[3], 4, 0);
    unsetenv("DARWIN_RULES_FAULTS");
    munmap(word, 4096);
}

#pragma pack(4)

/* Darwin's struct kevent. */
struct event {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#pragma pack()

static void ends_of_processes(void)
{
    enum { EVFILT_PROC = -5, ADD_ONCE = 0x11 };

    const uint32_t note_exit = 0x80000000u;
    int (*make)(void), (*event)(int, const struct event *, int, struct event *, int, const struct timespec *);
    *(void **)&make = dlsym(RTLD_DEFAULT, "kqueue");
    *(void **)&event = dlsym(RTLD_DEFAULT, "kevent");
    VALUE("kqueue is there", make != NULL && event != NULL, 1, 0);
    if (!make || !event) return;

    struct timespec now = {0, 0}, long_time = {20, 0};
    struct event end;
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    struct event change = {(uintptr_t)pid, EVFILT_PROC, ADD_ONCE, note_exit, 0, NULL};
    int queue = make();
    VALUE("kqueue", queue >= 0, 1, 0);
    VALUE("kqueue: not close-on-exec", fcntl(queue, F_GETFD) & FD_CLOEXEC, 0, 0);
    VALUE("a watch on a child", event(queue, &change, 1, NULL, 0, NULL), 0, 0);
    VALUE("nothing yet", event(queue, NULL, 0, &end, 1, &now), 0, 0);
    pid_t heir = fork();
    if (heir == 0) _exit(fcntl(queue, F_GETFD) == -1 ? errno : 0);
    int status;
    waitpid(heir, &status, 0);
    VALUE("a queue is not inherited", WEXITSTATUS(status), EBADF, 0);
    kill(pid, SIGKILL);
    VALUE("its end", event(queue, NULL, 0, &end, 1, &long_time), 1, 0);
    VALUE("its end: whose", end.ident, pid, 0);
    VALUE("its end: what", end.fflags == note_exit && end.filter == EVFILT_PROC, 1, 0);
    VALUE("its end: once", event(queue, NULL, 0, &end, 1, &now), 0, 0);
    close(queue);

    queue = make();
    errno = 0;
    VALUE("a watch on a zombie", event(queue, &change, 1, NULL, 0, NULL) ? errno : 0, ESRCH, 0);
    VALUE("a watch on a zombie, with room for events", event(queue, &change, 1, &end, 1, NULL), 1, 0);
    VALUE("its error", end.flags == 0x4000 ? end.data : 0, ESRCH, 0);
    waitpid(pid, NULL, 0);
    VALUE("a watch on nobody", event(queue, &change, 1, NULL, 0, NULL) ? errno : 0, ESRCH, 0);
    close(queue);
    VALUE("a closed queue", event(queue, NULL, 0, &end, 1, &now) ? errno : 0, EBADF, 0);
}

int main(int count, char **arguments)
{
    darwin = count > 1 && !strncmp(arguments[1], "darwin", 6);
    before_14_4 = darwin && !strcmp(arguments[1], "darwin-14.3");
    umask(022);
    shared_memory();
    ordinary_files();
    semaphores();
    linux_only();
    sockets();
    processes();
    cache_folder();
    waits_for_addresses();
    ends_of_processes();
    printf("%s: %d checks, %d bad\n", darwin ? "under Darwin's rules" : "plain Linux", checks, bad);
    return bad != 0;
}
