#include "node/recordings/mat_leaves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

struct walk {
  struct nx_mat_leaves *out;
  size_t n_structs;
};

static int add(struct walk *walk, const struct nx_mat *mat, struct nx_error *err) {
  struct nx_mat_leaves *out = walk->out;
  unsigned type;
  struct nx_bytes data;
  if (mat->rows * mat->columns == 0 || mat->complex || !nx_mat_numbers(mat, &type, &data))
    return 0;
  if (out->n >= NX_MAT_LEAVES)
    return nx_fail(err, NX_E_LIMIT, "variable %s has more than %d cells", mat->name, NX_MAT_LEAVES);
  if ((out->n & (out->n - 1)) == 0) { /* grow at powers of two */
    struct nx_mat *grown = reallocarray(out->leaves, out->n ? 2 * out->n : 1, sizeof *grown);
    if (!grown)
      return nx_fail(err, NX_E_NOMEM, "cells: out of memory");
    out->leaves = grown;
  }
  out->leaves[out->n++] = *mat;
  return 0;
}

static void note_range(const struct nx_mat *mat, struct nx_mat_leaves *out) {
  struct nx_mat range;
  unsigned type;
  struct nx_bytes data;
  if (!nx_mat_field(mat, "timerange", 0, &range) || !nx_mat_is_number(&range) ||
      range.rows * range.columns != 2 || !nx_mat_numbers(&range, &type, &data))
    return;
  double start = nx_mat_value(type, data.data, 0), end = nx_mat_value(type, data.data, 1);
  if (!isfinite(start) || !isfinite(end) || end <= start)
    return;
  out->start = isnan(out->start) ? start : fmin(out->start, start);
  out->end = isnan(out->end) ? end : fmax(out->end, end);
}

/* One struct, not an array of them: arrays of structs are fields' business. */
static int add_struct(struct walk *walk, const struct nx_mat *mat, struct nx_error *err) {
  static const char *const names[] = {"time", "times", "spike_times", "timestamps", "ts"};
  for (uint64_t i = 0; i < mat->rows * mat->columns; i++)
    for (size_t k = 0; k < NX_ARRAY_LENGTH(names); k++) {
      struct nx_mat field;
      if (!nx_mat_field(mat, names[k], i, &field) || !nx_mat_is_number(&field))
        continue;
      note_range(mat, walk->out);
      walk->n_structs += field.rows * field.columns > 0;
      int r = add(walk, &field, err);
      if (r < 0)
        return r;
      break;
    }
  return 0;
}

static int step(struct walk *walk, const struct nx_mat *mat, int depth, struct nx_error *err) {
  if (nx_mat_is_number(mat))
    return add(walk, mat, err);
  if (mat->class == NX_MAT_STRUCT)
    return mat->rows * mat->columns <= NX_MAT_LEAVES ? add_struct(walk, mat, err) : 0;
  if (mat->class != NX_MAT_CELL)
    return 0;
  if (depth >= NX_MAT_DEPTH)
    return nx_fail(err, NX_E_LIMIT, "cells within cells, more than %d deep", NX_MAT_DEPTH);
  struct nx_bytes rest = mat->body;
  struct nx_mat child;
  int r = 0;
  for (uint64_t i = 0; !r && i < mat->rows * mat->columns && nx_mat_next_cell(&rest, &child); i++)
    r = step(walk, &child, depth + 1, err);
  return r;
}

int nx_mat_leaves(const struct nx_mat *top, struct nx_mat_leaves *out, struct nx_error *err) {
  struct walk walk = {.out = out};
  memset(out, 0, sizeof *out);
  out->start = out->end = NAN;
  int r = step(&walk, top, 0, err);
  out->from_structs = out->n > 0 && walk.n_structs == out->n;
  if (r < 0)
    nx_mat_leaves_finish(out);
  return r;
}

void nx_mat_leaves_finish(struct nx_mat_leaves *leaves) {
  free(leaves->leaves);
  leaves->leaves = NULL;
  leaves->n = 0;
}

bool nx_mat_leaves_are_times(const struct nx_mat_leaves *leaves) {
  bool fractions = false;
  for (size_t k = 0; k < leaves->n; k++) {
    const struct nx_mat *mat = &leaves->leaves[k];
    unsigned type;
    struct nx_bytes data;
    uint64_t n = mat->rows * mat->columns;
    if ((mat->rows != 1 && mat->columns != 1) || mat->class != NX_MAT_DOUBLE ||
        !nx_mat_numbers(mat, &type, &data))
      return false;
    double last = -INFINITY;
    for (uint64_t i = 0; i < n; i++) {
      double value = nx_mat_value(type, data.data, i);
      if (!isfinite(value) || (!leaves->from_structs && value < last))
        return false;
      fractions |= value != floor(value);
      last = value;
    }
  }
  return leaves->n > 0 && (leaves->from_structs || fractions);
}
