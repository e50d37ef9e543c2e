/* Worker: one thread that does a node's slow things (training, masking, transfers) one after
 * another, so that its owner thread always answers. Jobs come back through the owner's
 * mailbox, in order. Exists only while there is something to do: an idle node has none. */
#pragma once

#include "common/mailbox.h"

struct nx_job {
  void (*run)(struct nx_job *job);     /* on the worker's thread */
  void (*destroy)(struct nx_job *job); /* frees it, done or not */
};

struct nx_worker;

/* done: gets every job that has run; called on the worker's thread; takes the job over. */
int nx_worker_create(void (*done)(void *context, struct nx_job *job), void *context,
                     struct nx_worker **worker_out, struct nx_error *err);
/* Takes the job over, also on failure. */
int nx_worker_post(struct nx_worker *worker, struct nx_job *job, struct nx_error *err);
/* Finishes the job that runs, destroys those that wait, joins. NULL is fine. */
void nx_worker_destroy(struct nx_worker *worker);
NX_DEFINE_CLEANUP(struct nx_worker *, nx_worker_destroy)
