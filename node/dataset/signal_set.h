/* Signal set: the recordings of one folder for a plan of many modalities (plan section
 * modalities), checked, preprocessed and held in memory for one run: one struct nx_signals for
 * each of the plan's tokenisers that reads the site's modality. Read-only after open.
 *
 * With training.objective: classification, recordings are cut into stretches of one of the plan's
 * two labels: a word of the file's name or labels.tsv, translated by the site's vocabulary
 * (behaviour.h), or the state that position or velocity shows. What has neither is left out.
 * With prototypes, signals have the class of every sample, by the same words and states; what has
 * none is taken too, and so is everything where options->any_label asks for no labels. With
 * regression, signals have targets (targets.h); recordings without behaviour are left out. */
#pragma once

#include "node/dataset/signal.h"
#include "node/dataset/signal_files.h"

struct nx_signal_set;

/* options->modality, species: what the plan says, or this site where the plan says "any".
 * Errors as nx_dataset_open(); a broken file is passed over when options->skip_broken says so. */
int nx_signal_set_open(const struct nx_dataset_options *options, const struct nx_plan *plan,
                       struct nx_signal_set **set_out, struct nx_error *err);
const struct nx_dataset_summary *nx_signal_set_summary(const struct nx_signal_set *set);
/* Whose a recording is, for the site's own books: x and scale are NULL. */
const struct nx_dataset_recording *nx_signal_set_recording(const struct nx_signal_set *set,
                                                           size_t index);
const struct nx_signals *nx_signal_set_signals(const struct nx_signal_set *set, size_t *n_out);
struct nx_behaviour;
/* 0 or 1: the word, or the state it means by the vocabulary (NULL: none), is a label of the plan; or
 * -1. */
int nx_signal_label(const struct nx_plan *plan, const struct nx_behaviour *behaviour,
                    const char *word);
/* The plan's class that a word means, so; or NX_PROTOTYPE_NO_CLASS. */
uint8_t nx_signal_class(const struct nx_plan_prototypes *prototypes,
                        const struct nx_behaviour *behaviour, const char *word);
void nx_signal_set_destroy(struct nx_signal_set *set); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_signal_set *, nx_signal_set_destroy)
