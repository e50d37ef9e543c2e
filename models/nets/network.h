/* Network: one model's forward pass, loss and gradients on the CPU.
 *
 * A network holds the working memory for one model shape, a tape for each thread and a flat
 * gradient vector, and belongs to one thread. It allocates on the first call of a batch size and
 * reuses that memory afterwards: nodes create one when they train and destroy it after, so
 * that an idle node holds none. The model is an argument of every call and only read.
 *
 * Deterministic: same model, input and rng state give the same bits on the same machine. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/pool.h"
#include "common/rng.h"
#include "models/model.h"

/* Windows as features (node/dataset/features.h), not standardised: the network does that
 * with the model's means and SDs. Owns nothing. S, n, F as in struct nx_model_shape. */
struct nx_network_input {
  size_t n_windows;       /* B, at least 1 */
  size_t n_channels;      /* C, at least 1; any montage */
  const float *patches;   /* [B][C][S][n], clamped waveform */
  const float *spectra;   /* [B][C][S][F], log amplitude */
  const float *stats;     /* [B][C][NX_MODEL_STATS] */
  const float *positions; /* [C][3], unit sphere */
  const uint8_t *labels;  /* [B], 0 or 1; NULL where no loss of classes is asked for */
};

struct nx_network;

int nx_network_create(const struct nx_model *model, struct nx_network **network_out,
                      struct nx_error *err);
void nx_network_destroy(struct nx_network *network); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_network *, nx_network_destroy)

/* Shares the slices of a batch out to the pool's threads; the pool must outlive the network's
 * calls and serve nobody else during them. NULL: this thread alone. Results are the same bits
 * for any number of threads. */
int nx_network_use_pool(struct nx_network *network, struct nx_pool *pool, struct nx_error *err);

/* Matrix products in bf16 with float32 sums, weights and gradients: up to twice as fast where
 * the processor has it, NX_E_UNSUPPORTED where not. Float32 until asked. */
int nx_network_use_bf16(struct nx_network *network, struct nx_error *err);

/* Training steps keep only the input of each block and compute the block again in the backward
 * pass: less memory, about a third more time, gradients of the same bits. Off until asked. */
void nx_network_use_checkpoints(struct nx_network *network, bool on);

/* logits_out[B]: > 0 speaks for class 1. No dropout. NX_E_INVALID: an input that does not fit
 * the model, or a model made for reconstruction; NX_E_STATE: a logit is not finite. */
int nx_network_forward(struct nx_network *network, const struct nx_model *model,
                       const struct nx_network_input *input, float *logits_out,
                       struct nx_error *err);

/* embeddings_out[B][width]: the mean over patches and queries of the last block's normalised
 * output. For any objective. */
int nx_network_embed(struct nx_network *network, const struct nx_model *model,
                     const struct nx_network_input *input, float *embeddings_out,
                     struct nx_error *err);

/* Forward with dropout from rng and backward; the gradients of the mean loss are in
 * nx_network_gradients() until the next call. loss_out: mean over the batch.
 *   classification: binary cross-entropy with logits, labels smoothed by label_smoothing
 *   reconstruction: mean square over the inputs of masked tokens, mask drawn from rng
 *                   (nets/masking.h); label_smoothing and labels are not used
 * NX_E_STATE: the loss is not finite. */
int nx_network_train_step(struct nx_network *network, const struct nx_model *model,
                          const struct nx_network_input *input, double label_smoothing,
                          struct nx_rng *rng, double *loss_out, struct nx_error *err);

/* [n_params] of the model, aligned like its params; valid until destroy. */
float *nx_network_gradients(struct nx_network *network);

/* Mean reconstruction loss without training, for a model made for reconstruction. */
int nx_network_reconstruct(struct nx_network *network, const struct nx_model *model,
                           const struct nx_network_input *input, struct nx_rng *rng,
                           double *loss_out, struct nx_error *err);

/* What a training step works with, besides gradients: its slices, and the bytes that each of them
 * takes at most while a thread works on it. Nothing is computed and hardly any memory used; the model
 * may be an outline (models/outline.h). */
struct nx_slice_memory {
  size_t n_slices, bytes;
};
int nx_network_measure(const struct nx_model *model, size_t n_windows, size_t n_channels,
                       bool checkpoints, struct nx_slice_memory *memory_out, struct nx_error *err);

/* The most bytes that a slice took on a thread so far, beside gradients. */
size_t nx_network_activations(const struct nx_network *network);

/* Bytes of working memory held. */
size_t nx_network_memory(const struct nx_network *network);
