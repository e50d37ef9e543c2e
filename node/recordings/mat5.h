/* MAT 5: a reader of MATLAB's level-5 format (versions 6 and 7), whole variables at a time.
 *
 *     128-byte header, then elements: type, size, data padded to 8 bytes (small ones in 8);
 *     a matrix holds flags, dimensions, name and its numbers, or further matrices
 *
 * Views point into the file's memory and live as long as it. Little-endian only. */
#pragma once

#include "common/bytes.h"
#include "node/recordings/format.h"

#define NX_MAT_MEMORY_CAP ((size_t)1 << 30) /* bytes of one variable */
#define NX_MAT_VARIABLES 1024

enum nx_mat_class {
  NX_MAT_CELL = 1,
  NX_MAT_STRUCT = 2,
  NX_MAT_OBJECT = 3,
  NX_MAT_CHAR = 4,
  NX_MAT_SPARSE = 5,
  NX_MAT_DOUBLE = 6, /* 6 .. 15: numbers */
  NX_MAT_UINT64 = 15
};

struct nx_mat {
  unsigned class;
  bool complex;
  uint64_t rows, columns; /* columns: product of all dimensions but the first */
  size_t n_dims;
  char name[64];
  struct nx_bytes body; /* the elements behind the name */
};

struct nx_mat_file {
  size_t n;
  struct nx_mat *variables;
  uint8_t **memory; /* [n], inflated or read variables */
};

bool nx_mat_probe(const uint8_t *head, size_t size);
int nx_mat_open(const struct nx_recording *recording, struct nx_mat_file *file,
                struct nx_error *err);
void nx_mat_finish(struct nx_mat_file *file);

const struct nx_mat *nx_mat_find(const struct nx_mat_file *file, const char *name);
/* Field of element `index` of a struct (array); false when there is none. */
bool nx_mat_field(const struct nx_mat *mat, const char *name, uint64_t index,
                  struct nx_mat *field_out);
/* Takes the next cell off rest, at first the body of a cell array; an empty one has no rows. */
bool nx_mat_next_cell(struct nx_bytes *rest, struct nx_mat *cell_out);
static inline bool nx_mat_is_number(const struct nx_mat *mat) {
  return mat->class >= NX_MAT_DOUBLE && mat->class <= NX_MAT_UINT64;
}
/* The stored numbers of a numeric matrix: their MAT type and bytes, rows * columns checked. */
bool nx_mat_numbers(const struct nx_mat *mat, unsigned *type_out, struct nx_bytes *data_out);
double nx_mat_value(unsigned type, const uint8_t *data, uint64_t index);
/* The n values at index, index + step, … */
void nx_mat_values(unsigned type, const uint8_t *data, uint64_t index, uint64_t step, size_t n,
                   float *out);
/* A real scalar; NaN when it is none. */
double nx_mat_scalar(const struct nx_mat *mat);
/* A character row as UTF-8; "" when it is none. */
void nx_mat_text(const struct nx_mat *mat, char *out, size_t size);
