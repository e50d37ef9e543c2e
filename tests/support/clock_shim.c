/* Preloaded into a process: a wall clock that a test moves. The file that NEUROX_CLOCK names holds
 * one signed 64-bit number, seconds to add to the machine's; it is read at every call, so that the
 * clock jumps when the file is written. The monotonic clock is left alone, as jumps leave it. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;
static int (*real_clock)(clockid_t clock, struct timespec *out);

__attribute__((constructor)) static void look(void) {
  const char *path = getenv("NEUROX_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED)
    abort(); /* a test without its clock shows nothing */
  ahead = map;
  close(fd);
  *(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t clock, struct timespec *out) {
  if (!real_clock) /* before the constructor */
    *(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
  int r = real_clock(clock, out);
  if (r == 0 && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    out->tv_sec += *ahead;
  return r;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out)
    *out = now.tv_sec;
  return now.tv_sec;
}
