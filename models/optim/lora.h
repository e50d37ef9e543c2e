/* LoRA: low-rank adapters (Hu et al. 2022) over a frozen model. Every matrix W of the blocks'
 * attention and feed-forward (experts and their gates stay as they are) becomes W + s B A with
 * A[rank, in] and B[out, rank], s = alpha / rank; the head (or decoder) is trained whole, as a
 * difference. What a federation exchanges is then the adapters' flat
 * vector, a fraction of the model.
 *
 *     base ──────────────────────┐
 *     adapters (params) ─► merge ┴► model ─► network ─► dW ─► gradients ─► AdamW ─► adapters
 *
 * The network never knows: it runs on the merged model, and dA = s B^T dW, dB = s dW A^T are
 * exact. Unmerging is keeping the base. Adapters start as the identity (B = 0).
 *
 * Plain data of one thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "models/model.h"

/* What is left as it is; zeroed: nothing. */
struct nx_lora_parts {
  bool no_attention, no_feed_forward, no_head;
};

struct nx_lora_options {
  uint32_t rank; /* 1 .. the smallest side of an adapted matrix */
  double alpha;  /* > 0 */
  uint64_t seed; /* first values of A, the same on every machine */
  struct nx_lora_parts parts;
};

struct nx_lora {
  double scale; /* s */
  uint32_t rank;
  struct nx_lora_parts parts;
  size_t n_tensors;
  struct nx_model_tensor *tensors; /* "block.0.attention.qkv.weight.a", "….b", …, "head.bias" */
  size_t n_params;
  float *params; /* [n_params], aligned to 64 bytes: the update vector */
};

/* Their table alone, into a layout that is zeroed. */
struct nx_layout;
int nx_lora_layout(const struct nx_model *base, const struct nx_lora_options *options,
                   struct nx_layout *layout, struct nx_error *err);
/* Adapters for models of base's shape. NX_E_INVALID: a rank that does not fit. */
int nx_lora_create(const struct nx_model *base, const struct nx_lora_options *options,
                   struct nx_lora **lora_out, struct nx_error *err);
void nx_lora_destroy(struct nx_lora *lora); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_lora *, nx_lora_destroy)

struct nx_lora_parts nx_lora_parts(const struct nx_model_adapters *adapters);
/* The adapters of a model that has a base, to read and to merge: owns nothing. */
struct nx_lora nx_lora_of(const struct nx_model *model);

/* merged->params = base's with the adapters in; merged is a model of the same shape, not base
 * itself. */
int nx_lora_merge(const struct nx_lora *lora, const struct nx_model *base, struct nx_model *merged,
                  struct nx_error *err);

/* gradients_out[lora->n_params] from those of the merged model, which `model` describes. */
int nx_lora_gradients(const struct nx_lora *lora, const struct nx_model *model,
                      const float *model_gradients, float *gradients_out, struct nx_error *err);
