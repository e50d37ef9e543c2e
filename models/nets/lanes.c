#include "models/nets/lanes.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

static float *new_gradients(size_t n) {
  return aligned_alloc(64, (n * sizeof(float) + 63) & ~(size_t)63);
}

static void lane_finish(const struct nx_lanes *lanes, struct nx_lane *lane) {
  if (lane->net)
    lanes->net.destroy(lane->net);
  nx_tape_finish(&lane->tape);
  free(lane->gradients);
}

static int lane_init(const struct nx_lanes *lanes, struct nx_lane *lane,
                     const struct nx_backend *backend, struct nx_error *err) {
  int r = nx_tape_init(&lane->tape, backend, err);
  if (!r)
    r = lane->tape.kernels->set_precision(lane->tape.stream, lanes->precision, err);
  if (!r)
    r = lanes->net.make(lanes->net.context, &lane->net, err);
  return r;
}

static int make_lanes(struct nx_lanes *lanes, size_t n, struct nx_error *err) {
  struct nx_lane *larger = realloc(lanes->lanes, n * sizeof *larger);
  if (!larger)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a network of %zu threads", n);
  lanes->lanes = larger;
  for (; lanes->n < n; lanes->n++) {
    struct nx_lane *lane = &larger[lanes->n];
    *lane = (struct nx_lane){0};
    int r = lane_init(lanes, lane, nx_backend_cpu(), err);
    if (r < 0) {
      lane_finish(lanes, lane);
      return r;
    }
  }
  return 0;
}

int nx_lanes_init(struct nx_lanes *lanes, const struct nx_lane_net *net, size_t n_params,
                  struct nx_error *err) {
  *lanes = (struct nx_lanes){.net = *net, .n_params = n_params};
  lanes->gradients = new_gradients(n_params);
  if (!lanes->gradients)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the gradients of %zu parameters", n_params);
  memset(lanes->gradients, 0, n_params * sizeof(float));
  return make_lanes(lanes, 1, err);
}

void nx_lanes_finish(struct nx_lanes *lanes) {
  for (size_t i = 0; i < lanes->n; i++)
    lane_finish(lanes, &lanes->lanes[i]);
  free(lanes->lanes);
  free(lanes->gradients);
  *lanes = (struct nx_lanes){0};
  malloc_trim(0); /* activations are large: an idle node gives them back to its host */
}

int nx_lanes_use_pool(struct nx_lanes *lanes, struct nx_pool *pool, struct nx_error *err) {
  int r = make_lanes(lanes, NX_MAX(lanes->n, pool ? nx_pool_threads(pool) : 1), err);
  if (!r)
    lanes->pool = pool;
  return r;
}

int nx_lanes_use_bf16(struct nx_lanes *lanes, struct nx_error *err) {
  for (size_t i = 0; i < lanes->n; i++) {
    struct nx_tape *tape = &lanes->lanes[i].tape;
    int r = tape->kernels->set_precision(tape->stream, NX_PRECISION_BF16, err);
    if (r < 0)
      return r;
  }
  lanes->precision = NX_PRECISION_BF16;
  return 0;
}

size_t nx_lanes_memory(const struct nx_lanes *lanes) {
  size_t total = lanes->n_params * sizeof(float);
  for (size_t i = 0; i < lanes->n; i++)
    total +=
        lanes->lanes[i].peak + (lanes->lanes[i].gradients ? lanes->n_params * sizeof(float) : 0);
  return total;
}

size_t nx_lanes_peak(const struct nx_lanes *lanes) {
  size_t most = 0;
  for (size_t i = 0; i < lanes->n; i++)
    most = NX_MAX(most, lanes->lanes[i].peak);
  return most;
}

/* ---- Slices ---- */

struct run {
  struct nx_lanes *lanes;
  const struct nx_slices *slices;
  pthread_mutex_t lock;
  pthread_cond_t turn;
  size_t finished; /* slices whose results are in */
  double loss;
  int code; /* of the first slice that failed */
  struct nx_error err;
};

/* Where slice `index` adds its gradients. The first has the result to itself until it is
 * finished; later ones fill their lane's and add that when it is their turn. */
static float *gradients_for(const struct nx_lanes *lanes, struct nx_lane *lane, size_t index) {
  if (index == 0)
    return lanes->gradients;
  if (!lane->gradients)
    lane->gradients = new_gradients(lanes->n_params);
  return lane->gradients ? memset(lane->gradients, 0, lanes->n_params * sizeof(float)) : NULL;
}

static void wait_for_turn(struct run *run, size_t index) {
  pthread_mutex_lock(&run->lock);
  while (run->finished != index)
    pthread_cond_wait(&run->turn, &run->lock);
  pthread_mutex_unlock(&run->lock);
}

static void end_turn(struct run *run) {
  pthread_mutex_lock(&run->lock);
  run->finished++;
  pthread_cond_broadcast(&run->turn);
  pthread_mutex_unlock(&run->lock);
}

static void slice_task(void *context, size_t index, size_t worker) {
  struct run *run = context;
  const struct nx_slices *slices = run->slices;
  struct nx_lane *lane = &run->lanes->lanes[worker];
  float *gradients = slices->train ? gradients_for(run->lanes, lane, index) : NULL;
  struct nx_error err = {0};
  double loss = 0;
  int r = slices->train && !gradients
              ? nx_fail(&err, NX_E_NOMEM, "out of memory for gradients")
              : slices->run(slices->context, lane, index, gradients, &loss, &err);
  lane->peak = NX_MAX(lane->peak, nx_arena_peak(lane->tape.arena));
  wait_for_turn(run, index);
  if (r < 0 && !run->code) {
    run->code = r;
    run->err = err;
  }
  if (slices->train && index && !run->code)
    lane->tape.kernels->add(lane->tape.stream, run->lanes->n_params, gradients,
                            run->lanes->gradients);
  run->loss += loss;
  end_turn(run);
}

int nx_lanes_run(struct nx_lanes *lanes, const struct nx_slices *slices, double *loss_out,
                 struct nx_error *err) {
  struct run run = {.lanes = lanes, .slices = slices};
  if (slices->train)
    memset(lanes->gradients, 0, lanes->n_params * sizeof(float));
  pthread_mutex_init(&run.lock, NULL);
  pthread_cond_init(&run.turn, NULL);
  if (lanes->pool)
    nx_pool_run(lanes->pool, slices->n, slice_task, &run);
  else
    for (size_t i = 0; i < slices->n && !run.code; i++)
      slice_task(&run, i, 0);
  pthread_cond_destroy(&run.turn);
  pthread_mutex_destroy(&run.lock);
  if (run.code && err)
    *err = run.err;
  if (loss_out)
    *loss_out = run.loss;
  return run.code;
}

int nx_lanes_measure(const struct nx_lane_net *net, size_t n_params, const struct nx_slices *slices,
                     size_t *bytes_out, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *space = NULL;
  const struct nx_lanes lanes = {.net = *net};
  struct nx_lane lane = {0};
  double loss;
  int r = nx_arena_create_hollow(&space, err);
  float *gradients = r ? NULL : nx_arena_take(space, n_params, sizeof *gradients);
  if (!r && !gradients)
    r = nx_fail(err, NX_E_LIMIT, "no address space for %zu gradients", n_params);
  if (!r)
    r = lane_init(&lanes, &lane, nx_backend_hollow(), err);
  if (!r)
    r = slices->run(slices->context, &lane, 0, gradients, &loss, err);
  if (!r)
    *bytes_out = nx_arena_peak(lane.tape.arena);
  lane_finish(&lanes, &lane);
  return r;
}
