/*
 * darwin_sockets.c - Unix sockets as Darwin has them: short paths, small datagrams, no abstract names, no SEQPACKET.
 *
 * Source: XNU 11417.101.15, bsd/kern/uipc_usrreq.c.
 *
 * SOCK_CLOEXEC, SOCK_NONBLOCK, accept4 and pipe2 do not exist on Darwin either, but Rust's std uses them on Linux, so
 * they stay: the type check for Darwin's target finds them.
 */
#include "darwin_rules.h"
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

enum { DARWIN_SUN_PATH = 104 };

/* ---- addresses */

static int sun_refused(const struct sockaddr *a, socklen_t n)
{
    if (!a || n < sizeof(sa_family_t) || a->sa_family != AF_UNIX) return 0;
    size_t p = n - offsetof(struct sockaddr_un, sun_path);
    const char *s = ((const struct sockaddr_un *)(const void *)a)->sun_path;
    if (p && s[0] == 0 && !allowed("sunpath")) {
        refuse("sunpath", "abstract socket", (long)p, ENOENT);
        return 1;
    }
    /* Rust std always passes strlen+1; Darwin takes a path of 103 + NUL (104 without). */
    if (strnlen(s, p) >= DARWIN_SUN_PATH && !allowed("sunpath")) {
        refuse("sunpath", "sun_path too long", (long)p, ENAMETOOLONG);
        return 1;
    }
    return 0;
}

EXPORT int bind(int fd, const struct sockaddr *a, socklen_t n)
{
    REAL(int, "bind", int, const struct sockaddr *, socklen_t);
    return sun_refused(a, n) ? -1 : real(fd, a, n);
}

EXPORT int connect(int fd, const struct sockaddr *a, socklen_t n)
{
    REAL(int, "connect", int, const struct sockaddr *, socklen_t);
    return sun_refused(a, n) ? -1 : real(fd, a, n);
}

/* ---- datagrams: 2,048 bytes at most (net.local.dgram.maxdgram; SO_SNDBUF raises it), and a full receiver is ENOBUFS
 * at once, on a blocking socket too */

static int unix_dgram(int fd)
{
    int t = 0, d = 0, e = errno;
    socklen_t n = sizeof t, m = sizeof d;
    int r = getsockopt(fd, SOL_SOCKET, SO_TYPE, &t, &n) == 0 && t == SOCK_DGRAM &&
            getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &d, &m) == 0 && d == AF_UNIX;
    errno = e;
    return r;
}

#define FDS 65536
/* SO_SNDBUF as the process set it; 0: it did not. */
static int sndbuf[FDS];

static long dgram_limit(int fd)
{
    int v = fd >= 0 && fd < FDS ? __atomic_load_n(&sndbuf[fd], __ATOMIC_RELAXED) : 0;
    return v ? v : 2048;
}

static void set_sndbuf(int fd, int v)
{
    if (fd >= 0 && fd < FDS) __atomic_store_n(&sndbuf[fd], v, __ATOMIC_RELAXED);
}

EXPORT int setsockopt(int fd, int lvl, int opt, const void *v, socklen_t n)
{
    REAL(int, "setsockopt", int, int, int, const void *, socklen_t);
    int r = real(fd, lvl, opt, v, n);
    if (r == 0 && lvl == SOL_SOCKET && opt == SO_SNDBUF && n >= sizeof(int)) {
        int x;
        memcpy(&x, v, sizeof x);
        set_sndbuf(fd, x);
    }
    return r;
}

static ssize_t dgram_end(ssize_t r)
{
    if (r < 0 && errno == EAGAIN) {
        errno = ENOBUFS;
        note("dgram", "receiver full", 0);
    }
    return r;
}

EXPORT ssize_t sendto(int fd, const void *b, size_t n, int fl, const struct sockaddr *a, socklen_t al)
{
    REAL(ssize_t, "sendto", int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    if (sun_refused(a, al)) return -1;
    if (!allowed("dgram") && unix_dgram(fd)) {
        if ((long)n > dgram_limit(fd)) return refuse("dgram", "datagram too big", (long)n, EMSGSIZE);
        return dgram_end(real(fd, b, n, fl | MSG_DONTWAIT, a, al));
    }
    return real(fd, b, n, fl, a, al);
}

EXPORT ssize_t send(int fd, const void *b, size_t n, int fl)
{
    REAL(ssize_t, "send", int, const void *, size_t, int);
    if (!allowed("dgram") && unix_dgram(fd)) {
        if ((long)n > dgram_limit(fd)) return refuse("dgram", "datagram too big", (long)n, EMSGSIZE);
        return dgram_end(real(fd, b, n, fl | MSG_DONTWAIT));
    }
    return real(fd, b, n, fl);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int fl)
{
    REAL(ssize_t, "sendmsg", int, const struct msghdr *, int);
    if (sun_refused(m->msg_name, m->msg_namelen)) return -1;
    if (!allowed("dgram") && unix_dgram(fd)) {
        size_t n = 0;
        for (size_t i = 0; i < (size_t)m->msg_iovlen; i++) n += m->msg_iov[i].iov_len;
        if ((long)n > dgram_limit(fd)) return refuse("dgram", "datagram too big", (long)n, EMSGSIZE);
        return dgram_end(real(fd, m, fl | MSG_DONTWAIT));
    }
    return real(fd, m, fl);
}

/* ---- which sockets there are */

static int sock_rule(int dom, int type)
{
    if (dom == AF_UNIX && (type & 0xf) == SOCK_SEQPACKET && !allowed("sock")) {
        refuse("sock", "AF_UNIX SOCK_SEQPACKET", type, EPROTONOSUPPORT);
        return 1;
    }
    return 0;
}

EXPORT int socket(int d, int t, int p)
{
    REAL(int, "socket", int, int, int);
    if (sock_rule(d, t)) return -1;
    int fd = real(d, t, p);
    set_sndbuf(fd, 0);
    return fd;
}

EXPORT int socketpair(int d, int t, int p, int sv[2])
{
    REAL(int, "socketpair", int, int, int, int *);
    if (sock_rule(d, t)) return -1;
    int r = real(d, t, p, sv);
    if (r == 0) {
        set_sndbuf(sv[0], 0);
        set_sndbuf(sv[1], 0);
    }
    return r;
}
