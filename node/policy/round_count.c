#include "node/policy/round_count.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"

#define DAY (86400 * NX_SECOND)
#define STEP_BACK_MOST (600 * NX_SECOND) /* what keeping a clock right may do */
#define ROUNDS_MOST 100000u              /* within a day; the file stays small */
#define RECORD 16                        /* u64 round | i64 unix ns */

struct joined {
  uint64_t round;
  int64_t at, monotonic; /* monotonic 0: joined before this process began */
};

struct nx_round_count {
  char path[NX_PATH_SIZE];
  struct joined *rounds;
  size_t n;
  int64_t latest; /* Unix ns */
};

struct nx_now nx_now(void) {
  return (struct nx_now){nx_clock_unix(), nx_clock_monotonic()};
}

static int read_rounds(struct nx_round_count *count, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  int r = nx_path_exists(count->path)
              ? nx_file_read(count->path, (size_t)ROUNDS_MOST * RECORD + 8, &bytes, err)
              : 0;
  if (r < 0)
    return r;
  if (bytes.size % RECORD)
    return nx_fail(err, NX_E_FORMAT,
                   "%s is damaged: it counts the rounds of the last day; remove it once you know "
                   "how many there were",
                   count->path);
  count->n = bytes.size / RECORD;
  count->rounds = calloc(count->n + 1, sizeof *count->rounds);
  if (!count->rounds)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t i = 0; i < count->n; i++) {
    const uint8_t *at = bytes.data + i * RECORD;
    count->rounds[i] = (struct joined){nx_load_le64(at), (int64_t)nx_load_le64(at + 8), 0};
    if (count->rounds[i].at > count->latest)
      count->latest = count->rounds[i].at;
  }
  return 0;
}

int nx_round_count_open(const char *path, struct nx_round_count **count_out, struct nx_error *err) {
  _cleanup_(nx_round_count_destroyp) struct nx_round_count *count = calloc(1, sizeof *count);
  if (!count)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  snprintf(count->path, sizeof count->path, "%s", path);
  int r = read_rounds(count, err);
  if (r == 0)
    *count_out = nx_steal(&count);
  return r;
}

void nx_round_count_destroy(struct nx_round_count *count) {
  if (!count)
    return;
  free(count->rounds);
  free(count);
}

static bool is_recent(const struct joined *joined, struct nx_now now) {
  int64_t age = joined->monotonic ? now.monotonic - joined->monotonic : now.wall - joined->at;
  return age < DAY;
}

uint32_t nx_round_count_recent(const struct nx_round_count *count, uint64_t round,
                               struct nx_now now) {
  uint32_t n = 0;
  for (size_t i = 0; i < count->n; i++)
    n += count->rounds[i].round != round && is_recent(&count->rounds[i], now);
  return n;
}

int nx_round_count_check_clock(const struct nx_round_count *count, struct nx_now now,
                               struct nx_error *err) {
  if (now.wall >= count->latest - STEP_BACK_MOST)
    return 0;
  return nx_fail(err, NX_E_DENIED,
                 "this site's clock was set back by %lld minutes: no round runs until it is right",
                 (long long)((count->latest - now.wall) / (60 * NX_SECOND)));
}

static int write_rounds(const struct nx_round_count *count, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  int r = 0;
  for (size_t i = 0; r == 0 && i < count->n; i++) {
    r = nx_buffer_append_u64(&bytes, count->rounds[i].round, err);
    if (r == 0)
      r = nx_buffer_append_u64(&bytes, (uint64_t)count->rounds[i].at, err);
  }
  return r < 0 ? r : nx_file_replace(count->path, nx_buffer_view(&bytes), 0600, err);
}

int nx_round_count_add(struct nx_round_count *count, uint64_t round, struct nx_now now,
                       struct nx_error *err) {
  size_t kept = 0;
  for (size_t i = 0; i < count->n; i++)
    if (count->rounds[i].round == round)
      return 0;
  if (count->n >= ROUNDS_MOST)
    return nx_fail(err, NX_E_LIMIT, "more than %u rounds within a day", ROUNDS_MOST);
  for (size_t i = 0; i < count->n; i++)
    if (is_recent(&count->rounds[i], now))
      count->rounds[kept++] = count->rounds[i];
  struct joined *rounds = realloc(count->rounds, (kept + 1) * sizeof *rounds);
  count->n = kept;
  if (!rounds)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  count->rounds = rounds;
  rounds[count->n++] = (struct joined){round, now.wall, now.monotonic};
  if (now.wall > count->latest)
    count->latest = now.wall;
  return write_rounds(count, err);
}
