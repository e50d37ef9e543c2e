/* Model choice: a model file that a person named on the command line, as `neurox-coordinator
 * export` writes it (with the list of sites in its metadata, or --as-sealed). */
#pragma once

#include "common/plan.h"
#include "crypto/hash.h"
#include "models/model.h"

/* The model, which must be of the plan, and the SHA-256 that its members signed. hash_out may be
 * NULL. NX_E_FORMAT says what is wrong with the file. */
int nx_model_choose(const char *path, const struct nx_plan *plan, struct nx_model **model_out,
                    struct nx_hash *hash_out, struct nx_error *err);

#define NX_HELP_WEIGHTS                                                                            \
  "  --weights KIND  keep the blocks' matrices in int8 or nf4 (default: as the file has them);\n"  \
  "                  docs/models.md says what that costs in accuracy\n"

/* What --weights asks for, NULL for nothing: replaces the model by its plain one in few bits.
 * NX_E_INVALID: no such kind, or a model that does not fit. */
int nx_model_keep_in(struct nx_model **model, const char *weights, struct nx_error *err);
