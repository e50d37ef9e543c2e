/* Site fit: the answer to "do your data meet what this plan requires?", and what of it may leave.
 *
 *   fit.h judges ─► policy.yaml, section compatibility ─► a Fit message (codec_site.h)
 *                └► HOME/answers/<sha256 of the plan>     what was told, and what was found: the
 *                                                         reasons and true numbers stay here
 *
 * Numbers leave as the lower edges of buckets. Since a plan's own thresholds answer, too, only so
 * many different plans are answered within 24 hours: nobody asks until a number is known. */
#pragma once

#include "common/plan.h"
#include "node/node_config.h"
#include "node/policy/site_policy.h"
#include "proto/codec/codec_site.h"

struct nx_site_fit {
  const char *home;
  const struct nx_node_config *node;
  struct nx_site_policy_compatibility policy;
  const struct nx_plan *plan;
  struct nx_hash hash; /* of the plan */
  uint8_t federation[NX_FEDERATION_ID_SIZE];
};

/* Looks, keeps the answer's file, fills the message. Blocks while headers are read. */
int nx_site_fit_answer(const struct nx_site_fit *asked, struct nx_fit_message *out,
                       struct nx_error *err);
