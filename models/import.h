/* Import: a released model as the first model of another plan, which may have another name,
 * objective or schedule, but must have the same network. Tensors keep their names between
 * objectives (nets/nano.h, nets/general.h), so that an encoder that learnt to fill in hidden pieces
 * goes on as a classifier's. */
#pragma once

#include "models/model.h"

struct nx_import_report {
  size_t n_taken, n_drawn, n_dropped; /* tensors: from the file, new from the plan's seed, unused */
};

/* bytes: a safetensors file of format neurox-model/1, as sealed (models/released.h); nobody vouches
 * for it. Every tensor of the plan's network must be there in its shape and finite, but for the
 * last part, head.*, decoder.* and samples.*, where objectives differ: those are drawn from the
 * plan's seed when they are missing, and passed over when the plan has none. Anything else is
 * NX_E_FORMAT and named: truncated, unknown tensors, other shapes, another network, NaN. */
int nx_model_import(const struct nx_plan *plan, struct nx_bytes bytes, struct nx_model **model_out,
                    struct nx_import_report *report_out, struct nx_error *err);
