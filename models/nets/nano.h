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
#include "models/tensor/layout.h"

/* The parameters of a shape, in canonical order: the decoder's only for reconstruction, the
 * head's only for classification. The encoder's tensors come first and have the same names
 * in both. */
int nx_nano_layout(const struct nx_model_shape *shape, struct nx_layout *layout,
                   struct nx_error *err);
