/* Plan diff: what is different between two plans, key by key, as they are written. Works on
 * any YAML document, so that a section this program does not know is shown, too. */
#pragma once

#include <stdio.h>

#include "common/bytes.h"
#include "common/error.h"

struct nx_plan_key {
  char *path; /* "training.rounds", "irb.protocols[0]" */
  char *value;
};
struct nx_plan_keys {
  struct nx_plan_key *items; /* in the order of the text */
  size_t n;
};

/* NX_E_FORMAT when it is no YAML. Free with nx_plan_keys_finish(). */
int nx_plan_keys(struct nx_bytes text, struct nx_plan_keys *out, struct nx_error *err);
void nx_plan_keys_finish(struct nx_plan_keys *keys); /* zeroed is fine */

/* One line a difference; how many there are. */
size_t nx_plan_diff(const struct nx_plan_keys *before, const struct nx_plan_keys *after, FILE *out);
