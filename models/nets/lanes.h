/* Lanes: the working memory of a network's threads. A batch is cut into slices, each a forward
 * pass, or a step with gradients, on one thread's tape; slices are what threads share out.
 * Gradients and losses are added slice by slice in order, so that the bits are the same for
 * any number of threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/pool.h"
#include "models/tensor/tape.h"

/* What one thread works with. */
struct nx_lane {
  struct nx_tape tape;
  void *net;
  float *gradients; /* of a slice that is not the first; made when first needed */
  size_t peak;      /* bytes that the largest slice so far took, beside gradients */
};

/* The network's own part of a lane: nx_nano, nx_general. */
struct nx_lane_net {
  int (*make)(const void *context, void **net_out, struct nx_error *err);
  void (*destroy)(void *net);
  const void *context;
};

struct nx_lanes {
  struct nx_lane_net net;
  size_t n_params;
  float *gradients;     /* [n_params], aligned to 64 bytes */
  struct nx_pool *pool; /* NULL: the calling thread alone */
  enum nx_precision precision;
  size_t n;
  struct nx_lane *lanes;
};

int nx_lanes_init(struct nx_lanes *lanes, const struct nx_lane_net *net, size_t n_params,
                  struct nx_error *err);
void nx_lanes_finish(struct nx_lanes *lanes); /* zeroed is fine */
int nx_lanes_use_pool(struct nx_lanes *lanes, struct nx_pool *pool, struct nx_error *err);
int nx_lanes_use_bf16(struct nx_lanes *lanes, struct nx_error *err);
size_t nx_lanes_memory(const struct nx_lanes *lanes);
/* The most that a lane took for a slice so far. */
size_t nx_lanes_peak(const struct nx_lanes *lanes);

/* run: slice `index` on a lane; adds its gradients to gradients (NULL: forward only) and says
 * its part of the loss. */
struct nx_slices {
  size_t n;
  bool train;
  int (*run)(void *context, struct nx_lane *lane, size_t index, float *gradients, double *loss_out,
             struct nx_error *err);
  void *context;
};

/* Bytes that slice 0 takes on a lane, training, beside gradients: it runs over nothing
 * (backend/hollow.c). */
int nx_lanes_measure(const struct nx_lane_net *net, size_t n_params, const struct nx_slices *slices,
                     size_t *bytes_out, struct nx_error *err);

/* Runs all slices. With train, lanes->gradients holds the sum of their gradients. Returns the
 * error of the first slice that failed. */
int nx_lanes_run(struct nx_lanes *lanes, const struct nx_slices *slices, double *loss_out,
                 struct nx_error *err);
