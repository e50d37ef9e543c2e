/* Server: one listening port and the methods it answers. TLS 1.3 only. */
#pragma once

#include "common/cleanup.h"
#include "proto/rpc/rpc_call.h"

struct nx_rpc_server;

struct nx_rpc_method {
  const char *path; /* "/neurox.v1.Session/Open" */
  /* A call has come. Fill *handlers_out and *call_context_out and return NX_RPC_OK, or
   * refuse with another status and a text. The call is referenced for the caller until
   * on_closed returns; take a reference to keep it longer. Nothing is received before
   * nx_rpc_call_receive(). */
  enum nx_rpc_status (*on_open)(void *context, struct nx_rpc_call *call,
                                struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                const char **text_out);
};

struct nx_rpc_server_config {
  const char *address;                  /* "127.0.0.1:7443", "[::]:7443"; port 0 takes a free one */
  struct nx_bytes certificate, key, ca; /* PEM; ca: who signs client certificates */
  bool require_client_certificate;
  const struct nx_rpc_method *methods;
  size_t n_methods;
  void *context;                 /* of every on_open */
  size_t message_cap;            /* bytes of one received message; 0: 4 MiB */
  size_t send_queue_cap;         /* bytes waiting in one call; 0: 16 MiB */
  size_t held_most; /* memory of what waits in all calls together, beyond which those that
                       let most wait are hung up on; 0: no limit */
  size_t streams_per_connection; /* 0: 32 */
};

/* NX_E_IO: the port cannot be had; NX_E_CRYPTO: certificate, key or CA do not work. */
int nx_rpc_server_create(const struct nx_rpc_server_config *config,
                         struct nx_rpc_server **server_out, struct nx_error *err);
/* From the next handshake on: another certificate (of the same key or another) and other roots
 * for clients. Connections that there are stay. Any thread. */
int nx_rpc_server_renew(struct nx_rpc_server *server, struct nx_bytes certificate,
                        struct nx_bytes key, struct nx_bytes ca, struct nx_error *err);
uint16_t nx_rpc_server_port(const struct nx_rpc_server *server);
/* Refuses new calls, waits until `deadline` (monotonic) for running ones, cancels the rest,
 * frees everything. Every on_closed has run when it returns. Not from a handler. */
void nx_rpc_server_stop(struct nx_rpc_server *server, int64_t deadline);
/* Stop at once; NULL is fine. */
void nx_rpc_server_destroy(struct nx_rpc_server *server);
NX_DEFINE_CLEANUP(struct nx_rpc_server *, nx_rpc_server_destroy)

/* Told on a thread of the transport whenever a client's handshake fails, in OpenSSL's words: a
 * certificate that has ended, one of another federation, or bytes that are no TLS. One for the
 * process; NULL takes it back. */
void nx_rpc_on_refused_handshake(void (*told)(void *context, const char *why), void *context);

/* Connections that this process hung up on at once, so far, because it had no descriptors (or
 * memory) to spare: an eighth of its descriptors, 256 at most, are for files. */
uint64_t nx_rpc_turned_away(void);
/* Calls that were hung up on so far because their peers did not read (held_most). */
uint64_t nx_rpc_hung_up(void);

/* Before anything else of this folder, after every fork: starts gRPC, pins TLS 1.3, keeps
 * its logging quiet. Counted: stop as often as started. */
void nx_rpc_library_start(void);
void nx_rpc_library_stop(void);
