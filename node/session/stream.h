/* Stream: a call to the coordinator for a thread that may wait, such as the worker that
 * uploads, fetches and checks. Used by one thread; the transport's thread fills it. */
#pragma once

#include <stdbool.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "proto/rpc/rpc_client.h"

#define NX_STREAM_END 1 /* the server is done, with status OK */

struct nx_stream;

/* How a waiting thread is told to stop: asked a few times a second. NULL: never. */
struct nx_stop {
  bool (*asked)(void *context);
  void *context;
};

/* patience: ns without any progress after which a wait fails with NX_E_TIMEOUT. */
int nx_stream_open(struct nx_rpc_client *client, const char *path, int64_t patience,
                   const struct nx_stop *stop, struct nx_stream **stream_out, struct nx_error *err);
/* Queues the message's bytes (empty afterwards) and returns once little enough waits that
 * the next may follow. NX_STREAM_END: the server wants no more and ended the call well;
 * NX_E_PEER, or what it said when it refused. */
int nx_stream_send(struct nx_stream *stream, struct nx_buffer *message, struct nx_error *err);
/* Says that no more will be sent. */
void nx_stream_end(struct nx_stream *stream);
/* The next message, appended to out. 0, NX_STREAM_END, the server's refusal, NX_E_PEER,
 * NX_E_TIMEOUT or NX_E_CANCELLED. */
int nx_stream_receive(struct nx_stream *stream, struct nx_buffer *out, struct nx_error *err);
/* Cancels what is left. NULL is fine. */
void nx_stream_close(struct nx_stream *stream);
NX_DEFINE_CLEANUP(struct nx_stream *, nx_stream_close)
