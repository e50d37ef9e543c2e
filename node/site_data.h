/* Site data: this institution's recordings as node.yaml names them. Opened when a round or a
 * verb needs them, never kept by an idle node. */
#pragma once

#include "common/plan.h"
#include "node/dataset/dataset.h"
#include "node/node_config.h"
#include "node/subject_records.h"

/* What can be said before any plan is known: the folder can be read, holds recordings, and
 * each of them opens and is whole. NX_E_NOT_FOUND, NX_E_DENIED, NX_E_FORMAT with the file and
 * the mend. Reads headers only. skip_broken: a recording that does not open is named in the log, and
 * one that does is enough. */
int nx_site_data_check(const char *folder, bool skip_broken, struct nx_error *err);

/* How the plan's data set would be opened; views of data and withdrawals. What `person` holds are
 * those held out when node.yaml names a fold, which is counted over all people. any_label: as
 * nx_site_data_open_any(). */
struct nx_site_data_options {
  struct nx_dataset_options options;
  char reader[4096], person[NX_SUBJECT_SIZE];
  const char *people[1];
};
int nx_site_data_describe(const struct nx_node_config_data *data,
                          const struct nx_withdrawals *withdrawals, const struct nx_plan *plan,
                          struct nx_pool *pool, bool any_label, struct nx_site_data_options *out,
                          struct nx_error *err);
/* The data set of the plan, with the held-out people of node.yaml and without those who withdrew.
 * A fold is counted over all people, so that a withdrawal moves nobody else between training and
 * held-out. What was preprocessed before is taken from HOME/cache (home NULL: from nowhere), unless
 * data.cache_mb is 0, which empties it. pool may be NULL. Errors as nx_dataset_open(). */
int nx_site_data_open(const char *home, const struct nx_node_config_data *data,
                      const struct nx_withdrawals *withdrawals, const struct nx_plan *plan,
                      struct nx_pool *pool, struct nx_dataset **dataset_out, struct nx_error *err);
/* The same recordings to look at with a model: those without a label too (any_label). */
int nx_site_data_open_any(const char *home, const struct nx_node_config_data *data,
                          const struct nx_withdrawals *withdrawals, const struct nx_plan *plan,
                          struct nx_pool *pool, struct nx_dataset **dataset_out,
                          struct nx_error *err);
