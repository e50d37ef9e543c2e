#include "node/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/clock.h"

#define JOBS_MAX 64

struct nx_worker {
  struct nx_mailbox *jobs;
  pthread_t thread;
  atomic_bool stopping;
  void (*done)(void *context, struct nx_job *job);
  void *context;
};

static void destroy_job(void *message) {
  struct nx_job *job = message;
  job->destroy(job);
}

static void *work(void *context) {
  struct nx_worker *worker = context;
  struct nx_job *job;
  while ((job = nx_mailbox_wait(worker->jobs, NX_NEVER))) {
    if (atomic_load(&worker->stopping)) {
      job->destroy(job);
      continue;
    }
    job->run(job);
    worker->done(worker->context, job);
  }
  return NULL;
}

int nx_worker_create(void (*done)(void *context, struct nx_job *job), void *context,
                     struct nx_worker **worker_out, struct nx_error *err) {
  struct nx_worker *worker = calloc(1, sizeof *worker);
  if (!worker)
    return nx_fail(err, NX_E_NOMEM, "worker: out of memory");
  worker->done = done;
  worker->context = context;
  int r = nx_mailbox_create(JOBS_MAX, destroy_job, &worker->jobs, err);
  if (r < 0) {
    free(worker);
    return r;
  }
  int e = pthread_create(&worker->thread, NULL, work, worker);
  if (e) {
    nx_mailbox_destroy(worker->jobs);
    free(worker);
    return nx_fail_errno(err, e, "start the worker thread");
  }
  *worker_out = worker;
  return 0;
}

int nx_worker_post(struct nx_worker *worker, struct nx_job *job, struct nx_error *err) {
  int r = nx_mailbox_post(worker->jobs, job);
  if (r == 0)
    return 0;
  job->destroy(job);
  return nx_fail(err, r, "worker: too many jobs wait");
}

void nx_worker_destroy(struct nx_worker *worker) {
  if (!worker)
    return;
  atomic_store(&worker->stopping, true);
  nx_mailbox_close(worker->jobs);
  pthread_join(worker->thread, NULL);
  nx_mailbox_destroy(worker->jobs);
  free(worker);
}
