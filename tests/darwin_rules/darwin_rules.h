/* What the files of the library share: see darwin_rules.c. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

/* The rest is compiled with hidden visibility: only these names may stand in front of libc's. */
#define EXPORT __attribute__((visibility("default")))

/* Declares `real`, the next definition of `name` after ours: normally libc's. */
#define REAL(ret, name, ...)         \
    static ret (*real)(__VA_ARGS__); \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

/* Is the rule switched off by DARWIN_RULES_ALLOW? */
int allowed(const char *rule);
/* Adds one line to DARWIN_RULES_LOG; leaves errno alone. */
void note(const char *rule, const char *what, long value);
/* note(), then errno = error; always -1. */
int refuse(const char *rule, const char *what, long value, int error);
/* A system call that the program itself would be refused. */
long unrefused(long number, long a, long b, long c, long d);
/* Is there such a process, and no zombie? */
int is_process(int pid);
