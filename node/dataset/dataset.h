/* Dataset: the labelled recordings of one folder, checked and preprocessed as a plan asks,
 * held in memory for one run. Files are found in a BIDS tree, through labels.tsv with the
 * columns file, subject, label, or else by name (SubjectNN_rest.edf, SubjectNN_arith.edf). Subject
 * ids stay on this machine: only counts and hashes may be sent anywhere.
 *
 *     files ─► reference ─► filters, notch ─► resample ─► centre, scale, clamp ─► windows
 *
 * After nx_dataset_open() everything is read-only, for any number of threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/plan.h"
#include "common/pool.h"
#include "crypto/hash.h"

#define NX_SUBJECT_SIZE 64

struct nx_cache;
struct nx_dataset;

enum nx_split { NX_SPLIT_TRAIN, NX_SPLIT_HELD_OUT };

struct nx_dataset_options {
  const char *folder;
  const char *const *held_out; /* subject ids whose recordings only ever score a model */
  size_t n_held_out;
  const char *const *withdrawn; /* subject ids that are not even read */
  size_t n_withdrawn;
  const char *const *only; /* when n_only > 0: no other subject is read (site definitions) */
  size_t n_only;
  bool allow_identity; /* read recordings whose header may say who somebody is */
  const char *reader;  /* neurox-reader (node/recordings/sandbox.h); NULL: parsed in this process */
  const char *modality, *species; /* this site's, for plans that take any; NULL: not said */
  const char *behaviour;          /* vocabulary (configs/behaviour.yaml) or NULL */
  /* For looking at recordings with a model that is there: those without a label of the plan are
   * taken too, whole and marked `unlabelled`, and any number of people will do. */
  bool any_label;
  bool skip_broken;     /* go on without recordings that cannot be read, each named in the log */
  struct nx_cache *cache; /* of what was preprocessed before (cache.h); NULL: none */
  struct nx_pool *pool; /* preprocesses recordings side by side; NULL: this thread alone */
};

struct nx_dataset_recording {
  char subject[NX_SUBJECT_SIZE]; /* local: never log, never send */
  char file[256];                /* name inside the folder */
  uint8_t label;                 /* 0 = plan's negative label, 1 = positive */
  bool unlabelled;               /* there is none: label says nothing */
  double from_s;                 /* of its first sample in the file: not 0 for an event's */
  enum nx_split split;
  size_t n_samples;   /* at the plan's rate */
  const float *x;     /* [n_channels][n_samples], robust units, clamped */
  const float *scale; /* [n_channels], each channel's robust scale, micro-volts */
};

struct nx_dataset_summary {
  size_t n_subjects, n_held_out_subjects; /* n_subjects counts both */
  size_t n_recordings, n_train_recordings, n_held_out_recordings;
  size_t n_train_windows, n_held_out_windows; /* non-overlapping */
  size_t n_channels;
  double rate_hz;
  bool synthetic;          /* any file or the folder says so: say it wherever figures are */
  struct nx_hash manifest; /* what the audit log names, see nx_dataset_open() */
};

/* Reads every file once. The manifest is SHA-256 over ("neurox dataset v1", Merkle root of
 * the SHA-256 of each recording (beside.h: its file, or all its files) in order of those hashes, hash of the plan's preprocessing and
 * window keys, subject count): it names no subject and no file.
 * NX_E_NOT_FOUND: no such folder, or nothing usable in it; NX_E_FORMAT: a broken, flat, NaN
 * or too short recording (named, with the mend); NX_E_INVALID: labels, rates or options
 * that contradict the plan; fewer subjects than plan->data.minimum_subjects: NX_E_DENIED. */
int nx_dataset_open(const struct nx_dataset_options *options, const struct nx_plan *plan,
                    struct nx_dataset **dataset_out, struct nx_error *err);
const struct nx_dataset_summary *nx_dataset_summary(const struct nx_dataset *dataset);
const struct nx_dataset_recording *nx_dataset_recording(const struct nx_dataset *dataset,
                                                        size_t index);
/* For a plan with a section modalities: what the general network trains on, one struct for each
 * tokeniser that reads this site's modality (node/dataset/signal_set.h); there are no windows of
 * the other kind then. NULL, 0 for other plans. */
struct nx_signals;
const struct nx_signals *nx_dataset_signals(const struct nx_dataset *dataset, size_t *n_out);
/* Unit-sphere places [n_channels][3], and names, of the channels every recording has. */
const float *nx_dataset_positions(const struct nx_dataset *dataset);
const char *nx_dataset_channel(const struct nx_dataset *dataset, size_t index);

void nx_dataset_destroy(struct nx_dataset *dataset); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_dataset *, nx_dataset_destroy)
