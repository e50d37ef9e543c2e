/* Calendar: the hours in which rounds may run, and the last days of protocols. Both are in
 * local time (TZ) of this machine, as its people read them. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* Minutes of the day; when `to` is not after `from` it is that of the next day. */
struct nx_hours {
  uint32_t days; /* bit 0: Sunday, as tm_wday; the day on which the span begins */
  uint32_t from, to;
};

/* "mon-fri 19:00-06:00", "sat 00:00-24:00", "08:00-18:00" (every day). NX_E_INVALID. */
int nx_hours_parse(const char *text, struct nx_hours *out, struct nx_error *err);
bool nx_hours_hold(const struct nx_hours *hours, int64_t unix_seconds);

/* "2027-06-30": the first second after that day. NX_E_INVALID. */
int nx_date_end(const char *text, int64_t *unix_seconds_out, struct nx_error *err);
