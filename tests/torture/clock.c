/*
 * A wall clock that jumps: preloaded, it moves CLOCK_REALTIME to and fro by hours, at every fourth asking or so. The
 * monotonic clock stays what it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>

static time_t jump(void)
{
	static atomic_uint asked;
	static const int hours[] = { 0, 3, -5, 40, -1, 0, -30, 1 };
	return hours[atomic_fetch_add(&asked, 1) / 4 % 8] * 3600;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*real)(clockid_t, struct timespec *);
	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int done = real(clock, now);
	if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += jump();
	return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec time;
	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &time) != 0)
		return -1;
	now->tv_sec = time.tv_sec;
	now->tv_usec = time.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now)
{
	struct timespec time;
	if (clock_gettime(CLOCK_REALTIME, &time) != 0)
		return -1;
	if (now)
		*now = time.tv_sec;
	return time.tv_sec;
}
