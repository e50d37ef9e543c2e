/* Sites: who of the members can take part in a plan, as they answered, for the operator. */
#pragma once

#include <cjson/cJSON.h>

#include "coordinator/verbs/operator_client.h"

struct nx_sites {
  struct nx_arena *arena; /* owns what list points at */
  struct nx_admin_members list;
};

/* plan NULL or zero: of the run, or submitted last. Nothing for a role that may not list members. */
int nx_sites_get(struct nx_operator *operator_, const struct nx_hash *plan, struct nx_sites *out,
                 struct nx_error *err);
void nx_sites_finish(struct nx_sites *sites); /* zeroed is fine */

/* "sites: 2 of 4 can take part in eegmat", then a line for each that cannot, is away or has not
 * answered. Rules by name, never numbers. */
void nx_sites_print(const struct nx_sites *sites);
/* An array "sites": name, state, fits, unmet, and the counts as told. */
void nx_sites_json(const struct nx_sites *sites, cJSON *object);
