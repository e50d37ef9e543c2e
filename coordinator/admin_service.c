/* Admin/…: people's verbs, on the round thread. Who may call which: admin/roles.c. */
#include <stdio.h>
#include <stdlib.h>

#include "common/plan.h"
#include "coordinator/admin/manifest.h"
#include "coordinator/coordinator_internal.h"
#include "coordinator/fitness.h"
#include "coordinator/run_model.h"
#include "proto/codec/manifest_chain.h"

/* Ends a call with the status as it is now, or with the error. */
static void answer_status(struct nx_coordinator *c, struct nx_stream *stream, int r,
                          struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_admin_status status = nx_progress_status(c);
  if (r == 0)
    r = nx_admin_status_encode(&status, &bytes, err);
  if (r < 0) {
    nx_stream_refuse(stream, err);
    return;
  }
  nx_stream_send(stream, &bytes);
  nx_rpc_call_finish(stream->call, NX_RPC_OK, NULL);
  nx_progress_changed(c);
}

static void give_status(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  struct nx_error err = {0};
  (void)bytes;
  answer_status(c, stream, 0, &err);
}

/* --- start ---------------------------------------------------------------------------- */

static int log_founders(struct nx_coordinator *c, struct nx_error *err) {
  const struct nx_manifest_revision founders = {.manifest = nx_buffer_view(&c->manifest),
                                                .signature = c->manifest_signature};
  return nx_manifest_chain_log(c->audit, &founders, 1, 0, err);
}

/* The first start seals the manifest; members fetch it by connecting again. */
static int seal_once(struct nx_coordinator *c, struct nx_error *err) {
  if (c->sealed)
    return 0;
  int r = nx_manifest_seal(c->federation, err);
  if (r < 0 || (r = nx_coordinator_read_manifest(c, err)) < 0)
    return r;
  NX_LOG(NX_LOG_INFO, "manifest.sealed", NX_U64("members", c->n_founders),
         NX_HASH("hash", c->manifest_hash.bytes));
  r = NX_AUDIT_APPEND(c->audit, err, "manifest.sealed",
                      NX_AUDIT_HASH("manifest", &c->manifest_hash),
                      NX_AUDIT_UINT("members", c->n_founders));
  if (r == 0)
    r = log_founders(c, err);
  nx_session_close_all(c, "the manifest of members was sealed: come back for it");
  for (uint32_t id = 1; id < 256; id++)
    nx_stream_unref(nx_steal(&c->seats[id]));
  return r;
}

/* A plan that could not run is refused before anything is sealed for it. */
static int check_plan(struct nx_coordinator *c, struct nx_bytes text, const struct nx_hash *hash,
                      struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  int r = nx_plan_parse("plan", text, &plan, err);
  if (r < 0)
    return r;
  pthread_mutex_lock(&c->directory_lock);
  size_t n = c->sealed ? c->n_founders : c->n_members;
  pthread_mutex_unlock(&c->directory_lock);
  r = nx_plan_check(plan, (uint32_t)n, err);
  return r < 0 ? r : nx_fitness_check(c, hash, plan->aggregation.minimum_members, err);
}

static int start(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes plan,
                 struct nx_error *err) {
  (void)stream;
  struct nx_hash hash = nx_sha256(plan.data, plan.size);
  int64_t now = nx_clock_monotonic();
  if (c->run && !nx_training_run_is_over(c->run)) {
    struct nx_run_status status;
    nx_training_run_status(c->run, &status);
    if (status.state == NX_RUN_PAUSED && nx_hash_equal(&status.plan, &hash))
      return nx_training_run_continue(c->run, now, err);
    return nx_fail(err, NX_E_STATE, "run %lld (%s) is under way: stop it first",
                   (long long)status.run, status.plan_name);
  }
  int r = check_plan(c, plan, &hash, err);
  if (r < 0 || (r = seal_once(c, err)) < 0)
    return r;
  nx_training_run_destroy(nx_steal(&c->run));
  struct nx_training_run_config config = nx_coordinator_run_config(c);
  if ((r = nx_training_run_start(&config, plan, now, &c->run, err)) < 0)
    return r;
  struct nx_run_status begun;
  nx_training_run_status(c->run, &begun);
  nx_fitness_ask(c, NULL, &hash, begun.plan_name);
  for (uint32_t id = 1; id < 256 && r == 0; id++)
    if (c->seats[id] && nx_coordinator_lists(c, id))
      r = nx_training_run_connected(c->run, id, now, err);
  return r;
}

/* --- submit --------------------------------------------------------------------------- */

/* Kept as written, and every member is told, now or when it connects: stewards can read it and
 * decide before anything is started. */
static int submit(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes text,
                  struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  struct nx_hash hash;
  int r = nx_plan_parse("plan", text, &plan, err);
  if (r < 0 || (r = nx_model_registry_put(&c->registry, text, &hash, err)) < 0 ||
      (r = nx_run_store_put_plan(c->federation->store, &hash, plan->name, text, nx_clock_unix(),
                                 err)) < 0 ||
      (r = NX_AUDIT_APPEND(c->audit, err, "plan.submitted", NX_AUDIT_HASH("plan", &hash),
                           NX_AUDIT_STR("name", plan->name),
                           NX_AUDIT_STR("role", nx_role_name(stream->role)),
                           NX_AUDIT_HASH("spki", &stream->spki))) < 0)
    return r;
  NX_LOG(NX_LOG_INFO, "plan.submitted", NX_STR("name", plan->name), NX_HASH("plan", hash.bytes),
         NX_STR("role", nx_role_name(stream->role)));
  nx_session_announce_plan(c, NULL, &hash, plan->name);
  nx_fitness_ask(c, NULL, &hash, plan->name);
  return 0;
}

/* --- requests that carry a plan ---------------------------------------------------------- */

static void take_plan(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes,
                      int (*act)(struct nx_coordinator *, struct nx_stream *, struct nx_bytes,
                                 struct nx_error *)) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_admin_start request;
  struct nx_error err = {0};
  int r = nx_arena_create(NX_ADMIN_ARENA, &arena, &err);
  if (r == 0)
    r = nx_admin_start_decode(bytes, arena, &request, &err);
  if (r == 0)
    r = act(c, stream, request.plan, &err);
  answer_status(c, stream, r, &err);
}

static void take_start(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  take_plan(c, stream, bytes, start);
}

static void take_submit(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  take_plan(c, stream, bytes, submit);
}

/* --- pause and stop --------------------------------------------------------------------- */

static int no_run(struct nx_coordinator *c, struct nx_error *err) {
  return c->run ? 0 : nx_fail(err, NX_E_STATE, "no run is under way");
}

static void take_pause(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  struct nx_error err = {0};
  (void)bytes;
  int r = no_run(c, &err);
  if (r == 0 && (r = nx_training_run_pause(c->run, &err)) == 0)
    nx_session_notify_all(c, NX_NOTICE_PAUSED, "the operator pauses the run after this round");
  answer_status(c, stream, r, &err);
}

static void take_stop(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  struct nx_error err = {0};
  (void)bytes;
  int r = no_run(c, &err);
  if (r == 0 && (r = nx_training_run_stop(c->run, nx_clock_monotonic(), &err)) == 0)
    nx_session_notify_all(c, NX_NOTICE_STOPPED, "the operator stops the run after this round");
  answer_status(c, stream, r, &err);
}

/* --- members -------------------------------------------------------------------------- */

static void fill_member(struct nx_coordinator *c, const struct nx_store_member *member,
                        const struct nx_fitness_plan *asked, struct nx_admin_member *out) {
  const struct nx_stream *seat = c->seats[member->id];
  *out = (struct nx_admin_member){.id = member->id,
                                  .state = member->revoked ? NX_MEMBER_REVOKED : NX_MEMBER_AWAY,
                                  .identity = member->identity,
                                  .spki = member->spki,
                                  .since = member->enrolled,
                                  .last_seen = c->last_seen[member->id],
                                  .last_round = c->last_round[member->id]};
  memcpy(out->name, member->name, sizeof out->name);
  if (asked) {
    const struct nx_fitness_answer *answer = &asked->answers[member->id];
    out->fit = answer->verdict, out->unmet = answer->unmet, out->counted = answer->counted;
    out->subjects = answer->subjects, out->recordings = answer->recordings;
  }
  if (!seat || member->revoked)
    return;
  out->state = seat->heartbeat.round ? NX_MEMBER_WORKING : NX_MEMBER_IDLE;
  out->done = seat->heartbeat.done;
  out->total = seat->heartbeat.total;
  memcpy(out->software, seat->software, sizeof out->software);
}

static void give_members(struct nx_coordinator *c, struct nx_stream *stream,
                         struct nx_bytes bytes) {
  _cleanup_free_ struct nx_admin_member *items = calloc(NX_STORE_MEMBERS, sizeof *items);
  _cleanup_(nx_buffer_finish) struct nx_buffer out = {0};
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_admin_members list = {.items = items};
  struct nx_admin_request request;
  struct nx_error err = {0};
  size_t n = 0;
  int r = items ? nx_arena_create(NX_ADMIN_ARENA, &arena, &err)
                : nx_fail(&err, NX_E_NOMEM, "list members");
  if (r == 0)
    r = nx_admin_request_decode(bytes, arena, &request, &err);
  if (r == 0) {
    char name[NX_STORE_NAME_SIZE] = "";
    list.plan = nx_hash_is_zero(&request.plan) ? nx_fitness_present(c, name) : request.plan;
    const struct nx_fitness_plan *asked = nx_fitness_of(c, &list.plan);
    snprintf(list.plan_name, sizeof list.plan_name, "%s", asked ? asked->name : name);
    pthread_mutex_lock(&c->directory_lock);
    for (; n < c->n_members; n++)
      fill_member(c, &c->members[n], asked, &items[n]);
    pthread_mutex_unlock(&c->directory_lock);
    list.n = n;
    r = nx_admin_members_encode(&list, &out, &err);
  }
  if (r < 0) {
    nx_stream_refuse(stream, &err);
    return;
  }
  nx_stream_send(stream, &out);
  nx_rpc_call_finish(stream->call, NX_RPC_OK, NULL);
}

static void begin_watch(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  (void)bytes;
  nx_progress_add_watcher(c, stream);
}

/* --- methods -------------------------------------------------------------------------- */

#define DEFINE_METHOD(name, method, task)                                                          \
  static void on_##name(void *context, struct nx_rpc_call *call, struct nx_bytes message) {        \
    struct nx_stream *stream = context;                                                            \
    (void)call;                                                                                    \
    nx_task_post(stream->coordinator->round_box, stream, message, task);                           \
  }                                                                                                \
  static enum nx_rpc_status open_##name(void *context, struct nx_rpc_call *call,                   \
                                        struct nx_rpc_handlers *handlers_out,                      \
                                        void **call_context_out, const char **text_out) {          \
    struct nx_stream *stream;                                                                      \
    enum nx_rpc_status status = nx_stream_admit(context, call, method, &stream, text_out);         \
    if (status != NX_RPC_OK)                                                                       \
      return status;                                                                               \
    *handlers_out =                                                                                \
        (struct nx_rpc_handlers){.on_message = on_##name, .on_closed = nx_stream_closed};          \
    *call_context_out = stream;                                                                    \
    nx_rpc_call_receive(call);                                                                     \
    return NX_RPC_OK;                                                                              \
  }

DEFINE_METHOD(start, NX_METHOD_ADMIN_START, take_start)
DEFINE_METHOD(submit, NX_METHOD_ADMIN_SUBMIT, take_submit)
DEFINE_METHOD(pause, NX_METHOD_ADMIN_PAUSE, take_pause)
DEFINE_METHOD(stop, NX_METHOD_ADMIN_STOP, take_stop)
DEFINE_METHOD(status, NX_METHOD_ADMIN_STATUS, give_status)
DEFINE_METHOD(members, NX_METHOD_ADMIN_MEMBERS, give_members)
DEFINE_METHOD(watch, NX_METHOD_ADMIN_WATCH, begin_watch)

const struct nx_rpc_method nx_admin_methods[] = {
    {NX_METHOD_ADMIN_SUBMIT, open_submit}, {NX_METHOD_ADMIN_START, open_start},
    {NX_METHOD_ADMIN_PAUSE, open_pause},   {NX_METHOD_ADMIN_STOP, open_stop},
    {NX_METHOD_ADMIN_STATUS, open_status}, {NX_METHOD_ADMIN_MEMBERS, open_members},
    {NX_METHOD_ADMIN_WATCH, open_watch},
};
const size_t nx_admin_n_methods = NX_ARRAY_LENGTH(nx_admin_methods);
