#include "tests/bench/bench.h"

#include <cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"

struct bench {
  const char *name, *json;
  bool quick;
  cJSON *rows;
};

double bench_seconds(void) {
  return (double)nx_clock_monotonic() * 1e-9;
}

void bench_fail(const char *what, ...) {
  va_list arguments;
  va_start(arguments, what);
  fputs("bench: ", stderr);
  vfprintf(stderr, what, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

struct bench *bench_begin(const char *name, const char *usage, int *argc, char **argv) {
  struct bench *bench = calloc(1, sizeof *bench);
  int kept = 1;
  if (!bench || !(bench->rows = cJSON_CreateArray()))
    bench_fail("out of memory");
  bench->name = name;
  for (int i = 1; i < *argc; i++) {
    if (!strcmp(argv[i], "--json") && i + 1 < *argc) {
      bench->json = argv[++i];
    } else if (!strcmp(argv[i], "--quick")) {
      bench->quick = true;
    } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "--json")) {
      fprintf(stderr, "usage: bench-%s [--json FILE] [--quick] %s\n", name, usage);
      exit(2);
    } else {
      argv[kept++] = argv[i];
    }
  }
  *argc = kept;
  return bench;
}

bool bench_is_quick(const struct bench *bench) {
  return bench->quick;
}

static void print_row(const struct bench_row *row) {
  char text[160] = "";
  for (size_t i = 0; i < BENCH_KEYS_MAX && row->keys[i].name; i++) {
    const struct bench_key *key = &row->keys[i];
    size_t n = strlen(text);
    if (key->text)
      snprintf(text + n, sizeof text - n, "%s%s=%s", i ? " " : "", key->name, key->text);
    else
      snprintf(text + n, sizeof text - n, "%s%s=%g", i ? " " : "", key->name, key->number);
  }
  printf("%-44s %-28s %12.4g %-9s", text, row->metric, row->value, row->unit);
  if (row->peer)
    printf("  %s %.4g", row->peer, row->peer_value);
  if (row->limit)
    printf("  limit (%s) %.4g", row->limit, row->limit_value);
  putchar('\n');
  fflush(stdout);
}

static void add_reference(cJSON *out, const char *name, const char *text, const char *value_name,
                          double value) {
  if (text) {
    cJSON_AddStringToObject(out, name, text);
    cJSON_AddNumberToObject(out, value_name, value);
  } else {
    cJSON_AddNullToObject(out, name);
    cJSON_AddNullToObject(out, value_name);
  }
}

void bench_add(struct bench *bench, const struct bench_row *row) {
  cJSON *out = cJSON_CreateObject();
  cJSON_AddStringToObject(out, "bench", bench->name);
  cJSON *keys = cJSON_AddObjectToObject(out, "case");
  for (size_t i = 0; i < BENCH_KEYS_MAX && row->keys[i].name; i++)
    if (row->keys[i].text)
      cJSON_AddStringToObject(keys, row->keys[i].name, row->keys[i].text);
    else
      cJSON_AddNumberToObject(keys, row->keys[i].name, row->keys[i].number);
  cJSON_AddStringToObject(out, "metric", row->metric);
  cJSON_AddNumberToObject(out, "value", row->value);
  cJSON_AddStringToObject(out, "unit", row->unit);
  add_reference(out, "peer", row->peer, "peer_value", row->peer_value);
  add_reference(out, "limit", row->limit, "limit_value", row->limit_value);
  cJSON_AddItemToArray(bench->rows, out);
  print_row(row);
}

int bench_end(struct bench *bench) {
  int code = 0;
  if (bench->json) {
    struct nx_error err = {0};
    char *text = cJSON_Print(bench->rows);
    if (!text || nx_file_replace(bench->json, nx_bytes(text, strlen(text)), 0644, &err) < 0) {
      fprintf(stderr, "bench: %s\n", text ? err.text : "out of memory");
      code = 1;
    }
    free(text);
  }
  cJSON_Delete(bench->rows);
  free(bench);
  return code;
}

double bench_apart(const char *what, void (*work)(const void *context, void *result),
                   const void *context, void *result, size_t size) {
  struct rusage usage;
  int ends[2], status;
  fflush(NULL);
  pid_t child = pipe(ends) ? -1 : fork();
  if (child < 0)
    bench_fail("%s: cannot start a process", what);
  if (child == 0) {
    work(context, result);
    _exit(write(ends[1], result, size) == (ssize_t)size ? 0 : 1); /* small: a pipe takes it whole */
  }
  close(ends[1]);
  ssize_t got = read(ends[0], result, size);
  close(ends[0]);
  if (wait4(child, &status, 0, &usage) != child || got != (ssize_t)size || status)
    bench_fail("%s: the process failed", what);
  return (double)usage.ru_maxrss / 1024;
}

void bench_must(int r, const struct nx_error *err) {
  if (r < 0)
    bench_fail("%s", err->text);
}
