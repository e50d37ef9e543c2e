/* Ops: what networks are written in. Each returns a tensor of the tape's step, NULL when the
 * tape has failed (models/tensor/tape.h). R is any number of rows. */
#pragma once

#include "models/tensor/tape.h"

/* x[R, in] W[out, in]^T + b[1, out] (or NULL) → [R, out] */
struct nx_tensor *nx_op_linear(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *w,
                               struct nx_tensor *b);

/* y[r, :] = x[r, :] + v[(r / inner) % v->rows, :]: v is repeated over the rows. Takes x
 * over. */
struct nx_tensor *nx_op_add_rows(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *v,
                                 size_t inner);

/* x / sqrt(mean(x^2) + 1e-6) * gain[1, d] (or NULL), by row (Zhang & Sennrich 2019). */
struct nx_tensor *nx_op_rms_norm(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *gain);

/* x sigmoid(x) */
struct nx_tensor *nx_op_silu(struct nx_tape *tape, struct nx_tensor *x);
/* [u, v][R, 2 f] → silu(u) v [R, f] (Shazeer 2020) */
struct nx_tensor *nx_op_swiglu(struct nx_tape *tape, struct nx_tensor *x);

/* x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016) */
struct nx_tensor *nx_op_gelu(struct nx_tape *tape, struct nx_tensor *x);
/* (x - mean) / sqrt(variance + 1e-5) * gain[1, d] + bias[1, d], by row (Ba et al. 2016) */
struct nx_tensor *nx_op_layer_norm(struct nx_tape *tape, struct nx_tensor *x,
                                   struct nx_tensor *gain, struct nx_tensor *bias);
/* x / |x|, by row: unit vectors for prototype contrast */
struct nx_tensor *nx_op_unit_norm(struct nx_tape *tape, struct nx_tensor *x);
/* Rows rows[n] of x, each as often as it is named: an embedding's look-up, or the visible
 * tokens of many. rows must outlive the step. */
struct nx_tensor *nx_op_gather(struct nx_tape *tape, struct nx_tensor *x, const uint32_t *rows,
                               size_t n);

/* y[r, :] = keep[r] ? x[r, :] : v[1, :]; keep must outlive the step. */
struct nx_tensor *nx_op_choose(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *v,
                               const uint8_t *keep);
/* e^x / sum e^x, by row */
struct nx_tensor *nx_op_softmax(struct nx_tape *tape, struct nx_tensor *x);
/* One expert's part of a mixture (Fedus et al. 2022): base[rows[i], :] += p[rows[i], column] *
 * x[i, :], p being the gate's softmax. rows must outlive the step. Takes base over. */
struct nx_tensor *nx_op_mixture(struct nx_tape *tape, struct nx_tensor *base, struct nx_tensor *x,
                                const uint32_t *rows, struct nx_tensor *p, size_t column);

/* p itself [R, E]; backward adds pull[E] to the gradient of each row, which is that of a loss
 * sum over rows of pull . p that no value has. So it can stand in a part of a pass that is computed
 * twice. pull must outlive the step. */
struct nx_tensor *nx_op_balance(struct nx_tape *tape, struct nx_tensor *p, const nx_real *pull);

/* Zeroes with probability drop, divides the rest by 1 - drop; x itself without an rng. */
struct nx_tensor *nx_op_dropout(struct nx_tape *tape, struct nx_tensor *x, double drop);
/* x + dropout(f) */
struct nx_tensor *nx_op_residual(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *f,
                                 double drop);

/* Rotary positions (Su et al. 2021) by tables cosines, sines [positions, head_width / 2],
 * which must outlive the step: the first `heads` heads of each row are rotated, (a, b) being
 * the halves of a head. Row r has position r % positions. Takes x over. */
struct nx_tensor *nx_op_rope(struct nx_tape *tape, struct nx_tensor *x, size_t heads,
                             size_t head_width, size_t positions, const nx_real *cosines,
                             const nx_real *sines);

/* qkv[batch * n, 3 d] → [batch * n, d]: every row attends over the n rows of its set, in
 * `heads` heads (Vaswani et al. 2017). limits[n]: how many keys of its set, from the first on,
 * a query sees (1 .. n; block-causal attention), or NULL for all; must outlive the step. */
struct nx_tensor *nx_op_self_attention(struct nx_tape *tape, struct nx_tensor *qkv, size_t batch,
                                       size_t heads, const uint32_t *limits);
/* q[batch * nq, d], k and v[batch * nk, d] → [batch * nq, d]; limits[nq] or NULL */
struct nx_tensor *nx_op_cross_attention(struct nx_tape *tape, struct nx_tensor *q,
                                        struct nx_tensor *k, struct nx_tensor *v, size_t batch,
                                        size_t heads, const uint32_t *limits);

/* Unifier: learned queries attend over the channels of each patch. Keys and values are linear
 * in h and the queries are few and constant, so keys are folded into the queries and values
 * are taken after pooling: the same numbers for a fraction of the work.
 *
 *   fold:   queries[Q, d], W_key[d, d] → [Q * H, d]: query q of head h, seen from h's side
 *   unify:  h[W * C * S, d] → [W * S * Q, H * d]: h pooled over the visible channels
 *   values: x[R, H * d], W_value[d, d] → [R, d]: head h's part of W_value on its pool */
struct nx_tensor *nx_op_fold(struct nx_tape *tape, struct nx_tensor *queries, struct nx_tensor *key,
                             size_t heads);
/* visible[W, C, S]: 1 where a token may be seen; NULL for all; must outlive the step. */
struct nx_tensor *nx_op_unify(struct nx_tape *tape, struct nx_tensor *h, struct nx_tensor *folded,
                              const uint8_t *visible, size_t windows, size_t channels,
                              size_t patches, size_t heads);
struct nx_tensor *nx_op_values(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *value,
                               size_t heads);

/* Attention pool: x[sets * n, d], h[1, d] → softmax(x h / sqrt(d)) weighted mean [sets, d]. */
struct nx_tensor *nx_op_pool(struct nx_tape *tape, struct nx_tensor *x, struct nx_tensor *h,
                             size_t n);

/* Mean binary cross-entropy with logits [R, 1] against targets[R] in 0..1 → [1, 1]. */
struct nx_tensor *nx_op_cross_entropy(struct nx_tape *tape, struct nx_tensor *logits,
                                      const nx_real *targets);
/* scale * sum over the rows with skip[r] == 0 of (x - target)^2 → [1, 1]. No gradient flows
 * into target. */
struct nx_tensor *nx_op_square_error(struct nx_tape *tape, struct nx_tensor *x,
                                     const struct nx_tensor *target, const uint8_t *skip,
                                     nx_real scale);

/* Mean of -log softmax(logits[R, classes])[labels[r]] → [1, 1] */
struct nx_tensor *nx_op_class_entropy(struct nx_tape *tape, struct nx_tensor *logits,
                                      const uint32_t *labels);
/* Negative Poisson log likelihood of counts at rates e^x, without its constant:
 * scale * sum over the rows with skip[r] == 0 of e^x - count x → [1, 1] */
struct nx_tensor *nx_op_poisson(struct nx_tape *tape, struct nx_tensor *x,
                                const struct nx_tensor *counts, const uint8_t *skip, nx_real scale);
/* scale * sum over the rows with skip[r] == 0 of r^T M r, r = x - target, M[n, n] symmetric
 * (frequency-weighted reconstruction: M = I + F^T D F) → [1, 1]. x alone gets a gradient. */
struct nx_tensor *nx_op_quadratic(struct nx_tape *tape, struct nx_tensor *x,
                                  const struct nx_tensor *target, const struct nx_tensor *m,
                                  const uint8_t *skip, nx_real scale);

/* Network inputs, without gradients: [patch, (spectrum - mean) / sd], [R, n + f]. n or f may
 * be 0. */
struct nx_tensor *nx_op_standardise(struct nx_tape *tape, size_t rows, size_t n, const float *patch,
                                    size_t f, const float *spectrum, const float *mean,
                                    const float *sd);
/* sin then cos of x[R, k] times each of n_frequencies: [R, k * 2 * n_frequencies]. */
struct nx_tensor *nx_op_fourier(struct nx_tape *tape, size_t rows, size_t k, const float *x,
                                size_t n_frequencies, const double *frequencies);
/* A tensor of zeros without a gradient. */
struct nx_tensor *nx_op_zeros(struct nx_tape *tape, size_t rows, size_t columns);
