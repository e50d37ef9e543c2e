/* Nano: the network of design/recipe-eegmat, for any number of channels.
 *
 *   x  = [patch, (spectrum - mean) / sd]                                  [B,C,S,n+F]
 *   t  = W_tokens x + place(position) + W_stats (stats - mean) / sd       [B,C,S,d]
 *   z  = unifier: Q learned queries attend over the channels, per patch   [B,S,Q,d]
 *   z  = L blocks: RMSNorm, attention (rotary on seconds), SwiGLU         [B,S*Q,d]
 *   classification: attention pool, RMSNorm, dropout, linear              [B]
 *   reconstruction: every (channel, patch) asks z for its x               [B,C,S,n+F]
 */
#pragma once

#include "models/model.h"
#include "models/nets/network.h"
#include "models/nets/weights.h"
#include "models/tensor/layout.h"
#include "models/tensor/tape.h"

/* The parameters of a shape, in canonical order: the decoder's only for reconstruction, the
 * head's only for classification. The encoder's tensors come first and have the same names
 * in both. */
int nx_nano_layout(const struct nx_model_shape *shape, struct nx_layout *layout,
                   struct nx_error *err);

/* The tensors of a shape, found once. */
struct nx_nano;

int nx_nano_create(const struct nx_model_shape *shape, const struct nx_model_tensor *tensors,
                   size_t n_tensors, struct nx_nano **nano_out, struct nx_error *err);
void nx_nano_destroy(struct nx_nano *nano); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_nano *, nx_nano_destroy)

/* Values a forward pass reads. visible[B][C][S] or NULL hides tokens from the unifier. again: blocks'
 * activations are not kept for backward, which computes them once more. */
struct nx_nano_pass {
  struct nx_weights weights;
  const float *feature_mean, *feature_sd;
  const struct nx_network_input *input;
  const uint8_t *visible;
  bool again;
};

/* Logits [B, 1]. */
struct nx_tensor *nx_nano_classify(struct nx_nano *nano, struct nx_tape *tape,
                                   const struct nx_nano_pass *pass);
/* The mean over patches and queries of the last block's normalised output, [B, d]. */
struct nx_tensor *nx_nano_embed(struct nx_nano *nano, struct nx_tape *tape,
                                const struct nx_nano_pass *pass);
/* scale * sum of squared errors over the inputs of hidden tokens, [1, 1]. */
struct nx_tensor *nx_nano_reconstruct(struct nx_nano *nano, struct nx_tape *tape,
                                      const struct nx_nano_pass *pass, nx_real scale);
