#include "node/session/transfer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/size.h"

#define QUEUE_HIGH ((size_t)1 << 20) /* bytes waiting to be sent before the sender waits */
#define MESSAGE_CAP ((size_t)16 << 20)
#define TICK (100 * NX_MILLISECOND) /* how often a wait asks whether to stop */

struct nx_transfer {
  struct nx_rpc_call *call;
  struct nx_stop stop;
  int64_t patience;
  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  struct nx_buffer message;
  bool has_message, out_of_memory, closed;
  enum nx_rpc_status status;
  char text[256];
};

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_transfer *stream = context;
  (void)call;
  pthread_mutex_lock(&stream->lock);
  stream->out_of_memory = nx_buffer_append(&stream->message, message.data, message.size, NULL) < 0;
  stream->has_message = true;
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->lock);
}

static void on_writable(void *context, struct nx_rpc_call *call) {
  struct nx_transfer *stream = context;
  (void)call;
  pthread_mutex_lock(&stream->lock);
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->lock);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct nx_transfer *stream = context;
  (void)call;
  pthread_mutex_lock(&stream->lock);
  stream->closed = true;
  stream->status = status;
  snprintf(stream->text, sizeof stream->text, "%s", text ? text : "");
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->lock);
}

static const struct nx_rpc_handlers handlers = {
    .on_message = on_message, .on_writable = on_writable, .on_closed = on_closed};

static struct nx_transfer *create(int64_t patience, const struct nx_stop *stop) {
  struct nx_transfer *stream = calloc(1, sizeof *stream);
  pthread_condattr_t attributes;
  if (!stream)
    return NULL;
  stream->patience = patience;
  stream->message.cap = MESSAGE_CAP;
  if (stop)
    stream->stop = *stop;
  pthread_mutex_init(&stream->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&stream->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  return stream;
}

static void destroy(struct nx_transfer *stream) {
  nx_buffer_finish(&stream->message);
  pthread_cond_destroy(&stream->changed);
  pthread_mutex_destroy(&stream->lock);
  free(stream);
}

int nx_transfer_open(struct nx_rpc_client *client, const char *path, int64_t patience,
                     const struct nx_stop *stop, struct nx_transfer **stream_out,
                     struct nx_error *err) {
  struct nx_transfer *stream = create(patience, stop);
  if (!stream)
    return nx_fail(err, NX_E_NOMEM, "%s: out of memory", path);
  int r = nx_rpc_client_open(client, path, &handlers, stream, NX_NEVER, &stream->call, err);
  if (r < 0) {
    destroy(stream);
    return r;
  }
  nx_rpc_call_receive(stream->call); /* one message ahead */
  *stream_out = stream;
  return 0;
}

/* lock is held. Waits for one change at most. */
static int wait_a_little(struct nx_transfer *stream, int64_t give_up, struct nx_error *err) {
  int64_t now = nx_clock_monotonic(), until = NX_MIN(give_up, now + TICK);
  if (stream->stop.asked && stream->stop.asked(stream->stop.context))
    return nx_fail(err, NX_E_CANCELLED, "stopped");
  if (now >= give_up)
    return nx_fail(err, NX_E_TIMEOUT, "the coordinator said nothing for %lld s",
                   (long long)(stream->patience / NX_SECOND));
  struct timespec at = {until / NX_SECOND, until % NX_SECOND};
  pthread_cond_timedwait(&stream->changed, &stream->lock, &at);
  return 0;
}

/* lock is held. What the closed call means for whoever waits. */
static int how_it_ended(struct nx_transfer *stream, struct nx_error *err) {
  if (stream->status == NX_RPC_OK)
    return NX_TRANSFER_END;
  if (stream->status == NX_RPC_RESOURCE_EXHAUSTED && strstr(stream->text, NX_RPC_TRY_LATER))
    return nx_fail(err, NX_E_PEER, "the coordinator is overloaded: %s", stream->text);
  return nx_fail(err, nx_rpc_status_code(stream->status), "%s",
                 stream->text[0] ? stream->text : "the connection was lost");
}

int nx_transfer_send(struct nx_transfer *stream, struct nx_buffer *message, struct nx_error *err) {
  int64_t give_up = nx_clock_monotonic() + stream->patience;
  size_t before = nx_rpc_call_queued(stream->call);
  int r = nx_rpc_call_send(stream->call, message, err);
  pthread_mutex_lock(&stream->lock);
  if (r < 0 && stream->closed)
    r = how_it_ended(stream, err);
  while (r == 0 && !stream->closed) {
    size_t queued = nx_rpc_call_queued(stream->call);
    if (queued < QUEUE_HIGH)
      break;
    if (queued < before)
      give_up = nx_clock_monotonic() + stream->patience;
    before = queued;
    r = wait_a_little(stream, give_up, err);
  }
  pthread_mutex_unlock(&stream->lock);
  return r;
}

void nx_transfer_end(struct nx_transfer *stream) {
  nx_rpc_call_finish(stream->call, NX_RPC_OK, NULL);
}

int nx_transfer_receive(struct nx_transfer *stream, struct nx_buffer *out, struct nx_error *err) {
  int64_t give_up = nx_clock_monotonic() + stream->patience;
  int r = 0;
  pthread_mutex_lock(&stream->lock);
  while (r == 0 && !stream->has_message && !stream->closed)
    r = wait_a_little(stream, give_up, err);
  if (r == 0 && stream->out_of_memory)
    r = nx_fail(err, NX_E_NOMEM, "out of memory for a message");
  else if (r == 0 && stream->has_message)
    r = nx_buffer_append(out, stream->message.data, stream->message.size, err);
  else if (r == 0)
    r = how_it_ended(stream, err);
  stream->message.size = 0;
  stream->has_message = false;
  pthread_mutex_unlock(&stream->lock);
  if (r == 0)
    nx_rpc_call_receive(stream->call);
  return r;
}

void nx_transfer_close(struct nx_transfer *stream) {
  if (!stream)
    return;
  nx_rpc_call_cancel(stream->call);
  pthread_mutex_lock(&stream->lock);
  while (!stream->closed)
    pthread_cond_wait(&stream->changed, &stream->lock);
  pthread_mutex_unlock(&stream->lock);
  nx_rpc_call_unref(stream->call);
  destroy(stream);
}
