#include "proto/rpc/rpc_worker.h"

#include <pthread.h>
#include <stdlib.h>

struct attached;

struct nx_rpc_worker {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct attached *first, **last; /* those with something to tell */
  bool stopping;
};

/* What has happened on a call and is not yet told. */
struct attached {
  struct nx_rpc_worker *worker;
  struct nx_rpc_handlers handlers;
  void *context;
  struct attached *next;
  bool queued;
  struct nx_rpc_call *call; /* referenced while queued */
  bool has_message, half_closed, writable, closed;
  struct nx_buffer message;
  enum nx_rpc_status status;
  char *text;
};

/* Lock held. */
static void enqueue(struct attached *a, struct nx_rpc_call *call) {
  if (a->queued)
    return;
  a->queued = true;
  a->call = nx_rpc_call_ref(call);
  a->next = NULL;
  *a->worker->last = a;
  a->worker->last = &a->next;
  pthread_cond_signal(&a->worker->changed);
}

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct attached *a = context;
  struct nx_buffer copy = {.cap = SIZE_MAX};
  bool failed = nx_buffer_append(&copy, message.data, message.size, NULL) < 0;
  pthread_mutex_lock(&a->worker->lock);
  nx_buffer_finish(&a->message); /* one is asked for at a time: there is none */
  a->message = copy;
  a->has_message = !failed;
  if (!failed)
    enqueue(a, call);
  pthread_mutex_unlock(&a->worker->lock);
  if (failed) {
    nx_buffer_finish(&copy);
    nx_rpc_call_cancel(call);
  }
}

static void on_half_closed(void *context, struct nx_rpc_call *call) {
  struct attached *a = context;
  pthread_mutex_lock(&a->worker->lock);
  a->half_closed = true;
  enqueue(a, call);
  pthread_mutex_unlock(&a->worker->lock);
}

static void on_writable(void *context, struct nx_rpc_call *call) {
  struct attached *a = context;
  pthread_mutex_lock(&a->worker->lock);
  a->writable = true;
  enqueue(a, call);
  pthread_mutex_unlock(&a->worker->lock);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct attached *a = context;
  pthread_mutex_lock(&a->worker->lock);
  a->closed = true;
  a->status = status;
  a->text = strdup(text);
  enqueue(a, call);
  pthread_mutex_unlock(&a->worker->lock);
}

/* Lock held on entry and exit, not in between. Frees `a` once the call is closed. */
static void tell(struct nx_rpc_worker *worker, struct attached *a) {
  struct attached now = *a; /* what to tell; the rest of `now` is not used */
  a->queued = false;
  a->has_message = a->half_closed = a->writable = false;
  a->message = (struct nx_buffer){0};
  pthread_mutex_unlock(&worker->lock);
  if (now.has_message && a->handlers.on_message)
    a->handlers.on_message(a->context, now.call, nx_buffer_view(&now.message));
  nx_buffer_finish(&now.message);
  if (now.half_closed && a->handlers.on_half_closed)
    a->handlers.on_half_closed(a->context, now.call);
  if (now.writable && !now.closed && a->handlers.on_writable)
    a->handlers.on_writable(a->context, now.call);
  if (now.closed) {
    if (a->handlers.on_closed)
      a->handlers.on_closed(a->context, now.call, now.status, now.text ? now.text : "");
    nx_rpc_worker_detach(a);
  }
  nx_rpc_call_unref(now.call);
  pthread_mutex_lock(&worker->lock);
}

static void *run(void *context) {
  struct nx_rpc_worker *worker = context;
  pthread_mutex_lock(&worker->lock);
  while (worker->first || !worker->stopping) {
    struct attached *a = worker->first;
    if (!a) {
      pthread_cond_wait(&worker->changed, &worker->lock);
      continue;
    }
    worker->first = a->next;
    if (!worker->first)
      worker->last = &worker->first;
    tell(worker, a);
  }
  pthread_mutex_unlock(&worker->lock);
  return NULL;
}

int nx_rpc_worker_create(struct nx_rpc_worker **worker_out, struct nx_error *err) {
  struct nx_rpc_worker *worker = calloc(1, sizeof *worker);
  if (!worker)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a worker");
  pthread_mutex_init(&worker->lock, NULL);
  pthread_cond_init(&worker->changed, NULL);
  worker->last = &worker->first;
  int e = pthread_create(&worker->thread, NULL, run, worker);
  if (e) {
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
    return nx_fail_errno(err, e, "start a worker's thread");
  }
  *worker_out = worker;
  return 0;
}

int nx_rpc_worker_attach(struct nx_rpc_worker *worker, const struct nx_rpc_handlers *handlers,
                         void *context, struct nx_rpc_handlers *handlers_out, void **context_out,
                         struct nx_error *err) {
  struct attached *a = calloc(1, sizeof *a);
  if (!a)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a call");
  a->worker = worker;
  a->handlers = *handlers;
  a->context = context;
  *handlers_out = (struct nx_rpc_handlers){on_message, on_half_closed, on_writable, on_closed};
  *context_out = a;
  return 0;
}

void nx_rpc_worker_detach(void *attached) {
  struct attached *a = attached;
  if (!a)
    return;
  nx_buffer_finish(&a->message);
  free(a->text);
  free(a);
}

void nx_rpc_worker_destroy(struct nx_rpc_worker *worker) {
  if (!worker)
    return;
  pthread_mutex_lock(&worker->lock);
  worker->stopping = true;
  pthread_cond_signal(&worker->changed);
  pthread_mutex_unlock(&worker->lock);
  pthread_join(worker->thread, NULL);
  pthread_cond_destroy(&worker->changed);
  pthread_mutex_destroy(&worker->lock);
  free(worker);
}
