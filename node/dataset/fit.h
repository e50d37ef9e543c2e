/* Fit: do this site's data meet what a plan requires? From lists, tables and headers alone, before
 * anything is trained; the same rules by which nx_dataset_open() would take or refuse them. What a
 * site may tell others about the result is decided elsewhere (node/site_fit.h). */
#pragma once

#include "common/plan_requires.h"
#include "node/dataset/dataset.h"

struct nx_fit {
  uint32_t met, unmet;                        /* sets of enum nx_requirement: 1u << requirement */
  char why[NX_REQUIREMENTS][NX_ERROR_TEXT_SIZE]; /* of what is unmet; may name files: stays here */
  size_t n_subjects, n_recordings;            /* recordings: without held-out ones */
};

/* data_set: node.yaml's data.name, or NULL. Whatever is wrong with the data is an answer. */
void nx_fit_judge(const struct nx_dataset_options *options, const struct nx_plan *plan,
                  const char *data_set, struct nx_fit *fit);

/* What nx_dataset_open() asks of a whole data set: subjects and recordings as the plan requires.
 * NX_E_DENIED. */
int nx_fit_counts(const struct nx_plan *plan, const char *folder,
                  const struct nx_dataset_summary *summary, struct nx_error *err);
/* And of channels: n common ones, or of one recording; a name every `stride` bytes. NX_E_DENIED. */
int nx_fit_channels(const struct nx_plan *plan, const char *names, size_t stride, size_t n,
                    struct nx_error *err);
/* The plan's species and modality against what node.yaml says of the site, where it says it; a plan
 * for any needs a site that says. NX_E_DENIED, NX_E_INVALID; word_out may be NULL. */
int nx_fit_kind(const char *key, const char *plan, const char *site, const char **word_out,
                struct nx_error *err);
