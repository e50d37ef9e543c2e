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
 */
#pragma once

#include <cyaml/cyaml.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct nx_plan;

struct nx_plan_adapters {
  uint32_t rank; /* 1 .. 256 */
  double alpha;
  bool attention, feed_forward, head;
};

extern const cyaml_schema_field_t nx_plan_adapters_fields[];

/* NX_E_FORMAT names the key, or what the section needs besides. */
int nx_plan_adapters_check(const struct nx_plan *plan, struct nx_error *err);
