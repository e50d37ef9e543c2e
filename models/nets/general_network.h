/* General network: forward pass, loss and gradients of one model of network: general, for
 * batches that may hold several recordings, each with channels of its own. Like
 * nets/network.h: it holds working memory, belongs to one thread, allocates on the first call
 * of a batch size, and gives the same bits for any number of threads. */
#pragma once

#include "common/pool.h"
#include "models/nets/general.h"
#include "models/nets/network.h"

struct nx_general_network;

int nx_general_network_create(const struct nx_model *model, struct nx_general_network **network_out,
                              struct nx_error *err);
void nx_general_network_destroy(struct nx_general_network *network); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_general_network *, nx_general_network_destroy)

/* As nx_network_use_pool(), nx_network_use_bf16(), nx_network_use_checkpoints(). */
int nx_general_network_use_pool(struct nx_general_network *network, struct nx_pool *pool,
                                struct nx_error *err);
int nx_general_network_use_bf16(struct nx_general_network *network, struct nx_error *err);
void nx_general_network_use_checkpoints(struct nx_general_network *network, bool on);

/* Forward, with masks and dropout from rng, and backward over groups[n]: the gradients of the
 * mean loss are in nx_general_network_gradients() until the next call. The loss is the mean
 * over what is asked for in each group, groups weighing as many as they have windows; for
 * classification cross-entropy, labels smoothed by label_smoothing; for regression the mean square
 * of standardised errors over patches whose targets are all known. Of a model with prototypes
 * weight times the mean over windows that have one is added to what hidden and next patches cost.
 * NX_E_INVALID: an input that does not fit the model; NX_E_STATE: the loss is not finite. */
int nx_general_network_train_step(struct nx_general_network *network, const struct nx_model *model,
                                  const struct nx_general_input *groups, size_t n,
                                  double label_smoothing, struct nx_rng *rng, double *loss_out,
                                  struct nx_error *err);

/* [n_params] of the model; valid until destroy. */
float *nx_general_network_gradients(struct nx_general_network *network);

/* logits_out: of all windows of all groups, one after another. For classification. */
int nx_general_network_logits(struct nx_general_network *network, const struct nx_model *model,
                              const struct nx_general_input *groups, size_t n, float *logits_out,
                              struct nx_error *err);

/* values_out[windows of all groups][S][K], standardised. For regression. */
int nx_general_network_values(struct nx_general_network *network, const struct nx_model *model,
                              const struct nx_general_input *groups, size_t n, float *values_out,
                              struct nx_error *err);

/* embeddings_out[windows of all groups][width]: nx_general_embed(). */
int nx_general_network_embed(struct nx_general_network *network, const struct nx_model *model,
                             const struct nx_general_input *groups, size_t n, float *embeddings_out,
                             struct nx_error *err);

/* directions_out[windows of all groups][NX_PROTOTYPE_WIDTH]: nx_general_direction(), of all that is
 * there to see. For a model with prototypes. */
int nx_general_network_directions(struct nx_general_network *network, const struct nx_model *model,
                                  const struct nx_general_input *groups, size_t n,
                                  float *directions_out, struct nx_error *err);

/* Adds to loads[blocks with experts][E] how many rows of the latent each expert takes. */
int nx_general_network_loads(struct nx_general_network *network, const struct nx_model *model,
                             const struct nx_general_input *groups, size_t n, uint64_t *loads,
                             struct nx_error *err);

/* The mean loss without gradients or dropout: masked, next patch or regression, and
 * never of prototypes. Each answer of a masked or
 * next-patch model is shown to `answer` (NULL: nobody): n samples, or log counts. Answers come
 * group by group, window by window. */
typedef void nx_general_answer_fn(void *context, size_t group, size_t window, uint32_t token,
                                  const float *prediction, const float *target, size_t n);
int nx_general_network_evaluate(struct nx_general_network *network, const struct nx_model *model,
                                const struct nx_general_input *groups, size_t n, struct nx_rng *rng,
                                nx_general_answer_fn *answer, void *context, double *loss_out,
                                struct nx_error *err);

/* nx_network_measure() of one group, of which the sizes and the tokeniser, modality, species and
 * reference count; its pointers may be NULL. */
int nx_general_network_measure(const struct nx_model *model, const struct nx_general_input *group,
                               bool checkpoints, struct nx_slice_memory *memory_out,
                               struct nx_error *err);

/* The most bytes that a slice took on a thread so far, beside gradients. */
size_t nx_general_network_activations(const struct nx_general_network *network);

/* Bytes of working memory held. */
size_t nx_general_network_memory(const struct nx_general_network *network);
