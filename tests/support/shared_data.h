/* Shared data: where the real recordings are, for tests that need them. Header only. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/cmocka_shim.h"

/* Writes the path of a file or folder of the shared data to out, or skips the running test
 * ("SKIPPED"); with NEUROX_REQUIRE_DATA=1 a missing file fails it. */
static inline const char *shared_data(char *out, size_t size, const char *name) {
  const char *root = getenv("NEUROX_SHARED_DATA"), *must = getenv("NEUROX_REQUIRE_DATA");
  snprintf(out, size, "%s/%s", root && *root ? root : "../shared/data", name);
  if (access(out, R_OK) == 0)
    return out;
  if (must && !strcmp(must, "1"))
    fail_msg("%s is missing and NEUROX_REQUIRE_DATA=1", out);
  print_message("SKIPPED 1 test: %s is missing\n", out);
  skip();
  return NULL;
}

/* A float64 C-order .npy file (format 1.0) as doubles; caller frees. n_out: values. */
static inline double *load_npy(const char *path, size_t *n_out) {
  FILE *file = fopen(path, "rb");
  unsigned char head[10];
  assert_non_null(file);
  assert_int_equal(fread(head, 1, 10, file), 10);
  assert_memory_equal(head, "\x93NUMPY\x01", 7);
  long start = 10 + head[8] + 256 * head[9];
  fseek(file, 0, SEEK_END);
  size_t n = (size_t)(ftell(file) - start) / sizeof(double);
  double *values = calloc(n + 1, sizeof *values);
  assert_non_null(values);
  fseek(file, start, SEEK_SET);
  assert_int_equal(fread(values, sizeof *values, n, file), n);
  fclose(file);
  *n_out = n;
  return values;
}
