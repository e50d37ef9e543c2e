/* Plan: what a federation is asked to do, exactly as its people approve it. A plan is
 * hashed as written (SHA-256 of the file's bytes), so it has no defaults: every key is
 * there for a steward to read. configs/plan-eegmat.yaml is a commented example. */
#pragma once

#include <stdint.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/plan_irb.h"
#include "common/plan_modalities.h"
#include "common/plan_privacy.h"
#include "common/plan_requires.h"

#define NX_PLAN_VERSION 1

enum nx_plan_reference { NX_REFERENCE_AS_RECORDED, NX_REFERENCE_AVERAGE };
enum nx_plan_scale { NX_SCALE_RECORDING, NX_SCALE_CHANNEL };
enum nx_plan_objective {
  NX_OBJECTIVE_CLASSIFICATION,
  NX_OBJECTIVE_RECONSTRUCTION, /* of what is hidden */
  NX_OBJECTIVE_NEXT_PATCH,     /* autoregressive; the general network's */
  NX_OBJECTIVE_REGRESSION      /* of behaviour (common/plan_regression.h); the general network's */
};
enum nx_plan_network {
  NX_NETWORK_NANO,   /* one modality: models/nets/nano.h */
  NX_NETWORK_GENERAL /* many: models/nets/general.h, with the section modalities */
};

struct nx_plan_data {
  char *species;        /* "human" */
  char *modality;       /* "eeg" */
  char *negative_label; /* class 0, e.g. "rest" */
  char *positive_label; /* class 1, e.g. "arithmetic" */
  uint32_t minimum_subjects;
};

struct nx_plan_preprocessing {
  enum nx_plan_reference reference;
  double high_pass_hz, low_pass_hz, notch_hz; /* 0 = off */
  double rate_hz;                             /* resampled to this */
  enum nx_plan_scale scale;
  double clamp; /* robust units, after scaling */
};

struct nx_plan_window {
  double seconds, patch_seconds;
};

struct nx_plan_model {
  enum nx_plan_network network;
  uint32_t width, blocks, queries, heads, feed_forward;
  double dropout;
};

struct nx_plan_training {
  enum nx_plan_objective objective;
  uint32_t rounds, local_steps, batch, warmup_steps;
  double learning_rate, final_learning_rate_fraction, weight_decay, beta1, beta2;
  double gradient_clip_norm, label_smoothing;
  bool checkpoint_activations; /* optional: blocks are computed again in the backward pass, which
                                * takes less memory and more time, for the same results */
};

struct nx_plan_aggregation {
  uint32_t ring_bits, value_bits; /* w and the signed width of one value */
  double value_range;             /* components beyond +-this are clamped */
  double update_clip_norm;        /* L2 clip of a whole update, before weighting */
  uint32_t weight_cap;            /* w_u = min(samples, cap) / cap */
  uint32_t minimum_members;       /* cohort floor; a node's own policy may ask for more */
  uint32_t spot_checks;           /* tiles each node checks of every opened sum */
  bool rotation;                  /* optional: randomised Hadamard rotation before rounding */
  bool error_feedback;            /* optional: what rounding took away is added next round */
  bool narrow_keystream;          /* optional: 16 bits of keystream a lane, not 32 (crypto/mask.h) */
  uint32_t mask_cipher;           /* optional: enum nx_mask_cipher */
};

struct nx_plan_deadlines {
  uint32_t phase_seconds, training_seconds;
};

struct nx_plan_cleaning; /* common/plan_cleaning.h */
struct nx_plan_labels;   /* common/plan_labels.h */
struct nx_plan_pipelines; /* common/plan_pipelines.h */
struct nx_plan_initial_model;
struct nx_plan_adapters;
struct nx_plan_regression;
struct nx_plan_prototypes;

struct nx_plan {
  uint32_t neurox_plan; /* NX_PLAN_VERSION */
  char *name;
  uint64_t seed; /* drives initial weights, batches, dropout and rounding; never keys */
  struct nx_plan_data data;
  struct nx_plan_preprocessing preprocessing;
  struct nx_plan_window window;
  struct nx_plan_model model;
  struct nx_plan_training training;
  struct nx_plan_aggregation aggregation;
  struct nx_plan_deadlines deadlines;
  enum nx_plan_privacy privacy;
  /* Optional sections, each in a file of its own; NULL: the plan does not have it. */
  struct nx_plan_differential_privacy *differential_privacy;
  struct nx_plan_irb *irb;
  struct nx_plan_requires *requires;
  struct nx_plan_modalities *modalities; /* NULL unless model.network is general */
  struct nx_plan_labels *labels;
  struct nx_plan_adapters *adapters; /* common/plan_adapters.h */
  struct nx_plan_cleaning *cleaning;
  struct nx_plan_pipelines *pipelines;
  struct nx_plan_regression *regression; /* common/plan_regression.h */
  struct nx_plan_prototypes *prototypes; /* common/plan_prototypes.h */
  struct nx_plan_initial_model *initial_model; /* common/plan_initial_model.h */
};

/* Parses and checks ranges; NX_E_FORMAT names the key and its line.
 * Free with nx_plan_destroy(). */
int nx_plan_parse(const char *name, struct nx_bytes text, struct nx_plan **plan_out,
                  struct nx_error *err);
void nx_plan_destroy(struct nx_plan *plan);
NX_DEFINE_CLEANUP(struct nx_plan *, nx_plan_destroy)
