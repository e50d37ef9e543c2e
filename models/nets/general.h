/* General: one network for every modality and species (design page "The shared model"; it draws
 * on LUNA, REVE, CBraMod and POYO). Cost is linear in channels; no table of units or people.
 *
 *   t = W_in[tokeniser] x + code                                        [B,C,S,d]
 *   code = MLP(Fourier(position)), or a learned vector without one,
 *          + W_s stats + E_modality + E_species + E_reference           [C,d]
 *   z = unifier: Q learned queries attend over the visible channels of
 *       each patch, then SwiGLU                                         [B,S*Q,d]
 *   z = L blocks: RMSNorm, attention (rotary on seconds, periods .02 to
 *       300 s), SwiGLU; every second with E half-width experts besides,
 *       of which the gate's first takes a row, weighted by its softmax  [B,S*Q,d]
 *   masked:         every hidden (channel, patch) asks z for its samples
 *   next patch:     attention is block-causal by patch; (channel, patch p + 1) asks z of the
 *                   patches up to p
 *   classification: attention pool, RMSNorm, linear                     [B]
 *   regression:     the same over the queries of each patch             [B*S,K]
 *
 * Experts are balanced (shape's balance, a) as in Switch (Fedus et al. 2022): the loss has besides
 * a E sum_e (F_e + f_e) / 2 P_e, P the mean over rows of the gate's softmax, f the share of a
 * slice's own rows and F that of the federation's, "block.N.experts.load", out of the sums of the
 * round before (as over a global batch: Qiu et al. 2025). F lets a site of one modality keep to one
 * expert while others take the rest; f lets go when rows have moved, which F says a round too late.
 * F is 0 until the first sums. Losses are told without this term.
 *
 * With prototypes a window has a direction u = unit(W mean(z)), z of unit mean square, and beside a
 * reconstruction the loss that common/plan_prototypes.h says.
 *
 * A question is MLP(code, Fourier(time)); the decoder is one block of cross-attention, rotary on
 * seconds too (nothing else would tell a latent row's time), and SwiGLU, then W_out[tokeniser]
 * to n samples. Its losses, by tokeniser:
 *   quadratic  r^T M r / n, r = samples - prediction, M = I + lambda F^T D F, F the orthonormal
 *              DFT, D proportional to f^alpha, of mean 1 over f > 0
 *   poisson    (e^y - count y) / n, y = prediction + the log of the channel's mean count, so
 *              that an untrained network says the mean rate */
#pragma once

#include "common/modality.h"
#include "models/model.h"
#include "models/nets/weights.h"
#include "models/tensor/layout.h"
#include "models/tensor/tape.h"

/* Windows of one recording, as a node hands them over (node/train/signal_batch.h makes them).
 * Owns nothing. */
struct nx_general_input {
  uint32_t tokeniser; /* index into the shape's tokenisers; must read the modality */
  enum nx_modality modality;
  enum nx_species species;
  enum nx_signal_reference reference;
  size_t n_windows;  /* B, at least 1 */
  size_t n_channels; /* C, at least 1 */
  /* [B][C][S][n_in]: n samples (robust z; counts for a Poisson loss), then n / 2 + 1 log
   * amplitudes log(|rFFT| / sqrt n + 0.02) */
  const float *x;
  const float *stats;     /* [C][NX_MODEL_STATS], node/dataset/signal.h says which */
  const float *positions; /* [C][3], in units of 100 mm from the head's or recording's centre */
  const uint8_t *placed;  /* [C]: 0 where a channel has no position */
  const uint8_t *labels;  /* [B], 0 or 1; NULL where no loss of classes is asked for */
  /* [B][S][K] of a regression, in their unit; NaN where one is not known; NULL where no loss is
   * asked for */
  const float *targets;
  /* [B]: which of the shape's classes a window is of, or NX_PROTOTYPE_NO_CLASS; NULL: none is */
  const uint8_t *classes;
};

/* The parameters of a shape, in canonical order. A tensor of a tokeniser, modality, species or
 * reference gets a gradient only from inputs that name it. */
int nx_general_layout(const struct nx_model_shape *shape, struct nx_layout *layout,
                      struct nx_error *err);

/* Whether training on that input can change the tensor: false for tensors of other tokenisers,
 * modalities, species and references, which a site must leave exactly as they are (weight decay
 * included). */
bool nx_general_touches(const struct nx_model_shape *shape, const char *tensor,
                        const struct nx_general_input *input);

/* The tensors of a shape, found once, and tables. */
struct nx_general;

int nx_general_create(const struct nx_model_shape *shape, const struct nx_model_tensor *tensors,
                      size_t n_tensors, struct nx_general **general_out, struct nx_error *err);
void nx_general_destroy(struct nx_general *general); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_general *, nx_general_destroy)

/* Values a forward pass reads. */
struct nx_general_pass {
  struct nx_weights weights;
  const struct nx_general_input *input;
  const uint8_t *visible; /* [B][C][S]: what a masked pass may see; NULL: all */
  nx_real balance;        /* of each row's gate: shape's balance over the batch's rows; 0: none */
  uint64_t *loads;        /* [blocks with experts][E], rows that went to each are added; or NULL */
  bool again; /* blocks' activations are not kept for backward, but computed once more */
};

/* What the decoder said. Questions are padded to the same number in every window. */
struct nx_general_decoded {
  size_t n_questions;           /* of each window */
  const uint32_t *tokens;       /* [B * n_questions]: (channel * S + patch) that is asked for */
  const uint8_t *padding;       /* [B * n_questions]: 1 where the answer is not wanted */
  size_t n_wanted;              /* in all windows */
  struct nx_tensor *prediction; /* [B * n_questions, n]: samples, or log counts */
  struct nx_tensor *target;     /* the same size */
  struct nx_tensor *latent;     /* [B * S * Q, d]: what the last block said */
};

/* Masked reconstruction or next patch, as the shape's objective says. False on failure (check
 * the tape). */
bool nx_general_decode(struct nx_general *general, struct nx_tape *tape,
                       const struct nx_general_pass *pass, struct nx_general_decoded *out);
/* scale * sum over what is wanted of the tokeniser's loss per sample, [1, 1]. */
struct nx_tensor *nx_general_loss(struct nx_general *general, struct nx_tape *tape,
                                  const struct nx_general_pass *pass,
                                  const struct nx_general_decoded *decoded, nx_real scale);
/* The contrast beside it: scale * sum over windows whose class has a prototype of the cross-entropy
 * of softmax(u . mu / temperature) over the prototypes that are known (not all 0), [1, 1]; NULL,
 * without an error, where there is no such window. */
struct nx_tensor *nx_general_contrast(struct nx_general *general, struct nx_tape *tape,
                                      const struct nx_general_pass *pass, struct nx_tensor *latent,
                                      nx_real scale);
/* Unit vectors u of windows, [B, NX_PROTOTYPE_WIDTH]. */
struct nx_tensor *nx_general_direction(struct nx_general *general, struct nx_tape *tape,
                                       const struct nx_general_pass *pass);
/* Logits [B, 1]. */
struct nx_tensor *nx_general_classify(struct nx_general *general, struct nx_tape *tape,
                                      const struct nx_general_pass *pass);
/* A regression's values, standardised, [B * S, K]. */
struct nx_tensor *nx_general_regress(struct nx_general *general, struct nx_tape *tape,
                                     const struct nx_general_pass *pass);
/* The mean over patches and queries of the last block's normalised output, [B, d]. */
struct nx_tensor *nx_general_embed(struct nx_general *general, struct nx_tape *tape,
                                   const struct nx_general_pass *pass);
