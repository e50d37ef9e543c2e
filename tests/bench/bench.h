/* Bench: rows of figures, printed as a table as they come and, with --json FILE, written as
 *   [{"bench", "case": {…}, "metric", "value", "unit", "peer", "peer_value", "limit",
 *     "limit_value"}]
 * A peer is what somebody would use instead, a limit what the machine allows, both measured
 * in the same run; NULL where there is none. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_KEYS_MAX 8

struct bench_key {
  const char *name; /* NULL ends the list */
  double number;
  const char *text; /* instead of the number when not NULL */
};

struct bench_row {
  struct bench_key keys[BENCH_KEYS_MAX];
  const char *metric;
  double value;
  const char *unit;
  const char *peer;
  double peer_value;
  const char *limit;
  double limit_value;
};

struct bench;
struct nx_error;

/* Takes --json FILE and --quick out of the arguments; the rest stays, in order, argc
 * updated. Exits with 2 on wrong usage, printing `usage` (one line of further options). */
struct bench *bench_begin(const char *name, const char *usage, int *argc, char **argv);
bool bench_is_quick(const struct bench *bench); /* a small run, to see that it works */
void bench_add(struct bench *bench, const struct bench_row *row);
/* Writes the JSON and frees; the exit code of main. */
int bench_end(struct bench *bench);

double bench_seconds(void); /* monotonic */
/* Does the work in a process of its own, which has its own peak of memory, and fetches the `size`
 * bytes (at most 4096) that it filled in `result`. Gives the peak in MiB; exits, naming `what`,
 * when the process fails. Before this one starts any thread. */
double bench_apart(const char *what, void (*work)(const void *context, void *result),
                   const void *context, void *result, size_t size);
/* Exits with the error's text when r is one. */
void bench_must(int r, const struct nx_error *err);
/* "…: what went wrong" on stderr, exit 1: for a result that is not the reference's. */
void bench_fail(const char *what, ...) __attribute__((format(printf, 1, 2), noreturn));
