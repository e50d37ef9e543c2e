/* What the files of the ring sum share. Private to coordinator/aggregate. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "coordinator/aggregate/ring_sum.h"

struct nx_ring_sum {
  atomic_uint references;       /* its owner's, and one of every stream */
  pthread_mutex_t lock;         /* of all below */
  struct nx_upload_spool spool; /* a copy */
  struct nx_pool *pool;
  uint32_t *lanes; /* [n_lanes], at the front of the map */
  uint64_t *aux;   /* [n_aux], behind them */
  void *map;
  size_t map_size;
  bool added[256];                     /* by member id: asked for, and in */
  bool whole[256];                     /* in since it came, not asked for yet */
  struct nx_ring_stream *streams[256]; /* coming in: its first tiles are in */
  bool settled;                        /* streams add nothing any more */
  bool spoilt; /* something could not be taken out: to be summed anew from the spool */
  bool opened;
};

/* Adds one tile, or takes it out. Lock held. */
void nx_ring_sum_tile(struct nx_ring_sum *sum, const struct nx_upload_tile *tile,
                      const uint8_t *bytes, bool out);
/* Pages of the accumulator in which these tiles are: let go, or wanted soon. */
void nx_ring_sum_let_go(struct nx_ring_sum *sum, size_t first_tile, size_t n);
void nx_ring_sum_expect(struct nx_ring_sum *sum, size_t first_tile, size_t n);
/* Takes out what the member's stream brought and has it add nothing more. Lock held. */
void nx_ring_stream_stop(struct nx_ring_sum *sum, uint32_t member);
void nx_ring_sum_unref(struct nx_ring_sum *sum);
