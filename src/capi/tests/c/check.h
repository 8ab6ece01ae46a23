/* What the C tests share. All of it is C99 and C++17. */
#ifndef CHECK_H
#define CHECK_H

#include <antiphon.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
/* No test takes this long. */
#define PATIENCE (60 * SECOND)

#define CHECK(what)                                                                                                  \
    do {                                                                                                             \
        if (!(what)) {                                                                                               \
            fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, #what, antiphon_error_text()); \
            exit(1);                                                                                                 \
        }                                                                                                            \
    } while (0)

#define RETURNS(wanted, call)                                                                                        \
    do {                                                                                                             \
        int32_t got_ = (int32_t)(call);                                                                              \
        if (got_ != (int32_t)(wanted)) {                                                                             \
            fprintf(stderr, "%s:%d: %s is %s: %s\n", __FILE__, __LINE__, #call, antiphon_error_name(got_),             \
                    antiphon_error_text());                                                                          \
            exit(1);                                                                                                 \
        }                                                                                                            \
    } while (0)

#define OK(call) RETURNS(ANTIPHON_OK, call)

/* The byte that stands at `at` of every message and file here; the Rust tests have the same. */
static inline unsigned char byte_at(uint64_t at)
{
    return (unsigned char)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static inline void fill(void *to, uint64_t from, size_t len)
{
    unsigned char *bytes = (unsigned char *)to;
    size_t at;
    for (at = 0; at < len; at++) bytes[at] = byte_at(from + at);
}

static inline int is_filled(const void *data, uint64_t from, size_t len)
{
    const unsigned char *bytes = (const unsigned char *)data;
    size_t at;
    for (at = 0; at < len; at++)
        if (bytes[at] != byte_at(from + at)) return 0;
    return 1;
}

#endif
