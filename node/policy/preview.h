/* Preview: what one round of a plan would send from here, message by message. The messages are
 * made and encoded as in a round, with keys of nobody and zeros for numbers, and measured. */
#pragma once

#include "common/aux_lanes.h"
#include "crypto/upload.h"
#include "node/policy/egress_receipt.h"

#define NX_PREVIEW_ROWS 8

struct nx_preview_round {
  enum nx_round_kind kind;
  uint32_t n_members; /* of the cohort */
  uint32_t spot_checks;
  struct nx_upload_layout layout;
};

/* kind, messages and bytes of each row are filled. What depends on chance is left out: repeats
 * after a cut line, shares of members that vanish, heartbeats. */
int nx_preview(const struct nx_preview_round *round, struct nx_egress_row rows[NX_PREVIEW_ROWS],
               size_t *n_out, struct nx_error *err);
