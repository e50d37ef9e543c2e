/* Plan section `adapters:` (optional): the model that section initial_model names stays as it is,
 * and what trains, and leaves a site masked, is low-rank adapters on its blocks (LoRA, Hu et al.
 * 2022).
 *
 *   adapters:
 *     rank: 8              # W becomes W + alpha / rank B A, A [rank, in], B [out, rank]
 *     alpha: 16
 *     attention: true      # on the matrices of attention
 *     feed_forward: true   # and of the feed-forward
 *     head: true           # the head (or decoder) trains whole besides
 *     base: nf4            # optional: what the blocks' frozen matrices are kept in, float32
 *                          # (as when absent), int8 or nf4 (models/tensor/quantise.h)
 */
#pragma once

#include <cyaml/cyaml.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct nx_plan;

/* What a matrix that does not train is kept in. */
enum nx_storage { NX_STORAGE_FLOAT32, NX_STORAGE_INT8, NX_STORAGE_NF4 };

struct nx_plan_adapters {
  uint32_t rank; /* 1 .. 256 */
  double alpha;
  bool attention, feed_forward, head;
  enum nx_storage base;
};

extern const cyaml_schema_field_t nx_plan_adapters_fields[];

/* NX_E_FORMAT names the key, or what the section needs besides. */
int nx_plan_adapters_check(const struct nx_plan *plan, struct nx_error *err);
