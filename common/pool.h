/* Pool: a parallel for-loop over a fixed set of worker threads. */
#pragma once

#include <stddef.h>

#include "common/cleanup.h"
#include "common/error.h"

struct nx_pool;

/* n_threads >= 1 workers in all, the calling thread among them: 1 starts no thread. */
int nx_pool_create(size_t n_threads, struct nx_pool **pool_out, struct nx_error *err);
size_t nx_pool_threads(const struct nx_pool *pool);
/* Calls task(context, i, worker) once for each i in 0..n_tasks-1, worker in
 * 0..threads-1, and returns when all are done. One caller at a time. */
void nx_pool_run(struct nx_pool *pool, size_t n_tasks,
                 void (*task)(void *context, size_t index, size_t worker), void *context);
void nx_pool_destroy(struct nx_pool *pool);
NX_DEFINE_CLEANUP(struct nx_pool *, nx_pool_destroy)
