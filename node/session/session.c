#include "node/session/session.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/size.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_site.h"

#define SOFTWARE "neurox-node 0.1.0"
#define BACKOFF_BASE (250 * NX_MILLISECOND)
#define BACKOFF_CAP (15 * NX_SECOND)
#define HEARTBEAT_EVERY (20 * NX_SECOND)
#define SILENCE_MOST (90 * NX_SECOND) /* of the coordinator, before the line counts as dead */

struct nx_session {
  struct nx_session_listener listener;
  struct nx_rpc_client *client;
  struct nx_arena *arena; /* the transport's thread only */
  struct nx_rng rng;      /* backoff; the session's thread only */
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  pthread_t thread;
  bool running;

  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  struct nx_rpc_call *call;
  bool stopping, closed, welcomed, refused;
  int64_t last_heard;
  uint64_t heartbeats;
  unsigned failures; /* in a row */
  uint32_t protocol; /* of the last welcome; 0: none came yet */
};

/* ---- what comes (transport's thread) --------------------------------------------------- */

static void tell(struct nx_session *session, const struct nx_session_event *event) {
  session->listener.notify(session->listener.context, event);
}

static int on_welcome(struct nx_session *session, struct nx_rpc_call *call,
                      const struct nx_welcome *welcome, struct nx_error *err) {
  struct nx_session_event event = {.type = NX_SESSION_CONNECTED, .welcome = welcome};
  if (!nx_protocol_agree(welcome->protocol, 0))
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "the coordinator (%s) speaks protocol %u, this node %u to %u: update the older "
                   "one",
                   welcome->software, welcome->protocol, NX_PROTOCOL_OLDEST, NX_PROTOCOL_VERSION);
  int r = nx_rpc_call_peer_spki(call, event.spki.bytes, err);
  if (r < 0)
    return r;
  pthread_mutex_lock(&session->lock);
  session->welcomed = true;
  session->protocol = welcome->protocol;
  session->failures = 0;
  pthread_mutex_unlock(&session->lock);
  tell(session, &event);
  return 0;
}

static int on_down(struct nx_session *session, struct nx_rpc_call *call, struct nx_bytes bytes,
                   struct nx_error *err) {
  struct nx_session_message message;
  nx_arena_reset(session->arena);
  int r = nx_session_down_decode(bytes, session->arena, &message, err);
  if (r < 0)
    return r;
  if (message.kind == NX_SESSION_KIND_WELCOME)
    return on_welcome(session, call, &message.welcome, err);
  pthread_mutex_lock(&session->lock);
  bool welcomed = session->welcomed;
  pthread_mutex_unlock(&session->lock);
  if (!welcomed)
    return nx_fail(err, NX_E_PROTOCOL, "the coordinator did not begin with a welcome");
  if (message.kind == NX_SESSION_KIND_SIGNED)
    tell(session,
         &(struct nx_session_event){.type = NX_SESSION_MESSAGE, .message = message.signed_message});
  else if (message.kind == NX_SESSION_KIND_NOTICE)
    tell(session, &(struct nx_session_event){.type = NX_SESSION_NOTICE,
                                             .notice = message.notice.kind,
                                             .asks = message.notice.asks,
                                             .heard = message.notice.heard,
                                             .text = message.notice.text});
  return 0;
}

static void refuse(struct nx_session *session, const char *text) {
  pthread_mutex_lock(&session->lock);
  bool first = !session->refused;
  session->refused = true;
  pthread_mutex_unlock(&session->lock);
  if (first)
    tell(session, &(struct nx_session_event){.type = NX_SESSION_REFUSED, .text = text});
}

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes bytes) {
  struct nx_session *session = context;
  struct nx_error err = {0};
  pthread_mutex_lock(&session->lock);
  session->last_heard = nx_clock_monotonic();
  pthread_mutex_unlock(&session->lock);
  int r = on_down(session, call, bytes, &err);
  if (r == NX_E_UNSUPPORTED)
    refuse(session, err.text);
  if (r < 0)
    nx_rpc_call_cancel(call);
  else
    nx_rpc_call_receive(call);
}

/* Trying again cannot help against these. */
static bool is_final(enum nx_rpc_status status) {
  return status == NX_RPC_PERMISSION_DENIED || status == NX_RPC_UNAUTHENTICATED ||
         status == NX_RPC_INVALID_ARGUMENT || status == NX_RPC_FAILED_PRECONDITION;
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct nx_session *session = context;
  (void)call;
  if (is_final(status))
    refuse(session, text && *text ? text : "the coordinator refuses this node");
  else
    tell(session, &(struct nx_session_event){.type = NX_SESSION_DISCONNECTED,
                                             .text = text && *text ? text : "the line was cut"});
  pthread_mutex_lock(&session->lock);
  session->closed = true;
  pthread_cond_broadcast(&session->changed);
  pthread_mutex_unlock(&session->lock);
}

/* ---- keeping the line up (session's thread) --------------------------------------------- */

static int send_up(struct nx_rpc_call *call, const struct nx_session_message *message,
                   struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  int r = nx_session_up_encode(message, &bytes, err);
  return r < 0 ? r : nx_rpc_call_send(call, &bytes, err);
}

static int send_hello(struct nx_session *session, struct nx_rpc_call *call, struct nx_error *err) {
  struct nx_session_message message = {.kind = NX_SESSION_KIND_HELLO};
  message.hello.hears = NX_HEARS_SITES;
  message.hello.protocol = NX_PROTOCOL_OLDEST;
  message.hello.newest = NX_PROTOCOL_VERSION;
  memcpy(message.hello.federation, session->federation, sizeof session->federation);
  snprintf(message.hello.software, sizeof message.hello.software, "%s", SOFTWARE);
  session->listener.held(session->listener.context, &message.hello.last_sealed,
                         &message.hello.model);
  return send_up(call, &message, err);
}

/* lock is held. True when the time passed or the session stops; false when something else
 * changed. */
static bool wait_until(struct nx_session *session, int64_t at) {
  struct timespec until = {at / NX_SECOND, at % NX_SECOND};
  return session->stopping ||
         pthread_cond_timedwait(&session->changed, &session->lock, &until) != 0;
}

/* lock is held; left while a message is sent. */
static void heartbeat(struct nx_session *session) {
  struct nx_session_message message = {.kind = NX_SESSION_KIND_HEARTBEAT};
  struct nx_rpc_call *call = session->call;
  if (session->listener.working)
    session->listener.working(session->listener.context, &message.heartbeat);
  message.heartbeat.number = ++session->heartbeats;
  bool dead = nx_clock_monotonic() - session->last_heard > SILENCE_MOST, send = session->welcomed;
  pthread_mutex_unlock(&session->lock);
  if (dead)
    nx_rpc_call_cancel(call);
  else if (send)
    send_up(call, &message, NULL);
  pthread_mutex_lock(&session->lock);
}

/* Until the call has closed. */
static void tend(struct nx_session *session) {
  pthread_mutex_lock(&session->lock);
  int64_t next = nx_clock_monotonic() + HEARTBEAT_EVERY;
  while (!session->closed && !session->stopping)
    if (wait_until(session, next) && !session->stopping && !session->closed) {
      heartbeat(session);
      next = nx_clock_monotonic() + HEARTBEAT_EVERY;
    }
  struct nx_rpc_call *call = session->call;
  pthread_mutex_unlock(&session->lock);
  nx_rpc_call_cancel(call);
  pthread_mutex_lock(&session->lock);
  while (!session->closed)
    pthread_cond_wait(&session->changed, &session->lock);
  session->call = NULL;
  session->welcomed = false;
  pthread_mutex_unlock(&session->lock);
  nx_rpc_call_unref(call);
}

static int connect_once(struct nx_session *session, struct nx_error *err) {
  static const struct nx_rpc_handlers handlers = {.on_message = on_message, .on_closed = on_closed};
  struct nx_rpc_call *call = NULL;
  pthread_mutex_lock(&session->lock);
  session->closed = session->welcomed = false;
  session->heartbeats = 0;
  session->last_heard = nx_clock_monotonic();
  pthread_mutex_unlock(&session->lock);
  int r = nx_rpc_client_open(session->client, NX_METHOD_SESSION_OPEN, &handlers, session, NX_NEVER,
                             &call, err);
  if (r < 0)
    return r;
  pthread_mutex_lock(&session->lock);
  session->call = call;
  pthread_mutex_unlock(&session->lock);
  nx_rpc_call_receive(call);
  send_hello(session, call, NULL); /* when it fails the call has closed, which tend() sees */
  tend(session);
  return 0;
}

static void *run(void *context) {
  struct nx_session *session = context;
  pthread_mutex_lock(&session->lock);
  while (!session->stopping && !session->refused) {
    pthread_mutex_unlock(&session->lock);
    connect_once(session, NULL);
    pthread_mutex_lock(&session->lock);
    int64_t pause = nx_rpc_backoff(session->failures++, BACKOFF_BASE, BACKOFF_CAP, &session->rng);
    int64_t until = nx_clock_monotonic() + pause;
    while (!session->stopping && !wait_until(session, until))
      ;
  }
  pthread_mutex_unlock(&session->lock);
  return NULL;
}

/* ---- life -------------------------------------------------------------------------------- */

static int start(struct nx_session *session, const struct nx_session_config *cfg,
                 struct nx_error *err) {
  const struct nx_rpc_client_config client = {.target = cfg->address,
                                              .ca = cfg->ca,
                                              .certificate = cfg->certificate,
                                              .key = cfg->key,
                                              .message_cap = NX_MESSAGE_CAP_MAIN,
                                              .meter = cfg->meter};
  uint64_t seed;
  int r = nx_entropy_system.fill(nx_entropy_system.context, &seed, sizeof seed, err);
  if (r == 0)
    r = nx_arena_create(NX_SESSION_ARENA, &session->arena, err);
  if (r == 0)
    r = nx_rpc_client_create(&client, &session->client, err);
  if (r < 0)
    return r;
  nx_rng_init(&session->rng, seed, 0);
  int e = pthread_create(&session->thread, NULL, run, session);
  if (e)
    return nx_fail_errno(err, e, "start the session's thread");
  session->running = true;
  return 0;
}

int nx_session_create(const struct nx_session_config *cfg,
                      const struct nx_session_listener *listener, struct nx_session **session_out,
                      struct nx_error *err) {
  pthread_condattr_t attributes;
  _cleanup_(nx_session_destroyp) struct nx_session *session = calloc(1, sizeof *session);
  if (!session)
    return nx_fail(err, NX_E_NOMEM, "session: out of memory");
  session->listener = *listener;
  memcpy(session->federation, cfg->federation, sizeof session->federation);
  pthread_mutex_init(&session->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&session->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  int r = start(session, cfg, err);
  if (r < 0)
    return nx_error_prefix(err, r, "session with %s", cfg->address);
  *session_out = nx_steal(&session);
  return 0;
}

int nx_session_send(struct nx_session *session, struct nx_bytes message, struct nx_error *err) {
  struct nx_session_message up = {.kind = NX_SESSION_KIND_SIGNED, .signed_message = message};
  pthread_mutex_lock(&session->lock);
  struct nx_rpc_call *call =
      session->call && session->welcomed ? nx_rpc_call_ref(session->call) : NULL;
  pthread_mutex_unlock(&session->lock);
  if (!call)
    return nx_fail(err, NX_E_STATE, "not connected");
  int r = send_up(call, &up, err);
  nx_rpc_call_unref(call);
  return r;
}

void nx_session_redial(struct nx_session *session) {
  pthread_mutex_lock(&session->lock);
  struct nx_rpc_call *call = session->call ? nx_rpc_call_ref(session->call) : NULL;
  pthread_mutex_unlock(&session->lock);
  if (call)
    nx_rpc_call_cancel(call);
  nx_rpc_call_unref(call);
}

uint32_t nx_session_protocol(struct nx_session *session) {
  pthread_mutex_lock(&session->lock);
  uint32_t protocol = session->protocol;
  pthread_mutex_unlock(&session->lock);
  return protocol;
}

struct nx_rpc_client *nx_session_client(struct nx_session *session) {
  return session->client;
}

void nx_session_destroy(struct nx_session *session) {
  if (!session)
    return;
  pthread_mutex_lock(&session->lock);
  session->stopping = true;
  pthread_cond_broadcast(&session->changed);
  pthread_mutex_unlock(&session->lock);
  if (session->running)
    pthread_join(session->thread, NULL);
  nx_rpc_client_destroy(session->client);
  nx_arena_destroy(session->arena);
  pthread_cond_destroy(&session->changed);
  pthread_mutex_destroy(&session->lock);
  free(session);
}
