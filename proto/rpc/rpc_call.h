/* Call: one stream of messages between two processes, whichever side opened it. Unary,
 * client-, server- and bidirectional streaming calls are the same object used differently:
 *
 *     client                                  server
 *     nx_rpc_client_open()        ───►        method's on_open()
 *     nx_rpc_call_send() …        ───►        on_message() …
 *     nx_rpc_call_finish()        ───►        on_half_closed()
 *     on_message() …              ◄───        nx_rpc_call_send() …
 *     on_closed()                 ◄───        nx_rpc_call_finish(status), then on_closed()
 *
 * Back-pressure is explicit both ways. A message arrives only after nx_rpc_call_receive()
 * asked for it; one send is in flight at a time and the rest waits in a capped queue;
 * on_writable() tells that it is nearly empty.
 *
 * Threads: handlers run on the transport's own thread, one at a time for a call, and must
 * not compute or block: they copy, post to a mailbox and return. Every function below may
 * be called from any thread, handlers included. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/shared.h"
#include "common/error.h"

#define NX_SPKI_HASH_SIZE 32
/* The hint at the end of a RESOURCE_EXHAUSTED that passes: too much at once, not too large. */
#define NX_RPC_TRY_LATER "try again later"
#define NX_RPC_LOW_WATER ((size_t)512 << 10)

/* Numbers of the gRPC specification. */
enum nx_rpc_status {
  NX_RPC_OK = 0,
  NX_RPC_CANCELLED = 1,
  NX_RPC_UNKNOWN = 2,
  NX_RPC_INVALID_ARGUMENT = 3,
  NX_RPC_DEADLINE_EXCEEDED = 4,
  NX_RPC_NOT_FOUND = 5,
  NX_RPC_ALREADY_EXISTS = 6,
  NX_RPC_PERMISSION_DENIED = 7,
  NX_RPC_RESOURCE_EXHAUSTED = 8,
  NX_RPC_FAILED_PRECONDITION = 9,
  NX_RPC_ABORTED = 10,
  NX_RPC_UNIMPLEMENTED = 12,
  NX_RPC_INTERNAL = 13,
  NX_RPC_UNAVAILABLE = 14,
  NX_RPC_UNAUTHENTICATED = 16
};

struct nx_rpc_call; /* reference-counted */

/* A message that its handler took over, in the pieces in which it came. */
struct nx_rpc_message;
size_t nx_rpc_message_size(const struct nx_rpc_message *message);
/* Appends all its bytes. */
int nx_rpc_message_append(struct nx_rpc_message *message, struct nx_buffer *out,
                          struct nx_error *err);
void nx_rpc_message_destroy(struct nx_rpc_message *message); /* NULL is fine */

struct nx_rpc_handlers {
  /* The next message; the view lives until the handler returns. */
  void (*on_message)(void *context, struct nx_rpc_call *call, struct nx_bytes message);
  /* Instead of on_message, for bulk: the handler takes the message over, and it is put together by
   * whoever reads it: the transport's thread has copied nothing. */
  void (*on_taken)(void *context, struct nx_rpc_call *call, struct nx_rpc_message *message);
  /* The peer sends no more (server side only; a client learns it with on_closed). */
  void (*on_half_closed)(void *context, struct nx_rpc_call *call);
  /* A message has left and at most NX_RPC_LOW_WATER bytes wait behind it. */
  void (*on_writable)(void *context, struct nx_rpc_call *call);
  /* Always the last, exactly once. status and text are what the server said, or why the
   * transport gave up; on the server NX_RPC_OK or NX_RPC_CANCELLED (the client went). */
  void (*on_closed)(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                    const char *text);
};

struct nx_rpc_call *nx_rpc_call_ref(struct nx_rpc_call *call);
void nx_rpc_call_unref(struct nx_rpc_call *call); /* NULL is fine */
static inline void nx_rpc_call_unrefp(struct nx_rpc_call **call) {
  nx_rpc_call_unref(*call);
}

/* Asks for the next message. Asking again before it came changes nothing. */
void nx_rpc_call_receive(struct nx_rpc_call *call);
/* Takes the message's bytes (the buffer is empty afterwards, also on failure).
 * NX_E_LIMIT: the queue holds its cap of bytes; NX_E_PEER: the call is over. */
int nx_rpc_call_send(struct nx_rpc_call *call, struct nx_buffer *message, struct nx_error *err);
/* A message of three parts, on a server; the shared one is referenced, not copied. The same returns. */
int nx_rpc_call_send_shared(struct nx_rpc_call *call, struct nx_bytes head,
                            struct nx_shared *middle, struct nx_bytes tail, struct nx_error *err);
/* Bytes that wait to be sent; of many small messages, the memory that they take. */
size_t nx_rpc_call_queued(struct nx_rpc_call *call);
/* After what is queued: a server ends the call with status and text (may be NULL); a client
 * says that it sends no more and status and text mean nothing. Idempotent. */
void nx_rpc_call_finish(struct nx_rpc_call *call, enum nx_rpc_status status, const char *text);
/* Ends the call at once, dropping what is queued. */
void nx_rpc_call_cancel(struct nx_rpc_call *call);

/* SHA-256 of the SubjectPublicKeyInfo of the peer's certificate, as the TLS handshake
 * proved it. NX_E_DENIED: the peer has shown none (client side: not connected yet). */
int nx_rpc_call_peer_spki(struct nx_rpc_call *call, uint8_t spki_out[NX_SPKI_HASH_SIZE],
                          struct nx_error *err);

/* The NX_E_* that a status stands for; NX_RPC_OK is 0. And the status for an NX_E_*. */
int nx_rpc_status_code(enum nx_rpc_status status);
enum nx_rpc_status nx_rpc_status_of_code(int code);
