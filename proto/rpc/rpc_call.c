#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/size.h"
#include "proto/rpc/rpc_internal.h"

#define CALL_OF(operation_pointer, member)                                                         \
  ((struct nx_rpc_call *)(void *)((char *)(operation_pointer)-offsetof(struct nx_rpc_call, member)))

static void pump(struct nx_rpc_call *call);

grpc_slice nx_rpc_slice_of_text(const char *text) {
  return grpc_slice_from_copied_string(text ? text : "");
}

gpr_timespec nx_rpc_deadline(int64_t monotonic) {
  if (monotonic == NX_NEVER)
    return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  int64_t rest = monotonic - nx_clock_monotonic();
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(rest > 0 ? rest : 0, GPR_TIMESPAN));
}

struct nx_rpc_call *nx_rpc_call_ref(struct nx_rpc_call *call) {
  atomic_fetch_add(&call->references, 1);
  return call;
}

static void count_held(struct nx_rpc_call *call, size_t cost, bool more) {
  call->held = more ? call->held + cost : call->held - cost;
  if (call->crowd && more)
    atomic_fetch_add(&call->crowd->held, cost);
  else if (call->crowd)
    atomic_fetch_sub(&call->crowd->held, cost);
}

/* Lock held, or nobody else's: the first message, sent or dropped. */
static void drop_first(struct nx_rpc_call *call) {
  struct nx_rpc_queued *done = call->first;
  call->first = done->next;
  if (!call->first)
    call->last = &call->first;
  call->queued -= done->size;
  count_held(call, done->cost, false);
  grpc_byte_buffer_destroy(done->bytes);
  free(done);
}

static void drop_queue(struct nx_rpc_call *call) {
  while (call->first)
    drop_first(call);
}

void nx_rpc_call_unref(struct nx_rpc_call *call) {
  if (!call || atomic_fetch_sub(&call->references, 1) != 1)
    return;
  drop_queue(call);
  if (call->incoming)
    grpc_byte_buffer_destroy(call->incoming);
  grpc_metadata_array_destroy(&call->initial_metadata);
  grpc_metadata_array_destroy(&call->trailing_metadata);
  grpc_slice_unref(call->status_text);
  grpc_call_unref(call->call);
  pthread_mutex_destroy(&call->lock);
  free(call->finish_text);
  free(call);
}

/* Starts one batch with the lock held. False: the call is over or gRPC refuses. */
static bool start(struct nx_rpc_call *call, const grpc_op *ops, size_t n,
                  struct nx_rpc_operation *operation) {
  if (call->over)
    return false;
  nx_rpc_call_ref(call);
  call->pending++;
  if (grpc_call_start_batch(call->call, ops, n, operation, NULL) == GRPC_CALL_OK)
    return true;
  call->pending--;
  atomic_fetch_sub(&call->references, 1);
  return false;
}

/* Lock held. Once nothing is pending and the call is over, on_closed runs: then true. */
static bool settle(struct nx_rpc_call *call) {
  if (!call->over || call->pending || call->closed)
    return false;
  return call->closed = true;
}

/* A client that lost the server, or never had it, is told in words how that looks. */
static void status_words(const struct nx_rpc_call *call, char *out, size_t size) {
  char *text = grpc_slice_to_c_string(call->status_text);
  if (call->status == GRPC_STATUS_UNAVAILABLE || call->status == GRPC_STATUS_DEADLINE_EXCEEDED)
    nx_rpc_describe(call->target, call->proxy, text, out, size);
  else
    snprintf(out, size, "%s", text);
  gpr_free(text);
}

static void tell_closed(struct nx_rpc_call *call) {
  char text[NX_ERROR_TEXT_SIZE] = "";
  enum nx_rpc_status status = call->cancelled ? NX_RPC_CANCELLED : NX_RPC_OK;
  if (!call->is_server) {
    status = (enum nx_rpc_status)call->status;
    status_words(call, text, sizeof text);
  }
  if (call->handlers.on_closed)
    call->handlers.on_closed(call->context, call, status, text);
  if (call->on_gone)
    call->on_gone(call->owner, call);
  nx_rpc_call_unref(call);
}

/* Every completion ends here: one operation less; perhaps it was the last. */
static void complete(struct nx_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  call->pending--;
  bool closed = settle(call);
  pthread_mutex_unlock(&call->lock);
  if (closed)
    tell_closed(call);
  nx_rpc_call_unref(call);
}

static void on_opened(struct nx_rpc_operation *operation, bool success) {
  (void)success;
  complete(CALL_OF(operation, opened));
}

/* Client: the status has come; it is the last thing a server says. Server: the client
 * knows the status, or it went away. */
static void on_ended(struct nx_rpc_operation *operation, bool success) {
  struct nx_rpc_call *call = CALL_OF(operation, ended);
  (void)success;
  pthread_mutex_lock(&call->lock);
  call->over = true;
  drop_queue(call);
  pthread_mutex_unlock(&call->lock);
  complete(call);
}

static void deliver(struct nx_rpc_call *call, grpc_byte_buffer *bytes) {
  if (call->handlers.on_taken) {
    call->handlers.on_taken(call->context, call, nx_rpc_message_wrap(bytes));
    return;
  }
  grpc_byte_buffer_reader reader;
  grpc_slice first, second, whole;
  if (!grpc_byte_buffer_reader_init(&reader, bytes)) {
    grpc_byte_buffer_destroy(bytes);
    return;
  }
  bool some = grpc_byte_buffer_reader_next(&reader, &first) != 0;
  bool more = some && grpc_byte_buffer_reader_next(&reader, &second) != 0;
  if (more) { /* more than one slice: join them */
    grpc_slice_unref(first);
    grpc_slice_unref(second);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_reader_init(&reader, bytes);
    whole = grpc_byte_buffer_reader_readall(&reader);
  } else {
    whole = some ? first : grpc_empty_slice();
  }
  if (call->handlers.on_message)
    call->handlers.on_message(call->context, call,
                              nx_bytes(GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole)));
  grpc_slice_unref(whole);
  grpc_byte_buffer_reader_destroy(&reader);
  grpc_byte_buffer_destroy(bytes);
}

static void on_received(struct nx_rpc_operation *operation, bool success) {
  struct nx_rpc_call *call = CALL_OF(operation, received);
  pthread_mutex_lock(&call->lock);
  grpc_byte_buffer *bytes = call->incoming;
  call->incoming = NULL;
  call->receiving = false;
  bool half_closed = success && !bytes && !call->half_closed;
  call->half_closed |= !bytes;
  pthread_mutex_unlock(&call->lock);
  if (bytes) {
    deliver(call, bytes);
  } else if (half_closed && call->is_server && call->handlers.on_half_closed) {
    call->handlers.on_half_closed(call->context, call);
  }
  complete(call);
}

static void on_sent(struct nx_rpc_operation *operation, bool success) {
  struct nx_rpc_call *call = CALL_OF(operation, sent);
  pthread_mutex_lock(&call->lock);
  if (call->first) /* the queue is dropped when the call is over */
    drop_first(call);
  call->sending = false;
  pump(call);
  bool writable = success && call->queued <= NX_RPC_LOW_WATER && !call->over && !call->finishing;
  pthread_mutex_unlock(&call->lock);
  if (writable && call->handlers.on_writable)
    call->handlers.on_writable(call->context, call);
  complete(call);
}

static void on_finished(struct nx_rpc_operation *operation, bool success) {
  (void)success;
  complete(CALL_OF(operation, finished));
}

struct nx_rpc_call *nx_rpc_call_wrap(grpc_call *grpc, bool is_server, size_t queue_cap) {
  struct nx_rpc_call *call = calloc(1, sizeof *call);
  if (!call)
    return NULL;
  atomic_init(&call->references, 1);
  pthread_mutex_init(&call->lock, NULL);
  call->call = grpc;
  call->is_server = is_server;
  call->queue_cap = queue_cap ? queue_cap : NX_RPC_QUEUE_CAP;
  call->last = &call->first;
  call->opened.on_done = on_opened;
  call->received.on_done = on_received;
  call->sent.on_done = on_sent;
  call->finished.on_done = on_finished;
  call->ended.on_done = on_ended;
  call->status_text = grpc_empty_slice();
  grpc_metadata_array_init(&call->initial_metadata);
  grpc_metadata_array_init(&call->trailing_metadata);
  return call;
}

static void start_client(struct nx_rpc_call *call) {
  grpc_op open[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                     {.op = GRPC_OP_RECV_INITIAL_METADATA,
                      .data.recv_initial_metadata.recv_initial_metadata = &call->initial_metadata}};
  grpc_op end = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                 .data.recv_status_on_client = {.trailing_metadata = &call->trailing_metadata,
                                                .status = &call->status,
                                                .status_details = &call->status_text}};
  start(call, &end, 1, &call->ended);
  start(call, open, 2, &call->opened);
}

static void start_server(struct nx_rpc_call *call) {
  grpc_op open = {.op = GRPC_OP_SEND_INITIAL_METADATA};
  grpc_op end = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                 .data.recv_close_on_server.cancelled = &call->cancelled};
  start(call, &end, 1, &call->ended);
  start(call, &open, 1, &call->opened);
}

void nx_rpc_call_start(struct nx_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  if (call->is_server)
    start_server(call);
  else
    start_client(call);
  pthread_mutex_unlock(&call->lock);
}

void nx_rpc_call_receive(struct nx_rpc_call *call) {
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->incoming};
  pthread_mutex_lock(&call->lock);
  if (!call->receiving && !call->half_closed)
    call->receiving = start(call, &op, 1, &call->received);
  pthread_mutex_unlock(&call->lock);
}

static void send_finish(struct nx_rpc_call *call) {
  grpc_slice text = nx_rpc_slice_of_text(call->finish_text);
  grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
  if (call->is_server)
    op = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                   .data.send_status_from_server = {.status = (grpc_status_code)call->finish_status,
                                                    .status_details = &text}};
  call->finish_sent = true;
  start(call, &op, 1, &call->finished);
  grpc_slice_unref(text);
}

/* Lock held: sends what is next, when nothing is in flight. */
static void pump(struct nx_rpc_call *call) {
  if (call->sending)
    return;
  if (call->first) {
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->first->bytes};
    call->sending = start(call, &op, 1, &call->sent);
  } else if (call->finishing && !call->finish_sent) {
    send_finish(call);
  }
}

/* The bytes move into a slice without a copy; gRPC frees them when they are sent. */
static struct nx_rpc_queued *enqueue(struct nx_buffer *message) {
  struct nx_rpc_queued *queued = calloc(1, sizeof *queued);
  if (!queued)
    return NULL;
  grpc_slice slice = message->size ? grpc_slice_new_with_user_data(message->data, message->size,
                                                                   free, message->data)
                                   : grpc_empty_slice();
  if (!message->size)
    free(message->data);
  queued->size = message->size;
  queued->cost = message->size + NX_RPC_QUEUED_COST;
  queued->bytes = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  *message = (struct nx_buffer){.cap = message->cap};
  return queued;
}

static void let_go_shared(void *shared) {
  nx_shared_unref(shared);
}

/* Takes it over. */
static int send_queued(struct nx_rpc_call *call, struct nx_rpc_queued *queued,
                       struct nx_error *err) {
  int r = 0;
  pthread_mutex_lock(&call->lock);
  if (call->over || call->finishing)
    r = NX_E_PEER;
  else if (call->first && queued->size > call->queue_cap - NX_MIN(call->queue_cap, call->queued))
    r = NX_E_LIMIT;
  if (!r) {
    *call->last = queued;
    call->last = &queued->next;
    call->queued += queued->size;
    count_held(call, queued->cost, true);
    pump(call);
  }
  struct nx_rpc_crowd *crowd = call->crowd;
  pthread_mutex_unlock(&call->lock);
  if (!r && crowd && crowd->most && atomic_load(&crowd->held) > crowd->most)
    nx_rpc_crowd_thin(crowd);
  if (!r)
    return 0;
  grpc_byte_buffer_destroy(queued->bytes);
  free(queued);
  return r == NX_E_PEER ? nx_fail(err, r, "the stream to the peer is closed")
                        : nx_fail(err, r, "%zu bytes wait to be sent already", call->queue_cap);
}

int nx_rpc_call_send(struct nx_rpc_call *call, struct nx_buffer *message, struct nx_error *err) {
  size_t size = message->size;
  if (call->leaving) {
    int r = call->leaving(call->leaving_context, call->path, nx_bytes(message->data, message->size),
                          err);
    if (r < 0) {
      nx_buffer_finish(message);
      return r;
    }
  }
  struct nx_rpc_queued *queued = enqueue(message);
  if (!queued) {
    nx_buffer_finish(message);
    return nx_fail(err, NX_E_NOMEM, "out of memory to send %zu bytes", size);
  }
  return send_queued(call, queued, err);
}

int nx_rpc_call_send_shared(struct nx_rpc_call *call, struct nx_bytes head,
                            struct nx_shared *middle, struct nx_bytes tail, struct nx_error *err) {
  struct nx_bytes shared = nx_shared_view(middle);
  struct nx_rpc_queued *queued = calloc(1, sizeof *queued);
  assert(!call->leaving && shared.size);
  if (!queued)
    return nx_fail(err, NX_E_NOMEM, "out of memory to send %zu bytes", shared.size);
  grpc_slice parts[] = {grpc_slice_from_copied_buffer((const char *)head.data, head.size),
                        grpc_slice_new_with_user_data((void *)(uintptr_t)shared.data, shared.size,
                                                      let_go_shared, nx_shared_ref(middle)),
                        grpc_slice_from_copied_buffer((const char *)tail.data, tail.size)};
  queued->size = head.size + shared.size + tail.size;
  queued->cost = head.size + tail.size + NX_RPC_QUEUED_COST;
  queued->bytes = grpc_raw_byte_buffer_create(parts, NX_ARRAY_LENGTH(parts));
  for (size_t i = 0; i < NX_ARRAY_LENGTH(parts); i++)
    grpc_slice_unref(parts[i]);
  return send_queued(call, queued, err);
}

size_t nx_rpc_call_queued(struct nx_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  size_t queued = NX_MAX(call->queued, call->held);
  pthread_mutex_unlock(&call->lock);
  return queued;
}

void nx_rpc_call_finish(struct nx_rpc_call *call, enum nx_rpc_status status, const char *text) {
  pthread_mutex_lock(&call->lock);
  if (!call->finishing) {
    call->finishing = true;
    call->finish_status = status;
    call->finish_text = text ? strndup(text, 1024) : NULL;
    pump(call);
  }
  pthread_mutex_unlock(&call->lock);
}

void nx_rpc_call_cancel(struct nx_rpc_call *call) {
  grpc_call_cancel(call->call, NULL);
}

void nx_rpc_call_hang_up(struct nx_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  call->finishing = call->finish_sent = true; /* nothing is sent any more, no status either */
  drop_queue(call);
  pthread_mutex_unlock(&call->lock);
  grpc_call_cancel_with_status(call->call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                               "too much waits to be read on this call: " NX_RPC_TRY_LATER, NULL);
}

void *nx_rpc_queue_run(void *completion_queue) {
  for (;;) {
    grpc_event event =
        grpc_completion_queue_next(completion_queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    struct nx_rpc_operation *operation = event.tag;
    operation->on_done(operation, event.success != 0);
  }
}
