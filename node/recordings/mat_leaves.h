/* MAT leaves: what labs keep in cells. A variable's cells, however deep, are walked in MATLAB's
 * order; its leaves are matrices of numbers (the sessions of a calcium study, say) or the spike
 * times of units, either vectors or structs with a field time. */
#pragma once

#include "node/recordings/mat5.h"

#define NX_MAT_LEAVES 16384
#define NX_MAT_DEPTH 8

struct nx_mat_leaves {
  size_t n;
  struct nx_mat *leaves; /* numeric matrices; those of no element are left out */
  bool from_structs;     /* all of them are fields `time` of structs */
  double start, end;     /* the structs' field timerange; NaN where there is none */
};

/* NX_E_LIMIT: too many or too deep. */
int nx_mat_leaves(const struct nx_mat *top, struct nx_mat_leaves *out, struct nx_error *err);
void nx_mat_leaves_finish(struct nx_mat_leaves *leaves); /* zeroed is fine */

/* Whether the leaves are times of events: fields `time`, or vectors of float64 that never go
 * back, with fractions. */
bool nx_mat_leaves_are_times(const struct nx_mat_leaves *leaves);
