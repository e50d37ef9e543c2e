#include "node/policy/calendar.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MINUTES_A_DAY 1440u

static int day_of(const char *text, size_t size) {
  static const char names[7][4] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
  for (int i = 0; size == 3 && i < 7; i++)
    if (!strncasecmp(text, names[i], 3))
      return i;
  return -1;
}

/* "mon-fri" or "sat" */
static bool parse_days(const char *text, size_t size, uint32_t *days_out) {
  const char *dash = memchr(text, '-', size);
  int first = day_of(text, dash ? (size_t)(dash - text) : size);
  int last = dash ? day_of(dash + 1, size - (size_t)(dash + 1 - text)) : first;
  if (first < 0 || last < 0)
    return false;
  *days_out = 1u << first;
  for (int day = first; day != last; *days_out |= 1u << day)
    day = (day + 1) % 7;
  return true;
}

int nx_hours_parse(const char *text, struct nx_hours *out, struct nx_error *err) {
  const char *space = strchr(text, ' '), *rest = space ? space + 1 : text;
  unsigned h1, m1, h2, m2;
  int used = 0;
  *out = (struct nx_hours){.days = 0x7f};
  if ((space && !parse_days(text, (size_t)(space - text), &out->days)) ||
      sscanf(rest, "%2u:%2u-%2u:%2u%n", &h1, &m1, &h2, &m2, &used) != 4 || rest[used] || m1 > 59 ||
      m2 > 59 || h1 * 60 + m1 >= MINUTES_A_DAY || h2 * 60 + m2 > MINUTES_A_DAY)
    return nx_fail(err, NX_E_INVALID,
                   "'%.40s' is not like \"mon-fri 19:00-06:00\" or \"08:00-18:00\"", text);
  out->from = h1 * 60 + m1;
  out->to = h2 * 60 + m2;
  return 0;
}

bool nx_hours_hold(const struct nx_hours *hours, int64_t unix_seconds) {
  time_t now = (time_t)unix_seconds;
  struct tm local;
  if (!localtime_r(&now, &local))
    return false;
  uint32_t minute = (uint32_t)(local.tm_hour * 60 + local.tm_min);
  bool today = hours->days >> local.tm_wday & 1;
  bool yesterday = hours->days >> (local.tm_wday + 6) % 7 & 1;
  if (hours->from < hours->to)
    return today && minute >= hours->from && minute < hours->to;
  return (today && minute >= hours->from) || (yesterday && minute < hours->to);
}

int nx_date_end(const char *text, int64_t *unix_seconds_out, struct nx_error *err) {
  struct tm day = {.tm_isdst = -1};
  int used = 0;
  if (sscanf(text, "%4d-%2d-%2d%n", &day.tm_year, &day.tm_mon, &day.tm_mday, &used) != 3 ||
      text[used] || used != 10)
    return nx_fail(err, NX_E_INVALID, "'%.40s' is not a date like 2027-06-30", text);
  day.tm_year -= 1900;
  day.tm_mon -= 1;
  struct tm asked = day;
  time_t begin = mktime(&day); /* normalises what is no date */
  if (begin == (time_t)-1 || day.tm_mday != asked.tm_mday || day.tm_mon != asked.tm_mon)
    return nx_fail(err, NX_E_INVALID, "'%.40s' is not a day of the calendar", text);
  struct tm next = {.tm_year = asked.tm_year,
                    .tm_mon = asked.tm_mon,
                    .tm_mday = asked.tm_mday + 1,
                    .tm_isdst = -1};
  *unix_seconds_out = (int64_t)mktime(&next);
  return 0;
}
