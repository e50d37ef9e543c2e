/* Clock: cores take times as arguments; only shells read these. */
#pragma once

#include <stdint.h>

#define NX_MILLISECOND INT64_C(1000000)
#define NX_SECOND INT64_C(1000000000)
#define NX_NEVER INT64_MAX

int64_t nx_clock_monotonic(void); /* nanoseconds; for durations and deadlines */
int64_t nx_clock_unix(void);      /* nanoseconds since 1970 UTC; for people and logs */
void nx_clock_sleep(int64_t nanoseconds);
/* "2026-11-24T01:48:00Z"; out holds 21 bytes. */
void nx_clock_format(int64_t unix_ns, char out[21]);
