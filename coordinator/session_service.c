/* Session/Open: one stream a member. Everything but copying runs on the round thread. */
#include <assert.h>
#include <stdio.h>

#include "coordinator/coordinator_internal.h"
#include "coordinator/fitness.h"

#define PLANS_TOLD 16 /* of those submitted last, to a member that connects */

/* --- down ----------------------------------------------------------------------------- */

static int encode_down(const struct nx_stream *stream, const struct nx_session_message *message,
                       struct nx_buffer *out) {
  struct nx_error err;
  int r = nx_session_down_encode(message, out, &err);
  if (r < 0)
    NX_LOG(NX_LOG_ERROR, "session.unsendable", NX_U64("member", stream->member),
           NX_STR("why", err.text));
  return r;
}

void nx_session_send_down(struct nx_stream *stream, const struct nx_session_message *message) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = NX_MESSAGE_CAP_MAIN};
  if (encode_down(stream, message, &bytes) == 0)
    nx_stream_send(stream, &bytes);
}

/* The signed message is the last field of what goes down; its body begins with what is shared. */
static void send_sharing(struct nx_stream *stream, const struct nx_outgoing *outgoing,
                         struct nx_bytes bytes) {
  struct nx_bytes common = nx_shared_view(outgoing->common);
  struct nx_bytes body = nx_signed_message_body(outgoing->message);
  size_t at = bytes.size - outgoing->message.size + (size_t)(body.data - outgoing->message.data);
  assert(body.size >= common.size && !memcmp(bytes.data + at, common.data, common.size));
  size_t end = at + common.size;
  if (nx_rpc_call_send_shared(stream->call, nx_bytes(bytes.data, at), outgoing->common,
                              nx_bytes(bytes.data + end, bytes.size - end), NULL) < 0)
    nx_rpc_call_cancel(stream->call);
}

void nx_session_send_signed(void *context, const struct nx_outgoing *outgoing) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = NX_MESSAGE_CAP_MAIN};
  struct nx_coordinator *c = context;
  struct nx_stream *seat = outgoing->member < 256 ? c->seats[outgoing->member] : NULL;
  const struct nx_session_message message = {.kind = NX_SESSION_KIND_SIGNED,
                                             .signed_message = outgoing->message};
  if (!seat || encode_down(seat, &message, &bytes) < 0)
    return;
  if (outgoing->common)
    send_sharing(seat, outgoing, nx_buffer_view(&bytes));
  else
    nx_stream_send(seat, &bytes);
}

bool nx_session_is_busy(void *context, uint32_t member) {
  const struct nx_coordinator *c = context;
  const struct nx_stream *seat = member < 256 ? c->seats[member] : NULL;
  return seat && nx_rpc_call_queued(seat->call) > NX_RPC_LOW_WATER;
}

int64_t nx_session_moved(void *context, uint32_t member) {
  struct nx_coordinator *c = context;
  return member < 256 ? atomic_load(&c->moved[member]) : 0;
}

void nx_session_notify_all(struct nx_coordinator *c, enum nx_notice_kind kind, const char *text) {
  struct nx_session_message message = {.kind = NX_SESSION_KIND_NOTICE, .notice = {.kind = kind}};
  snprintf(message.notice.text, sizeof message.notice.text, "%s", text);
  for (uint32_t id = 1; id < 256; id++)
    if (c->seats[id])
      nx_session_send_down(c->seats[id], &message);
}

void nx_session_announce_plan(struct nx_coordinator *c, struct nx_stream *stream,
                              const struct nx_hash *plan, const char *name) {
  struct nx_session_message message = {.kind = NX_SESSION_KIND_NOTICE,
                                       .notice = {.kind = NX_NOTICE_INFO}};
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(plan, hex);
  snprintf(message.notice.text, sizeof message.notice.text, "plan %s was submitted: %s", hex, name);
  if (stream)
    nx_session_send_down(stream, &message);
  for (uint32_t id = 1; !stream && id < 256; id++)
    if (c->seats[id])
      nx_session_send_down(c->seats[id], &message);
}

struct announcing {
  struct nx_coordinator *c;
  struct nx_stream *stream;
};

static int announce_one(void *context, const struct nx_hash *plan, const char *name,
                        struct nx_error *err) {
  struct announcing *announcing = context;
  (void)err;
  nx_session_announce_plan(announcing->c, announcing->stream, plan, name);
  return 0;
}

void nx_session_close_all(struct nx_coordinator *c, const char *text) {
  for (uint32_t id = 1; id < 256; id++)
    if (c->seats[id])
      nx_rpc_call_finish(c->seats[id]->call, NX_RPC_UNAVAILABLE, text);
}

void nx_session_close_unwelcome(struct nx_coordinator *c, struct nx_stream *stream,
                                struct nx_bytes bytes) {
  (void)stream, (void)bytes;
  for (uint32_t id = 1; id < 256; id++)
    if (c->seats[id])
      nx_stream_is_welcome(c->seats[id]);
  for (size_t i = 0; i < NX_WATCHERS; i++)
    if (c->watchers[i])
      nx_stream_is_welcome(c->watchers[i]);
}

/* The M11 signatures of the last sealed round, copied out of the store. */
struct seals {
  struct nx_coordinator *coordinator;
  struct nx_buffer bytes;
  size_t sizes[NX_STORE_MEMBERS];
  struct nx_bytes views[NX_STORE_MEMBERS];
  size_t n;
};

/* Signed by a present member with its present key: others say nothing to who comes now. */
static bool speaks_for_the_list(const struct nx_coordinator *c, uint32_t member,
                                struct nx_bytes bytes) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_signed_message message;
  if (nx_arena_create((size_t)1 << 16, &arena, NULL) < 0 ||
      nx_signed_message_decode(bytes, arena, &message, NULL) < 0)
    return false;
  for (size_t i = 0; i < c->n_founders; i++)
    if (c->founders[i].id == member)
      return nx_signed_message_verify(&message, &c->founders[i].key, NULL) == 0;
  return false;
}

static int collect_seal(void *context, uint32_t member, struct nx_bytes message,
                        struct nx_error *err) {
  struct seals *seals = context;
  if (seals->n == NX_STORE_MEMBERS || !speaks_for_the_list(seals->coordinator, member, message))
    return 0;
  seals->sizes[seals->n++] = message.size;
  return nx_buffer_append(&seals->bytes, message.data, message.size, err);
}

static void view_seals(struct seals *seals) {
  size_t at = 0;
  for (size_t i = 0; i < seals->n; i++) {
    seals->views[i] = nx_bytes(seals->bytes.data + at, seals->sizes[i]);
    at += seals->sizes[i];
  }
}

/* What a member must know to take part: who the others are, and what was sealed last. */
static int fill_welcome(struct nx_coordinator *c, uint32_t protocol, struct nx_welcome *welcome,
                        struct seals *seals, struct nx_error *err) {
  struct nx_store_sealed last;
  struct nx_store_run run;
  *welcome = (struct nx_welcome){.protocol = protocol,
                                 .software = NX_COORDINATOR_SOFTWARE,
                                 .hears = NX_HEARS_SITES,
                                 .manifest = nx_buffer_view(&c->manifest),
                                 .manifest_signature = c->manifest_signature,
                                 .manifest_chain = nx_buffer_view(&c->manifest_chain)};
  int r = nx_run_store_last_run(c->federation->store, &run, NULL);
  if (r == 0) {
    welcome->plan = run.plan_hash;
    welcome->first_round = run.first_round;
  }
  r = nx_run_store_last_sealed(c->federation->store, &last, err);
  if (r < 0)
    return r == NX_E_NOT_FOUND ? 0 : r;
  welcome->last_sealed = last.round;
  welcome->model = last.model_hash;
  r = nx_run_store_visit_signatures(c->federation->store, last.round, collect_seal, seals, err);
  view_seals(seals);
  welcome->sealed = seals->views;
  welcome->n_sealed = seals->n;
  return r;
}

static int send_welcome(struct nx_coordinator *c, struct nx_stream *stream, struct nx_error *err) {
  struct seals seals = {.coordinator = c};
  struct nx_session_message message = {.kind = NX_SESSION_KIND_WELCOME};
  int r = fill_welcome(c, stream->protocol, &message.welcome, &seals, err);
  if (r == 0)
    nx_session_send_down(stream, &message);
  nx_buffer_finish(&seals.bytes);
  struct announcing announcing = {c, stream};
  return r < 0 ? r
               : nx_run_store_visit_plans(c->federation->store, PLANS_TOLD, announce_one,
                                          &announcing, err);
}

/* --- up ------------------------------------------------------------------------------- */

static int check_hello(struct nx_coordinator *c, const struct nx_session_message *message,
                       struct nx_error *err) {
  const struct nx_hello *hello = &message->hello;
  if (message->kind != NX_SESSION_KIND_HELLO)
    return nx_fail(err, NX_E_PROTOCOL, "a session begins with Hello");
  if (!nx_protocol_agree(hello->protocol, hello->newest))
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "%s speaks protocol %u, this coordinator (%s) speaks %u to %u: update the older "
                   "one",
                   hello->software, hello->protocol, NX_COORDINATOR_SOFTWARE, NX_PROTOCOL_OLDEST,
                   NX_PROTOCOL_VERSION);
  if (memcmp(hello->federation, c->federation->row.id, sizeof hello->federation))
    return nx_fail(err, NX_E_DENIED,
                   "this is the coordinator of another federation: check the node's address");
  return 0;
}

/* A member that connects again has lost its old line, whether we know it yet or not. */
static int take_seat(struct nx_coordinator *c, struct nx_stream *stream, struct nx_error *err) {
  struct nx_stream *before = c->seats[stream->member];
  int r = 0;
  c->seats[stream->member] = nx_stream_ref(stream);
  if (before) {
    nx_rpc_call_cancel(before->call);
    nx_stream_unref(before);
    if (c->run && nx_coordinator_lists(c, stream->member))
      r = nx_training_run_lost(c->run, stream->member, nx_clock_monotonic(), err);
  }
  NX_LOG(NX_LOG_INFO, "member.connected", NX_U64("member", stream->member),
         NX_STR("software", stream->software));
  return r;
}

static int greet(struct nx_coordinator *c, struct nx_stream *stream,
                 const struct nx_session_message *message) {
  struct nx_error err = {0};
  if (check_hello(c, message, &err) < 0) {
    NX_LOG(NX_LOG_WARNING, "member.refused", NX_U64("member", stream->member),
           NX_STR("why", err.text));
    nx_stream_refuse(stream, &err);
    return 0;
  }
  stream->greeted = true;
  stream->hears = message->hello.hears;
  stream->protocol = nx_protocol_agree(message->hello.protocol, message->hello.newest);
  memcpy(stream->software, message->hello.software, sizeof stream->software);
  c->claimed[stream->member] = message->hello.last_sealed;
  int r = take_seat(c, stream, &err);
  if (r < 0 || (r = nx_members_ahead(c, &err)) < 0 || (r = send_welcome(c, stream, &err)) < 0) {
    nx_coordinator_fail(c, &err);
    return r;
  }
  nx_fitness_greet(c, stream); /* before its coming opens a round */
  if ((c->run && nx_coordinator_lists(c, stream->member) &&
       (r = nx_training_run_connected(c->run, stream->member, nx_clock_monotonic(), &err)) < 0)) {
    nx_coordinator_fail(c, &err);
    return r;
  }
  nx_revisions_greet(c, stream->member);
  return 0;
}

static void hear_signed(struct nx_coordinator *c, uint32_t member, struct nx_bytes message) {
  struct nx_error err = {0};
  if (nx_revisions_hear(c, member, message) || nx_fitness_hear(c, member, message) ||
      !nx_coordinator_lists(c, member))
    return;
  if (c->run && nx_training_run_message(c->run, member, message, nx_clock_monotonic(), &err) < 0)
    nx_coordinator_fail(c, &err);
}

/* A node that says how far its work is moves when that does; of one that says nothing of it, that
 * it lives is all we know. */
static bool moves(const struct nx_stream *stream, const struct nx_session_message *message) {
  const struct nx_heartbeat *before = &stream->heartbeat, *now = &message->heartbeat;
  return message->kind != NX_SESSION_KIND_HEARTBEAT || !now->total || before->total != now->total ||
         before->done != now->done || before->round != now->round ||
         before->attempt != now->attempt;
}

static void note_moves(struct nx_coordinator *c, struct nx_stream *stream) {
  struct nx_error err = {0};
  nx_stream_moves(stream);
  if (c->run && nx_coordinator_lists(c, stream->member) &&
      nx_training_run_moved(c->run, stream->member, nx_clock_monotonic(), &err) < 0)
    nx_coordinator_fail(c, &err);
}

static void hear(struct nx_coordinator *c, struct nx_stream *stream,
                 const struct nx_session_message *message) {
  if (!stream->greeted) {
    greet(c, stream, message);
  } else if (message->kind == NX_SESSION_KIND_SIGNED) {
    hear_signed(c, stream->member, message->signed_message);
  } else if (message->kind == NX_SESSION_KIND_HEARTBEAT) {
    stream->heartbeat = message->heartbeat;
    if (!nx_session_is_busy(c, stream->member)) /* else it has enough to hear */
      nx_session_send_down(stream, message);
  } else if (message->kind == NX_SESSION_KIND_NOTICE) {
    NX_LOG(NX_LOG_INFO, "member.notice", NX_U64("member", stream->member),
           NX_STR("text", message->notice.text));
  }
}

static void arrive(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_session_message message;
  struct nx_error err = {0};
  if (atomic_load(&stream->closed) || atomic_load(&c->failed))
    return;
  if (stream->greeted && c->seats[stream->member] != stream)
    return; /* its seat was taken by a newer line */
  if (!nx_stream_is_welcome(stream))
    return;
  if (nx_arena_create(NX_SESSION_ARENA, &arena, &err) < 0 ||
      nx_session_up_decode(bytes, arena, &message, &err) < 0) {
    nx_stream_refuse(stream, &err);
    return;
  }
  c->last_seen[stream->member] = nx_clock_unix();
  if (stream->greeted && moves(stream, &message))
    note_moves(c, stream);
  hear(c, stream, &message);
  nx_progress_changed(c);
  nx_rpc_call_receive(stream->call);
}

static void leave(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  struct nx_error err = {0};
  (void)bytes;
  if (c->seats[stream->member] != stream)
    return;
  c->seats[stream->member] = NULL;
  nx_stream_unref(stream);
  NX_LOG(NX_LOG_INFO, "member.lost", NX_U64("member", stream->member));
  if (c->run && !atomic_load(&c->failed) && nx_coordinator_lists(c, stream->member) &&
      nx_training_run_lost(c->run, stream->member, nx_clock_monotonic(), &err) < 0)
    nx_coordinator_fail(c, &err);
  nx_progress_changed(c);
}

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_stream *stream = context;
  (void)call;
  nx_task_post(stream->coordinator->round_box, stream, message, arrive);
}

static void on_half_closed(void *context, struct nx_rpc_call *call) {
  (void)context;
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct nx_stream *stream = context;
  atomic_store(&stream->closed, true);
  nx_task_post(stream->coordinator->round_box, stream, nx_bytes(NULL, 0), leave);
  nx_stream_closed(context, call, status, text);
}

enum nx_rpc_status nx_session_open(void *context, struct nx_rpc_call *call,
                                   struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                   const char **text_out) {
  struct nx_stream *stream;
  enum nx_rpc_status status =
      nx_stream_admit(context, call, NX_METHOD_SESSION_OPEN, &stream, text_out);
  if (status != NX_RPC_OK)
    return status;
  *handlers_out = (struct nx_rpc_handlers){
      .on_message = on_message, .on_half_closed = on_half_closed, .on_closed = on_closed};
  *call_context_out = stream;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}
