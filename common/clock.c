#include "common/clock.h"

#include <errno.h>
#include <time.h>

static int64_t read_clock(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (int64_t)t.tv_sec * NX_SECOND + t.tv_nsec;
}

int64_t nx_clock_monotonic(void) {
  return read_clock(CLOCK_MONOTONIC);
}

int64_t nx_clock_unix(void) {
  return read_clock(CLOCK_REALTIME);
}

void nx_clock_sleep(int64_t nanoseconds) {
  if (nanoseconds <= 0)
    return;
  struct timespec rest = {nanoseconds / NX_SECOND, nanoseconds % NX_SECOND};
  while (nanosleep(&rest, &rest) && errno == EINTR)
    ;
}

void nx_clock_format(int64_t unix_ns, char out[21]) {
  time_t seconds = unix_ns / NX_SECOND;
  struct tm utc;
  gmtime_r(&seconds, &utc);
  if (!strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &utc))
    out[0] = 0;
}
