/* Events: what comes through the mailbox becomes events of the participant. Messages wait
 * (are held) while the plan they need, or a model that was missed, is being fetched. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size.h"
#include "crypto/threshold.h"
#include "node/node_private.h"

void nx_node_message_destroy(void *memory) {
  struct node_message *message = memory;
  if (!message)
    return;
  nx_buffer_finish(&message->bytes);
  nx_buffer_finish(&message->chain);
  for (size_t i = 0; i < message->n_seals; i++)
    nx_buffer_finish(&message->seals[i]);
  free(message->seals);
  if (message->job)
    message->job->destroy(message->job);
  free(message);
}

/* ---- the participant ------------------------------------------------------------------------- */

static void update_hello(struct nx_node *node) {
  struct nx_participant_progress progress;
  nx_participant_progress(node->participant, &progress);
  pthread_mutex_lock(&node->lock_hello);
  node->hello_sealed = progress.last_sealed;
  node->hello_model = progress.model;
  pthread_mutex_unlock(&node->lock_hello);
  bool busy = progress.round != 0 || node->holding != 0;
  if (busy)
    node->idle_since = NX_NEVER;
  else if (node->idle_since == NX_NEVER)
    node->idle_since = nx_clock_monotonic();
}

int nx_node_feed(struct nx_node *node, const struct nx_participant_event *event,
                 struct nx_error *err) {
  if (!node->participant)
    return 0;
  int r = nx_participant_step(node->participant, event, nx_clock_monotonic(), &node->actions, err);
  if (r == 0)
    r = nx_node_carry_out(node, err);
  else
    nx_participant_actions_reset(&node->actions);
  update_hello(node);
  return r;
}

static int restore(struct nx_node *node, struct nx_error *err) {
  struct nx_participant_progress progress;
  struct nx_bytes *records = calloc(node->n_records + 1, sizeof *records);
  if (!records)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the journal");
  for (size_t i = 0; i < node->n_records; i++)
    records[i] = nx_buffer_view(&node->records[i]);
  struct nx_participant_event event = {.type = NX_PARTICIPANT_RESTORE,
                                       .records = records,
                                       .n_records = node->n_records,
                                       .torn = node->journal_torn};
  int r = node->n_records ? nx_node_feed(node, &event, err) : 0;
  free(records);
  nx_participant_progress(node->participant, &progress);
  node->next_retention = 0; /* now it is known which model stays */
  if (r == 0 && node->journal_torn) {
    node->muted_round = progress.last_sealed + 1;
    NX_LOG(NX_LOG_WARNING, "journal.torn", NX_U64("silent_through_round", node->muted_round));
  }
  return r;
}

static int create_participant(struct nx_node *node, struct nx_error *err) {
  const struct nx_manifest *manifest = &node->pinned.manifest;
  node->members = calloc(manifest->n_members, sizeof *node->members);
  if (!node->members)
    return nx_fail(err, NX_E_NOMEM, "out of memory for %zu members", manifest->n_members);
  for (size_t i = 0; i < manifest->n_members; i++)
    node->members[i] = (struct nx_participant_member){.id = manifest->members[i].id,
                                                      .key = manifest->members[i].identity,
                                                      .spki = manifest->members[i].spki};
  node->participant_config = (struct nx_participant_config){
      .id = node->federation->member,
      .manifest = node->pinned.hash,
      .members = node->members,
      .n_members = manifest->n_members,
      .coordinator_key = manifest->coordinator,
      .coordinator_spki = manifest->coordinator_spki,
      .identity = node->identity,
      .entropy = &nx_entropy_system,
      .minimum_members = NX_MEMBERS_MIN, /* site_gate.h asks for more */
      .spot_checks = 4};
  memcpy(node->participant_config.federation, node->federation_id, sizeof node->federation_id);
  int r = nx_participant_create(&node->participant_config, &node->participant, err);
  return r < 0 ? r : restore(node, err);
}

/* ---- who is in ------------------------------------------------------------------------------- */

static void show_members(const struct nx_node *node) {
  char fingerprint[NX_FINGERPRINT_SIZE];
  for (size_t i = 0; i < node->pinned.manifest.n_members; i++) {
    const struct nx_manifest_member *member = &node->pinned.manifest.members[i];
    nx_member_fingerprint(&member->identity, &member->spki, fingerprint);
    NX_LOG(NX_LOG_INFO, "member.pinned", NX_U64("id", member->id), NX_STR("name", member->name),
           NX_STR("fingerprint", fingerprint));
  }
}

/* 0 with the list in node->pinned, or NX_PINNED_WAITING. */
static int pin(struct nx_node *node, const struct node_message *message, struct nx_error *err) {
  _cleanup_(nx_identity_destroyp) struct nx_identity *next = NULL;
  const struct nx_pinned_shown shown = {.manifest = nx_buffer_view(&message->bytes),
                                        .chain = nx_buffer_view(&message->chain),
                                        .signature = message->manifest_signature};
  struct nx_pinned_expected expected = {.coordinator = node->coordinator,
                                        .coordinator_spki = message->spki,
                                        .member = node->federation->member,
                                        .key = *nx_identity_public(node->identity),
                                        .spki = node->spki};
  char path[NX_PATH_SIZE];
  memcpy(expected.federation, node->federation_id, sizeof node->federation_id);
  if (nx_home_identity(node->options.home, NX_HOME_NEXT_IDENTITY, &node->unlock, &next, NULL) == 0)
    expected.next_key = nx_identity_public(next);
  nx_pinned_finish(&node->pinned);
  int r = nx_path_join(path, node->options.home, NX_HOME_MANIFEST, err);
  if (r == 0)
    r = nx_pinned_see(path, &expected, &shown, node->audit, &node->pinned, err);
  if (r <= 0 || r == NX_PINNED_WAITING)
    return r;
  show_members(node);
  nx_node_forget_proposal(node);
  const struct nx_public_key *mine =
      &nx_pinned_find(&node->pinned, node->federation->member)->identity;
  /* A participant knows one list and one key for its whole life. */
  node->again = node->stop =
      node->participant || memcmp(mine, &expected.key, sizeof expected.key) != 0;
  return nx_site_audit_pinned(node->audit, &node->pinned.hash, node->pinned.manifest.n_members,
                              err);
}

/* ---- catching up ------------------------------------------------------------------------------
 */

/* A round was sealed while this node was away: enough members vouch for its model? */
static int catch_up(struct nx_node *node, const struct node_message *message,
                    struct nx_error *err) {
  struct nx_participant_progress progress;
  struct nx_error why = {0};
  nx_participant_progress(node->participant, &progress);
  if (message->last_sealed <= progress.last_sealed)
    return 0;
  struct nx_bytes *seals = calloc(message->n_seals + 1, sizeof *seals);
  if (!seals)
    return nx_fail(err, NX_E_NOMEM, "out of memory for seals");
  for (size_t i = 0; i < message->n_seals; i++)
    seals[i] = nx_buffer_view(&message->seals[i]);
  int r = nx_seals_check(&node->participant_config, message->last_sealed, &message->model, seals,
                         message->n_seals, &why);
  free(seals);
  if (r < 0) {
    NX_LOG(NX_LOG_WARNING, "catch_up.refused", NX_U64("round", message->last_sealed),
           NX_STR("why", why.text));
    return 0;
  }
  struct node_job *job = nx_node_job(node, JOB_CATCH_UP);
  if (!job)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a job");
  job->round.round = message->last_sealed;
  job->round.model = message->model;
  node->holding++;
  return nx_node_start(node, job, err);
}

static int on_connected(struct nx_node *node, const struct node_message *message,
                        struct nx_error *err) {
  NX_LOG(NX_LOG_INFO, "coordinator.connected", NX_U64("last_sealed", message->last_sealed));
  nx_egress_destination(node->egress, &message->spki);
  node->announced_plan = message->plan;
  node->announced_first = message->first_round;
  node->hub_hears = message->hears;
  node->next_tell = 0;
  if (!message->bytes.size) {
    NX_LOG(NX_LOG_INFO, "federation.waiting",
           NX_STR("for", "the operator to start the first plan: members may still enrol"));
    return 0;
  }
  node->sent_answer = (struct nx_hash){0};
  node->sent_new_key = false;
  node->next_members = 0;
  int r = pin(node, message, err);
  if (r == NX_PINNED_WAITING) {
    NX_LOG(NX_LOG_INFO, "federation.waiting",
           NX_STR("for", "the members to accept this site into their list"));
    return 0;
  }
  if (r < 0 || node->again)
    return r;
  if (r == 0 && !node->participant)
    r = create_participant(node, err);
  if (r == 0)
    r = catch_up(node, message, err);
  return r < 0 ? r
               : nx_node_feed(node, &(struct nx_participant_event){NX_PARTICIPANT_CONNECTED}, err);
}

/* ---- messages
 * ------------------------------------------------------------------------------------ */

static int feed_message(struct nx_node *node, const struct node_message *message,
                        struct nx_error *err) {
  struct nx_participant_event event = {.type = NX_PARTICIPANT_MESSAGE,
                                       .message = nx_buffer_view(&message->bytes)};
  return nx_node_feed(node, &event, err);
}

/* Is it an honest invitation? Then what it says, until the node's arena is wiped. */
static bool read_invite(struct nx_node *node, const struct node_message *message,
                        struct nx_invite *invite) {
  struct nx_signed_message signed_message;
  return nx_signed_message_decode(nx_buffer_view(&message->bytes), node->arena, &signed_message,
                                  NULL) == 0 &&
         signed_message.type == NX_M0_INVITE && signed_message.signer == NX_COORDINATOR &&
         nx_signed_message_verify(&signed_message, &node->coordinator, NULL) == 0 &&
         nx_invite_decode(signed_message.body, node->arena, invite, NULL) == 0;
}

/* A plan that is not here yet, or that begins anew. */
static bool wants_plan(const struct nx_node *node, const struct nx_invite *invite) {
  if (!node->is_prepared || !nx_hash_equal(&node->prepared, &invite->plan))
    return true;
  return invite->parameters.kind == NX_ROUND_STATISTICS && node->prepared_round != invite->round;
}

/* Rounds were sealed without this node while it was connected: it had refused them, or could
 * not finish its check in time. */
static bool must_catch_up(const struct nx_node *node, const struct nx_invite *invite) {
  struct nx_participant_progress progress;
  nx_participant_progress(node->participant, &progress);
  return invite->round > NX_MAX(progress.round, progress.last_sealed) &&
         !nx_hash_equal(&progress.model, &invite->model) && node->redialled_round != invite->round;
}

static int start_prepare(struct nx_node *node, const struct nx_invite *invite,
                         struct nx_error *err) {
  struct node_job *job = nx_node_job(node, JOB_PREPARE);
  if (!job)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a job");
  job->round = (struct nx_site_round){.round = invite->round,
                                      .attempt = invite->attempt,
                                      .kind = (enum nx_round_kind)invite->parameters.kind,
                                      .plan = invite->plan,
                                      .model = invite->model};
  job->n_members = (uint32_t)node->pinned.manifest.n_members;
  if (nx_hash_equal(&node->announced_plan, &invite->plan) && node->announced_first <= invite->round)
    job->first_round = node->announced_first;
  node->holding++;
  return nx_node_start(node, job, err);
}

static int hold(struct nx_node *node, struct node_message *message, struct nx_error *err) {
  struct node_message **held = realloc(node->held, (node->n_held + 1) * sizeof *held);
  if (!held) {
    nx_node_message_destroy(message);
    return nx_fail(err, NX_E_NOMEM, "out of memory for messages");
  }
  node->held = held;
  node->held[node->n_held++] = message;
  return 0;
}

static void drill_on_bundle(struct nx_node *node, const struct node_message *message) {
  struct nx_participant_progress progress;
  struct nx_signed_message bundle;
  if (node->options.drill != NX_DRILL_KILL_AFTER_SHARES)
    return;
  nx_participant_progress(node->participant, &progress);
  if (progress.round == node->options.drill_round &&
      nx_signed_message_decode(nx_buffer_view(&message->bytes), node->arena, &bundle, NULL) == 0 &&
      bundle.type == NX_M4_BUNDLE) {
    NX_LOG(NX_LOG_WARNING, "drill.kill", NX_STR("where", "after-shares"),
           NX_U64("round", progress.round));
    raise(SIGKILL);
  }
}

/* The coordinator is told which rule keeps this node out of an attempt. */
static int refuse(struct nx_node *node, uint64_t round, uint32_t attempt, const char *reason,
                  struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, message = {0};
  struct nx_refusal refusal = {.round = round, .attempt = attempt, .code = NX_REFUSAL_INVITE};
  snprintf(refusal.reason, sizeof refusal.reason, "%s", reason);
  NX_LOG(NX_LOG_WARNING, "round.refused", NX_U64("round", round), NX_STR("why", reason));
  int r = nx_refusal_encode(&refusal, &body, err);
  if (r == 0)
    r = nx_signed_message_make(node->identity, node->federation->member, NX_MESSAGE_REFUSAL,
                               nx_buffer_view(&body), nx_bytes("", 0), &message, err);
  nx_egress_about(round, attempt);
  if (r == 0)
    nx_session_send(node->session, nx_buffer_view(&message), NULL);
  nx_egress_about(0, 0);
  return r;
}

static int on_invite(struct nx_node *node, struct node_message *message,
                     const struct nx_invite *invite, struct nx_error *err) {
  if (invite->round <= node->muted_round) {
    nx_node_message_destroy(message);
    return refuse(node, invite->round, invite->attempt,
                  "this node's journal was torn: it keeps out of this round", err);
  }
  if (wants_plan(node, invite)) {
    int r = start_prepare(node, invite, err);
    if (r == 0)
      return hold(node, message, err);
    nx_node_message_destroy(message);
    return r;
  }
  int r = 0;
  if (must_catch_up(node, invite)) {
    node->redialled_round = invite->round; /* the coordinator invites again */
    nx_session_redial(node->session);
  } else {
    r = feed_message(node, message, err);
  }
  nx_node_message_destroy(message);
  return r;
}

/* Takes the message over. */
static int on_message(struct nx_node *node, struct node_message *message, struct nx_error *err) {
  struct nx_invite invite;
  int r = nx_node_hear_members(node, message, err);
  nx_arena_wipe(node->arena);
  if (r || !node->participant) {
    nx_node_message_destroy(message);
    return r < 0 ? r : 0;
  }
  drill_on_bundle(node, message);
  if (node->holding)
    return hold(node, message, err);
  if (read_invite(node, message, &invite)) {
    r = on_invite(node, message, &invite, err);
  } else {
    r = feed_message(node, message, err);
    nx_node_message_destroy(message);
  }
  nx_arena_wipe(node->arena);
  return r;
}

/* Nothing is awaited any more: what was held is looked at again, in order. */
static int let_go(struct nx_node *node, bool without_first, struct nx_error *err) {
  struct node_message **held = nx_steal(&node->held);
  size_t n = node->n_held;
  int r = 0;
  node->n_held = 0;
  for (size_t i = 0; i < n; i++) {
    if (r < 0 || (i == 0 && without_first))
      nx_node_message_destroy(held[i]);
    else
      r = on_message(node, held[i], err);
  }
  free(held);
  return r;
}

/* ---- plans
 * ------------------------------------------------------------------------------------------ */

/* The attempt that this node is in, if any, is an earlier one: a run that was stopped. */
static bool goes_beyond(const struct nx_site_round *invited,
                        const struct nx_participant_progress *progress) {
  return invited->round > progress->round ||
         (invited->round == progress->round && invited->attempt > progress->attempt);
}

static int on_prepared(struct nx_node *node, const struct node_job *job, struct nx_error *err) {
  struct nx_participant_progress progress;
  node->holding--;
  if (job->code < 0) {
    node->is_prepared = false;
    int r = job->code == NX_E_CANCELLED
                ? 0
                : refuse(node, job->round.round, job->round.attempt, job->err.text, err);
    return r < 0 ? r : let_go(node, true, err);
  }
  node->is_prepared = true;
  node->prepared = job->round.plan;
  node->prepared_round = job->round.round;
  nx_participant_set_spot_checks(node->participant, job->spot_checks);
  nx_participant_progress(node->participant, &progress);
  int r = 0;
  if (nx_hash_equal(&job->model, &job->round.model) &&
      !nx_hash_equal(&progress.model, &job->model) && goes_beyond(&job->round, &progress)) {
    NX_LOG(NX_LOG_INFO, "plan.begins", NX_U64("round", job->round.round),
           NX_HASH("plan", job->round.plan.bytes), NX_HASH("model", job->model.bytes));
    struct nx_participant_event event = {
        .type = NX_PARTICIPANT_CAUGHT_UP, .round = progress.last_sealed, .model = job->model};
    r = nx_node_feed(node, &event, err);
  }
  return r < 0 ? r : let_go(node, false, err);
}

static int on_caught_up(struct nx_node *node, const struct node_job *job, struct nx_error *err) {
  struct nx_participant_event event = {
      .type = NX_PARTICIPANT_CAUGHT_UP, .round = job->round.round, .model = job->round.model};
  int r = 0;
  node->holding--;
  if (job->code < 0)
    NX_LOG(NX_LOG_WARNING, "catch_up.failed", NX_STR("why", job->err.text));
  else {
    NX_LOG(NX_LOG_INFO, "catch_up.done", NX_U64("round", job->round.round),
           NX_HASH("model", job->round.model.bytes));
    r = nx_node_feed(node, &event, err);
  }
  return r < 0 || node->holding ? r : let_go(node, false, err);
}

static int on_job(struct nx_node *node, struct node_message *message, struct nx_error *err) {
  struct node_job *job = (struct node_job *)message->job;
  if (job->kind == JOB_PREPARE)
    return on_prepared(node, job, err);
  if (job->kind == JOB_CATCH_UP)
    return on_caught_up(node, job, err);
  if (job->kind == JOB_ANSWER)
    return nx_node_answered(node, job, err);
  return nx_node_job_done(node, job, err);
}

/* ---- all
 * ---------------------------------------------------------------------------------------------- */

/* "plan <64 hex digits> …": one that was submitted. NX_E_NOT_FOUND: it tells of none. */
static int plan_told(const char *text, struct nx_hash *plan_out) {
  char hex[NX_HASH_HEX_SIZE];
  if (strncmp(text, "plan ", 5) || strlen(text + 5) < sizeof hex)
    return NX_E_NOT_FOUND;
  snprintf(hex, sizeof hex, "%s", text + 5);
  return nx_hash_from_hex(hex, plan_out, NULL);
}

static bool has_plan(const struct nx_node *node, const struct nx_hash *plan) {
  char name[NX_HASH_HEX_SIZE + 8] = NX_HOME_PLANS "/", path[NX_PATH_SIZE];
  nx_hash_hex(plan, name + strlen(name));
  return nx_path_join(path, node->options.home, name, NULL) == 0 && nx_path_exists(path);
}

static int on_notice(struct nx_node *node, const struct node_message *message,
                     struct nx_error *err) {
  struct nx_hash plan;
  if (plan_told(message->text, &plan) == 0) {
    struct node_job *job = has_plan(node, &plan) ? NULL : nx_node_job(node, JOB_FETCH_PLAN);
    if (!job)
      return 0;
    job->round.plan = plan;
    if (!node->participant)
      node->idle_since = nx_clock_monotonic();
    return nx_node_start(node, job, err);
  }
  NX_LOG(NX_LOG_INFO, "coordinator.says", NX_STR("text", message->text));
  if (message->notice == NX_NOTICE_STOPPED && node->idle_since != NX_NEVER)
    node->idle_since = 0; /* long enough: let the memory go now */
  return 0;
}

int nx_node_handle(struct nx_node *node, struct node_message *message, struct nx_error *err) {
  int r = 0;
  switch (message->kind) {
  case NODE_MESSAGE:
    return on_message(node, message, err);
  case NODE_CONNECTED:
    r = on_connected(node, message, err);
    break;
  case NODE_NOTICE:
    r = on_notice(node, message, err);
    nx_node_heard(node, &message->heard);
    if (r == 0 && !nx_hash_is_zero(&message->asks))
      r = nx_node_asked(node, &message->asks, err);
    break;
  case NODE_DISCONNECTED:
    NX_LOG(NX_LOG_INFO, "coordinator.lost", NX_STR("why", message->text));
    r = nx_node_feed(node, &(struct nx_participant_event){NX_PARTICIPANT_DISCONNECTED}, err);
    break;
  case NODE_REFUSED:
    r = nx_fail(err, NX_E_DENIED, "the coordinator at %s refuses this node: %s",
                node->config->coordinator, message->text);
    break;
  case NODE_JOB_DONE:
    r = on_job(node, message, err);
    break;
  case NODE_RENEW:
    node->renew_at = nx_clock_monotonic();
    break;
  case NODE_LOOK:
    r = nx_site_gate_look(node->gate, true, nx_buffer_view(&node->certificate), err);
    break;
  case NODE_RENEWED:
    r = nx_node_renewed(node, message, err);
    break;
  case NODE_STOP:
    node->stop = true;
    break;
  }
  nx_node_message_destroy(message);
  return r;
}
