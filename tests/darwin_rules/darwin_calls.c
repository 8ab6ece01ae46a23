/*
 * darwin_calls.c - the calls that Darwin has, Linux lacks, and our Darwin code makes: so that this code can be run on
 * Linux, and not only type-checked.
 *
 * Sources: [X] XNU 11417, bsd/kern/proc_info.c and libsyscall/wrappers/libproc/libproc.c; [C] Apple's Libc,
 * gen/confstr.c; [M] memory only, treat as a guess.
 */
#include "darwin_rules.h"
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- proc_pidinfo: who is this pid, and since when? */

enum { PROC_PIDTBSDINFO = 3, SRUN = 2, SSTOP = 4, SZOMB = 5, MAXCOMLEN = 16 };

struct proc_bsdinfo {
    uint32_t pbi_flags, pbi_status, pbi_xstatus, pbi_pid, pbi_ppid;
    uint32_t pbi_uid, pbi_gid, pbi_ruid, pbi_rgid, pbi_svuid, pbi_svgid, rfu_1;
    char pbi_comm[MAXCOMLEN], pbi_name[2 * MAXCOMLEN];
    uint32_t pbi_nfiles, pbi_pgid, pbi_pjobc, e_tdev, e_tpgid;
    int32_t pbi_nice;
    uint64_t pbi_start_tvsec, pbi_start_tvusec;
};

_Static_assert(sizeof(struct proc_bsdinfo) == 136, "Darwin's size");
_Static_assert(offsetof(struct proc_bsdinfo, pbi_start_tvsec) == 120, "Darwin's offset");

/* Reads /proc/<pid>/<file>; 0 if there is none, or no descriptor for it, and errno says which. System calls only: the
 * caller may be a forked child. */
static int read_proc(int pid, const char *file, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    errno = ESRCH;
    ssize_t length = syscall(SYS_read, fd, text, size - 1);
    syscall(SYS_close, fd);
    text[length > 0 ? length : 0] = 0;
    return length > 0;
}

/* The start time is fixed for a process and differs from the next one's with its pid: all that anyone may ask of it.
 * Counted from a date of our own choosing, as the one of /proc/stat's btime moves when somebody sets the clock. */
static void start_time(struct proc_bsdinfo *info, uint64_t ticks)
{
    uint64_t hertz = (uint64_t)sysconf(_SC_CLK_TCK);
    info->pbi_start_tvsec = 1000000000 + ticks / hertz;
    info->pbi_start_tvusec = ticks % hertz * 1000000 / hertz;
}

/* 0, or the errno. */
static int bsdinfo(int pid, int find_zombies, struct proc_bsdinfo *info)
{
    char stat[1024], status[4096];
    if (pid <= 0) return ESRCH;
    /* Darwin needs no descriptor for this. Without one there is no telling here, and that is not "gone". */
    if (!read_proc(pid, "status", status, sizeof status) || !read_proc(pid, "stat", stat, sizeof stat))
        return errno == EMFILE || errno == ENFILE ? errno : ESRCH;

    const char *tgid = strstr(status, "\nTgid:"), *uid = strstr(status, "\nUid:"), *gid = strstr(status, "\nGid:");
    const char *name = strchr(stat, '('), *rest = strrchr(stat, ')'); /* a name may hold anything, ')' too */
    if (!tgid || !uid || !gid || !name || !rest) return ESRCH;
    if (atoi(tgid + 6) != pid) return ESRCH; /* Linux finds threads by number as well */

    char state;
    int ppid, pgrp, terminal, terminal_group, nice, threads;
    unsigned long long ticks;
    if (sscanf(rest + 1, " %c %d %d %*d %d %d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %d %d %*d %llu", &state, &ppid,
               &pgrp, &terminal, &terminal_group, &nice, &threads, &ticks) != 8)
        return ESRCH;

    memset(info, 0, sizeof *info);
    sscanf(uid + 5, "%u %u %u", &info->pbi_ruid, &info->pbi_uid, &info->pbi_svuid);
    sscanf(gid + 5, "%u %u %u", &info->pbi_rgid, &info->pbi_gid, &info->pbi_svgid);

    /* proc_find() does not see a zombie; proc_find_zombref() is asked only where `arg` is not 0 [X].  Where threads are
     * left, only Linux's first thread is one: the process lives. */
    int zombie = (state == 'Z' || state == 'X' || state == 'x') && threads <= 1;
    if (zombie && !find_zombies) return ESRCH;
    /* proc_security_policy(): the same effective user, or root [X]. */
    if (geteuid() != 0 && geteuid() != info->pbi_uid) return EPERM;

    /* A process that sleeps is SRUN too: only threads sleep on Darwin [M]. */
    info->pbi_status = zombie ? SZOMB : state == 'T' || state == 't' ? SSTOP : SRUN;
    info->pbi_pid = (uint32_t)pid;
    info->pbi_ppid = (uint32_t)ppid;
    info->pbi_pgid = (uint32_t)pgrp;
    info->pbi_nice = nice;
    info->e_tdev = terminal ? (uint32_t)terminal : UINT32_MAX; /* NODEV */
    info->e_tpgid = terminal_group > 0 ? (uint32_t)terminal_group : 0;
    size_t length = (size_t)(rest - name - 1);
    memcpy(info->pbi_comm, name + 1, length < MAXCOMLEN - 1 ? length : MAXCOMLEN - 1);
    memcpy(info->pbi_name, name + 1, length < 2 * MAXCOMLEN - 1 ? length : 2 * MAXCOMLEN - 1);
    start_time(info, ticks);
    return 0;
}

int is_process(int pid)
{
    struct proc_bsdinfo info;
    int error = bsdinfo(pid, 0, &info);
    return error != ESRCH; /* whoever must not look, or cannot, has not seen it gone */
}

/* Bytes filled in; on an error 0, not -1, and errno says why [X]. */
EXPORT int proc_pidinfo(int pid, int flavor, uint64_t arg, void *buffer, int buffersize)
{
    struct proc_bsdinfo info;
    int error = 0;
    if (flavor != PROC_PIDTBSDINFO) error = EINVAL; /* the others are not imitated */
    else if (buffersize < (int)sizeof info) error = ENOMEM;
    else error = bsdinfo(pid, arg != 0, &info);
    if (error) {
        if (error != ESRCH) note("proc", "proc_pidinfo", pid); /* "gone" is an answer, not a refusal */
        errno = error;
        return 0;
    }
    memcpy(buffer, &info, sizeof info);
    return sizeof info;
}

/* ---- confstr: the user's own cache folder, where our registry of names stands */

enum { DARWIN_USER_CACHE_DIR = 65538 };

/* With its slash at the end, made if need be; 0 if it cannot be had. */
static int cache_dir(char *path, size_t size)
{
    const char *given = getenv("DARWIN_RULES_CACHE");
    int length = given ? snprintf(path, size, "%s", given)
                       : snprintf(path, size, "/tmp/darwin-rules-cache-%u", (unsigned)geteuid());
    if (length <= 0 || (size_t)length + 2 > size) return 0;
    while (length > 1 && path[length - 1] == '/') path[--length] = 0;
    struct stat st;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return 0;
    if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) return 0;
    memcpy(path + length, "/", 2);
    return 1;
}

/* The length needed, with the NUL; what does not fit is cut off [C]. */
EXPORT size_t confstr(int name, char *buffer, size_t size)
{
    REAL(size_t, "confstr", int, char *, size_t);
    if (name != DARWIN_USER_CACHE_DIR) return real(name, buffer, size);
    char path[4096];
    if (!cache_dir(path, sizeof path)) {
        note("confstr", "no cache folder", errno);
        errno = EIO;
        return 0;
    }
    if (buffer && size) snprintf(buffer, size, "%s", path);
    return strlen(path) + 1;
}
