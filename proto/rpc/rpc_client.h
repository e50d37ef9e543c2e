/* Client: a connection to one server that opens when it is needed and again when it broke.
 * Where only a proxy leads outside, it goes through that (HTTP CONNECT); TLS stays end to end. */
#pragma once

#include "common/cleanup.h"
#include "common/rng.h"
#include "proto/rpc/rpc_call.h"

struct nx_rpc_client;

/* Asked before a message is handed to the transport; a refusal is what nx_rpc_call_send() returns,
 * and the message does not leave. Any thread. */
struct nx_rpc_meter {
  int (*leaving)(void *context, const char *path, struct nx_bytes message, struct nx_error *err);
  void *context;
};

struct nx_rpc_client_config {
  const char *target;      /* "hub.example.org:7443" */
  const char *server_name; /* what the server's certificate must say; NULL: the target's host */
  struct nx_bytes ca;      /* PEM, the only authority believed */
  struct nx_bytes certificate, key; /* PEM, both or neither */
  /* "http://proxy.example.org:3128". NULL: what https_proxy of the environment says, unless
   * no_proxy lists the target or the target is this machine. "": none. */
  const char *proxy;
  size_t message_cap;        /* bytes of one received message; 0: 4 MiB */
  struct nx_rpc_meter meter; /* leaving NULL: none */
  size_t send_queue_cap;     /* bytes waiting in one call; 0: 16 MiB */
};

int nx_rpc_client_create(const struct nx_rpc_client_config *config,
                         struct nx_rpc_client **client_out, struct nx_error *err);
/* From the next call on, on a connection of its own: another certificate and other roots. Calls
 * in progress go on where they are. Any thread. */
int nx_rpc_client_renew(struct nx_rpc_client *client, struct nx_bytes ca,
                        struct nx_bytes certificate, struct nx_bytes key, struct nx_error *err);
/* Cancels what is open and waits until every on_closed has run. Not from a handler. */
void nx_rpc_client_destroy(struct nx_rpc_client *client); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_rpc_client *, nx_rpc_client_destroy)

/* Opens a stream. path outlives it. The returned call is the caller's reference. deadline:
 * monotonic, or NX_NEVER. Never blocks: that the server is away is told by on_closed. */
int nx_rpc_client_open(struct nx_rpc_client *client, const char *path,
                       const struct nx_rpc_handlers *handlers, void *context, int64_t deadline,
                       struct nx_rpc_call **call_out, struct nx_error *err);

/* One request, one response, blocking. response_out is appended to. A refusal by the server
 * comes as its NX_E_* (nx_rpc_status_code) with its text; NX_E_PEER when it is away.
 * spki_out may be NULL, else receives the server's key hash. Not from a handler. */
int nx_rpc_client_call(struct nx_rpc_client *client, const char *path, struct nx_bytes request,
                       int64_t deadline, struct nx_buffer *response_out,
                       uint8_t spki_out[NX_SPKI_HASH_SIZE], struct nx_error *err);

/* How long to wait before attempt n (0, 1, …): uniform in [0, min(cap, base * 2^n)], "full
 * jitter", so that sites do not return in step. Nanoseconds. */
int64_t nx_rpc_backoff(unsigned attempt, int64_t base, int64_t cap, struct nx_rng *rng);
