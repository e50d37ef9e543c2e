/* Session: the node's line to its coordinator. One channel (mutual TLS 1.3), one stream for
 * messages in both directions, kept up by itself: it reconnects with backoff and jitter for
 * as long as it exists. Models, uploads and tiles travel on streams of their own over the
 * same channel (fetch_blob.h, send_upload.h, fetch_tiles.h).
 *
 *   node                                    coordinator
 *     Hello: protocol, federation, what I hold  ---->
 *                               <----  Welcome: manifest, last sealed round, its seals
 *     SignedMessage, Heartbeat          <--->  SignedMessage, Heartbeat, Notice
 *
 * Events are told on threads of the session, one at a time; the listener copies what it
 * needs and hands it on. */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "proto/codec/codec_session.h"
#include "proto/rpc/rpc_client.h"

struct nx_session_config {
  const char *address;         /* host:port */
  struct nx_bytes ca;          /* PEM, pinned at enrolment */
  struct nx_bytes certificate; /* PEM */
  struct nx_bytes key;         /* PEM, secret */
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_rpc_meter meter; /* of everything that is sent; may be none */
};

enum nx_session_event_type {
  NX_SESSION_CONNECTED,    /* welcome, spki */
  NX_SESSION_MESSAGE,      /* message: an encoded SignedMessage */
  NX_SESSION_NOTICE,       /* notice, text */
  NX_SESSION_DISCONNECTED, /* text: why; it goes on trying */
  NX_SESSION_REFUSED       /* text: the coordinator will not have us; it has stopped trying */
};

struct nx_session_event { /* views live during the call */
  enum nx_session_event_type type;
  struct nx_bytes message;
  const char *text;
  enum nx_notice_kind notice;
  const struct nx_welcome *welcome;
  struct nx_hash asks, heard; /* NOTICE: codec_session.h */
  struct nx_hash spki; /* of the certificate that the coordinator proved */
};

struct nx_session_listener {
  void (*notify)(void *context, const struct nx_session_event *event);
  /* What to say in Hello; asked anew for every connection. */
  void (*held)(void *context, uint64_t *last_sealed_out, struct nx_hash *model_out);
  void *context;
  /* How far the present work is, for the next heartbeat; total stays 0 while that is not counted,
   * and then only that the node lives is told. Any thread; NULL: never counted. */
  void (*working)(void *context, struct nx_heartbeat *out);
};

struct nx_session;

/* cfg's bytes are copied where they are needed later. Starts at once; nothing has connected
 * yet when it returns. */
int nx_session_create(const struct nx_session_config *cfg,
                      const struct nx_session_listener *listener, struct nx_session **session_out,
                      struct nx_error *err);
/* Queues an encoded SignedMessage; any thread. NX_E_STATE when not connected: drop it, the
 * coordinator asks again. */
int nx_session_send(struct nx_session *session, struct nx_bytes message, struct nx_error *err);
/* Hangs up and dials again, to be told anew what was sealed last. */
void nx_session_redial(struct nx_session *session);
/* What the coordinator chose when it last said Welcome; 0 before. Any thread. */
uint32_t nx_session_protocol(struct nx_session *session);
/* For calls on the same channel; valid until destroy. */
struct nx_rpc_client *nx_session_client(struct nx_session *session);
/* Stops, joins, frees; no event is told afterwards. NULL is fine. Not from the listener. */
void nx_session_destroy(struct nx_session *session);
NX_DEFINE_CLEANUP(struct nx_session *, nx_session_destroy)
