/* Model: what a federation trains. Its architecture follows from an approved plan alone, and
 * so do its first weights, so every node makes model 0 by itself and gets the same bytes.
 *
 *     plan ─► shape ─► table of tensors ─► params  float32[n_params]    one aligned allocation:
 *                                                                      the update vector
 *                                      └─► features float32[n_features] mean and SD, set by the
 *                                                                      statistics round
 *
 * A model is plain data owned by one thread at a time; any number of threads may read one
 * that nobody writes. Nothing here is secret: models are what rounds publish.
 *
 * At rest a model is a safetensors file in canonical form: tensors in table order, fixed
 * metadata, no gaps. The same model gives the same bytes everywhere, so that the SHA-256 of
 * the bytes names the model. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/error.h"
#include "common/plan.h"
#include "common/plan_adapters.h"
#include "common/plan_prototypes.h"

#define NX_MODEL_TENSORS 1024                 /* most tensors of one model */
#define NX_MODEL_TENSOR_NAME 64               /* with the terminator */
#define NX_MODEL_PARAMS_CAP ((size_t)1 << 30) /* most parameters of one model */
#define NX_MODEL_BINS 45                      /* spectral bins of a patch, 1 .. 45 of its rFFT */
#define NX_MODEL_STATS 8                      /* statistics of a channel in a window */

/* How the general network reads one kind of signal (common/modality.h). */
struct nx_model_tokeniser {
  enum nx_tokeniser_kind kind;
  enum nx_token_loss loss;
  uint32_t patch_samples; /* n */
  uint32_t inputs;        /* n_in = n + n / 2 + 1: samples, then log amplitudes */
  double patch_seconds, frequency_weight, frequency_power;
};

/* Low-rank adapters (models/optim/lora.h): what they are on, and what trains whole besides. */
struct nx_model_adapters {
  uint32_t rank;
  double alpha;
  bool attention, feed_forward, head;
  enum nx_storage base; /* of the frozen model's blocks */
};

/* Everything the sizes depend on. */
struct nx_model_shape {
  enum nx_plan_network network;
  enum nx_plan_objective objective;
  uint32_t width;         /* d */
  uint32_t blocks;        /* L */
  uint32_t queries;       /* Q of the unifier */
  uint32_t heads;         /* H; width / heads is even */
  uint32_t feed_forward;  /* f */
  uint32_t patches;       /* S of a window */
  uint32_t patch_samples; /* n */
  uint32_t bins;          /* F = min(NX_MODEL_BINS, n / 2 - 1) */
  uint32_t stats;         /* NX_MODEL_STATS */
  double patch_seconds;
  double dropout;
  /* The general network's; 0 for nano. There patch_samples, bins and stats are 0: what they say
   * is each tokeniser's, and inputs are not standardised by the federation. */
  uint32_t experts; /* E in every second block */
  double balance;   /* of their loads; 0: none */
  uint32_t n_tokenisers;
  struct nx_model_tokeniser tokenisers[NX_TOKENISERS];
  double mask_fraction, mask_correlation, mask_radius_mm;
  uint32_t n_targets; /* K of a regression's head; else 0 */
  uint32_t n_classes; /* prototypes of behaviour; 0: none */
  double contrast_weight, temperature;
  char classes[NX_PROTOTYPE_NAMES];  /* their names, in order, a space between */
  struct nx_model_adapters adapters; /* rank 0: none */
};

/* One named part of the flat parameter vector, row-major. A matrix that is kept in few bits
 * (models/quantised.h) has its codes there, and its scales in the tensor behind it. */
struct nx_model_tensor {
  char name[NX_MODEL_TENSOR_NAME];
  uint32_t n_dims;  /* 1 or 2 */
  uint32_t dims[2]; /* dims[1] is 1 for vectors */
  size_t offset;    /* first value in params */
  size_t size;      /* values; of codes: the floats whose room they take */
  enum nx_storage storage;
};

struct nx_model {
  struct nx_model_shape shape;
  char plan_name[65];
  size_t n_tensors;
  const struct nx_model_tensor *tensors; /* in order of offset, without gaps */
  size_t n_params;
  float *params; /* [n_params], aligned to 64 bytes */
  /* Standardisation of inputs: the F spectral bins, then the channel statistics. Means 0 and
   * SDs 1 until the statistics round sets them (models/optim/server_apply.h). Of the general
   * network: of a regression's targets, else none. */
  size_t n_features;
  float *feature_mean; /* [n_features] */
  float *feature_sd;   /* [n_features], > 0 */
  /* With adapters the table and params above are theirs alone, and this is the frozen model that
   * they adapt, without adapters; else NULL. Owned. Networks run on nx_model_merge(), or on this
   * as it is when the base is quantised. */
  struct nx_model *base;
};

/* Shape of the plan's model; NX_E_INVALID names the keys that do not fit each other. */
int nx_model_shape_from_plan(const struct nx_plan *plan, struct nx_model_shape *shape_out,
                             struct nx_error *err);

/* How many of the last parameters are not trained but set after every training round from its sums
 * (nx_server_apply_sums()): "prototypes.mean", and "block.N.experts.load" of a
 * model whose experts are balanced: the share of the federation's rows that each took. */
size_t nx_model_standing(const struct nx_model_shape *shape);

/* Model 0 of a plan: weights drawn from plan->seed as design/recipe-eegmat says. */
int nx_model_create(const struct nx_plan *plan, struct nx_model **model_out, struct nx_error *err);
/* The plain float32 model that this one is: the base, dequantised, with the adapters in. */
int nx_model_merge(const struct nx_model *model, struct nx_model **merged_out,
                   struct nx_error *err);
/* A copy that shares nothing. */
int nx_model_clone(const struct nx_model *model, struct nx_model **clone_out, struct nx_error *err);
void nx_model_destroy(struct nx_model *model); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_model *, nx_model_destroy)

/* The tensor of that name, or NULL. */
const struct nx_model_tensor *nx_model_find(const struct nx_model *model, const char *name);

/* Appends the canonical bytes to out. NX_E_INVALID when a value is NaN or infinite. */
int nx_model_save(const struct nx_model *model, struct nx_buffer *out, struct nx_error *err);
/* Reads canonical bytes that must fit the plan: same tensors, names, shapes, order and
 * metadata, every value finite, SDs positive, nothing left over. The bytes are not trusted:
 * whatever differs is NX_E_FORMAT. nx_model_save() of the result gives the same bytes. */
int nx_model_load(const struct nx_plan *plan, struct nx_bytes bytes, struct nx_model **model_out,
                  struct nx_error *err);
/* The same, and files of the plan's plain model in int8 or NF4 (models/quantised.h), for inference:
 * rounds never take such a model. */
int nx_model_load_quantised(const struct nx_plan *plan, struct nx_bytes bytes,
                            struct nx_model **model_out, struct nx_error *err);
