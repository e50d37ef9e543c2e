/* Transfer: a call to the coordinator for a thread that may wait, such as the worker that
 * uploads, fetches and checks. Used by one thread; the transport's thread fills it. */
#pragma once

#include <stdbool.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "proto/rpc/rpc_client.h"

#define NX_TRANSFER_END 1 /* the server is done, with status OK */

struct nx_transfer;

/* How a waiting thread is told to stop: asked a few times a second. NULL: never. */
struct nx_stop {
  bool (*asked)(void *context);
  void *context;
};

/* patience: ns without any progress after which a wait fails with NX_E_TIMEOUT. */
int nx_transfer_open(struct nx_rpc_client *client, const char *path, int64_t patience,
                     const struct nx_stop *stop, struct nx_transfer **stream_out,
                     struct nx_error *err);
/* Queues the message's bytes (empty afterwards) and returns once little enough waits that
 * the next may follow. NX_TRANSFER_END: the server wants no more and ended the call well;
 * NX_E_PEER, or what it said when it refused. */
int nx_transfer_send(struct nx_transfer *stream, struct nx_buffer *message, struct nx_error *err);
/* Says that no more will be sent. */
void nx_transfer_end(struct nx_transfer *stream);
/* The next message, appended to out. 0, NX_TRANSFER_END, the server's refusal, NX_E_PEER,
 * NX_E_TIMEOUT or NX_E_CANCELLED. */
int nx_transfer_receive(struct nx_transfer *stream, struct nx_buffer *out, struct nx_error *err);
/* Cancels what is left. NULL is fine. */
void nx_transfer_close(struct nx_transfer *stream);
NX_DEFINE_CLEANUP(struct nx_transfer *, nx_transfer_close)
