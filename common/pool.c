#include "common/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct worker {
  struct nx_pool *pool;
  size_t number;
  pthread_t thread;
};

struct nx_pool {
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  size_t n_threads;
  uint64_t generation; /* one per nx_pool_run() */
  size_t busy;         /* workers still in this generation */
  bool stop;
  void (*task)(void *, size_t, size_t);
  void *context;
  size_t n_tasks;
  _Atomic size_t next;
  struct worker workers[]; /* n_threads - 1: the caller is worker 0 */
};

static void take_tasks(struct nx_pool *pool, size_t worker) {
  for (size_t i;
       (i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < pool->n_tasks;)
    pool->task(pool->context, i, worker);
}

static void *work(void *argument) {
  struct worker *worker = argument;
  struct nx_pool *pool = worker->pool;
  uint64_t seen = 0;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    while (!pool->stop && pool->generation == seen)
      pthread_cond_wait(&pool->work, &pool->lock);
    if (pool->stop)
      break;
    seen = pool->generation;
    pthread_mutex_unlock(&pool->lock);
    take_tasks(pool, worker->number);
    pthread_mutex_lock(&pool->lock);
    if (!--pool->busy)
      pthread_cond_signal(&pool->done);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

int nx_pool_create(size_t n_threads, struct nx_pool **pool_out, struct nx_error *err) {
  if (n_threads < 1 || n_threads > 1024)
    return nx_fail(err, NX_E_INVALID, "%zu worker threads: use 1 to 1024", n_threads);
  struct nx_pool *pool = calloc(1, sizeof *pool + (n_threads - 1) * sizeof(struct worker));
  if (!pool)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a worker pool");
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->work, NULL);
  pthread_cond_init(&pool->done, NULL);
  for (pool->n_threads = 1; pool->n_threads < n_threads; pool->n_threads++) {
    struct worker *worker = &pool->workers[pool->n_threads - 1];
    *worker = (struct worker){.pool = pool, .number = pool->n_threads};
    int e = pthread_create(&worker->thread, NULL, work, worker);
    if (e) {
      nx_pool_destroy(pool);
      return nx_fail_errno(err, e, "start worker thread");
    }
  }
  *pool_out = pool;
  return 0;
}

size_t nx_pool_threads(const struct nx_pool *pool) {
  return pool->n_threads;
}

void nx_pool_run(struct nx_pool *pool, size_t n_tasks,
                 void (*task)(void *context, size_t index, size_t worker), void *context) {
  pthread_mutex_lock(&pool->lock);
  pool->task = task;
  pool->context = context;
  pool->n_tasks = n_tasks;
  atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
  pool->busy = pool->n_threads - 1;
  pool->generation++;
  if (pool->busy)
    pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  take_tasks(pool, 0);
  pthread_mutex_lock(&pool->lock);
  while (pool->busy)
    pthread_cond_wait(&pool->done, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

void nx_pool_destroy(struct nx_pool *pool) {
  if (!pool)
    return;
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  for (size_t i = 0; i + 1 < pool->n_threads; i++)
    pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}
