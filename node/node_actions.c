/* Actions: carries out what the participant decided, in order. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size.h"
#include "node/node_private.h"
#include "node/subject_records.h"

static struct nx_site_round round_of(const struct nx_participant_action *action) {
  struct nx_site_round round = {.round = action->round, .attempt = action->attempt};
  if (action->invite) {
    round.kind = (enum nx_round_kind)action->invite->parameters.kind;
    round.plan = action->invite->plan;
    round.model = action->invite->model;
  }
  return round;
}

static void drill_on_record(const struct nx_node *node, enum nx_drill when,
                            struct nx_bytes record) {
  const struct nx_node_options *options = &node->options;
  struct nx_participant_progress progress;
  nx_participant_progress(node->participant, &progress);
  if (options->drill != when || nx_participant_record_type(record) != options->drill_record ||
      NX_MAX(progress.round, progress.last_sealed) < options->drill_round)
    return;
  NX_LOG(NX_LOG_WARNING, "drill.kill", NX_STR("where", "journal"), NX_U64("round", progress.round));
  raise(SIGKILL);
}

static int persist(struct nx_node *node, const struct nx_participant_action *action,
                   struct nx_error *err) {
  drill_on_record(node, NX_DRILL_KILL_BEFORE, action->record);
  int r = action->replace ? nx_journal_restart(node->journal, action->record, err)
                          : nx_journal_append(node->journal, action->record, err);
  if (r == 0)
    drill_on_record(node, NX_DRILL_KILL_AFTER, action->record);
  return r;
}

/* ---- sending ------------------------------------------------------------------------------ */

static int audit_vote(struct nx_node *node, const struct nx_site_round *round, struct nx_bytes body,
                      struct nx_error *err) {
  struct nx_vote vote;
  int r = nx_vote_decode(body, node->arena, &vote, err);
  if (r < 0)
    return r;
  return nx_site_audit_vote(node->audit, round, vote.choice == NX_VOTE_COMMIT ? "commit" : "abort",
                            &vote.subject, err);
}

static int audit_release(struct nx_node *node, const struct nx_site_round *round,
                         struct nx_bytes body, struct nx_error *err) {
  struct nx_release release;
  int r = nx_release_decode(body, node->arena, &release, err);
  return r < 0 ? r : nx_site_audit_released(node->audit, round, release.n_b, release.n_s, err);
}

/* What is said is in the log before it is said. */
static int send(struct nx_node *node, const struct nx_participant_action *action,
                struct nx_error *err) {
  struct nx_site_round round = round_of(action);
  struct nx_signed_message message;
  if (action->round && action->round <= node->muted_round)
    return 0;
  int r = nx_signed_message_decode(action->message, node->arena, &message, err);
  if (r == 0 && message.type == NX_M7_VOTE)
    r = audit_vote(node, &round, message.body, err);
  else if (r == 0 && message.type == NX_M9_RELEASE)
    r = audit_release(node, &round, message.body, err);
  nx_arena_wipe(node->arena);
  if (r < 0)
    return r;
  struct nx_error unsent = {0};
  nx_egress_about(action->round, action->attempt);
  if (nx_session_send(node->session, action->message, &unsent) < 0)
    NX_LOG(NX_LOG_DEBUG, "message.dropped", NX_STR("why", unsent.text));
  nx_egress_about(0, 0);
  return 0;
}

/* ---- work ------------------------------------------------------------------------------------ */

static struct node_job *job_of(struct nx_node *node, enum node_job_kind kind,
                               const struct nx_participant_action *action, struct nx_error *err) {
  struct node_job *job = nx_node_job(node, kind);
  if (!job) {
    nx_fail(err, NX_E_NOMEM, "out of memory for a job");
    return NULL;
  }
  job->round = round_of(action);
  job->parameters = action->invite ? action->invite->parameters : action->parameters;
  job->variant = action->variant;
  job->n_invited = action->invite ? (uint32_t)action->invite->n_members : 0;
  job->bytes = action->bytes;
  job->t3 = action->t3;
  job->sum = action->sum;
  job->model = action->model;
  return job;
}

static int start(struct nx_node *node, enum node_job_kind kind,
                 const struct nx_participant_action *action, struct nx_error *err) {
  struct node_job *job = job_of(node, kind, action, err);
  return job ? nx_node_start(node, job, err) : NX_E_NOMEM;
}

/* The names of those invited: some a site may not want to train with. */
static int consider(struct nx_node *node, const struct nx_participant_action *action,
                    struct nx_error *err) {
  struct node_job *job = job_of(node, JOB_CONSIDER, action, err);
  if (!job)
    return NX_E_NOMEM;
  job->n_members = (uint32_t)node->pinned.manifest.n_members;
  job->cohort = calloc(action->invite->n_members, sizeof *job->cohort);
  if (!job->cohort) {
    job->job.destroy(&job->job);
    return nx_fail(err, NX_E_NOMEM, "out of memory for an invitation");
  }
  job->n_cohort = action->invite->n_members;
  for (size_t i = 0; i < job->n_cohort; i++) {
    const struct nx_manifest_member *member =
        nx_pinned_find(&node->pinned, action->invite->members[i]);
    if (member)
      snprintf(job->cohort[i], sizeof job->cohort[i], "%s", member->name);
  }
  return nx_node_start(node, job, err);
}

static int start_work(struct nx_node *node, const struct nx_participant_action *action,
                      struct nx_error *err) {
  struct nx_site_round round = round_of(action);
  int r = nx_site_audit_joined(node->audit, &round, action->invite->n_members, err);
  struct node_job *job = r < 0 ? NULL : job_of(node, JOB_MAKE, action, err);
  if (!job)
    return r < 0 ? r : NX_E_NOMEM;
  NX_LOG(NX_LOG_INFO, "round.joined", NX_U64("round", round.round),
         NX_U64("attempt", round.attempt), NX_STR("kind", nx_node_kind_name(round.kind)),
         NX_U64("members", action->invite->n_members), NX_HASH("model", round.model.bytes));
  job->generation = atomic_load(&node->work_generation);
  return nx_node_start(node, job, err);
}

static int mask(struct nx_node *node, struct nx_participant_action *action, struct nx_error *err) {
  struct node_job *job = job_of(node, JOB_MASK, action, err);
  if (!job)
    return NX_E_NOMEM;
  job->mask = nx_steal(&action->mask);
  job->parameters = action->parameters;
  return nx_node_start(node, job, err);
}

static int upload(struct nx_node *node, const struct nx_participant_action *action,
                  struct nx_error *err) {
  struct nx_signed_message message;
  struct nx_upload_header header;
  if (action->round <= node->muted_round)
    return 0;
  int r = nx_signed_message_decode(action->message, node->arena, &message, err);
  if (r == 0)
    r = nx_upload_header_decode(message.body, node->arena, &header, err);
  struct node_job *job = r < 0 ? NULL : job_of(node, JOB_UPLOAD, action, err);
  if (!job)
    return r < 0 ? r : NX_E_NOMEM;
  job->generation = atomic_load(&node->upload_generation);
  job->bytes = header.bytes;
  job->root = header.root;
  job->destination = node->pinned.manifest.coordinator_spki;
  nx_arena_wipe(node->arena);
  r = nx_buffer_append(&job->header, action->message.data, action->message.size, err);
  if (r < 0) {
    job->job.destroy(&job->job);
    return r;
  }
  return nx_node_start(node, job, err);
}

static int stop_upload(struct nx_node *node, const struct nx_participant_action *action) {
  char path[NX_PATH_SIZE];
  atomic_fetch_add(&node->upload_generation, 1);
  nx_node_spool_path(node, action->round, action->attempt, path);
  unlink(path);
  return 0;
}

static int check_result(struct nx_node *node, struct nx_participant_action *action,
                        struct nx_error *err) {
  struct node_job *job = job_of(node, JOB_CHECK, action, err);
  if (!job)
    return NX_E_NOMEM;
  job->mask = nx_steal(&action->mask);
  job->parameters = action->parameters;
  job->uploads = calloc(NX_MAX(action->n_uploads, (size_t)1), sizeof *job->uploads);
  job->tiles = calloc(NX_MAX(action->n_tiles, (size_t)1), sizeof *job->tiles);
  if (!job->uploads || !job->tiles) {
    job->job.destroy(&job->job);
    return nx_fail(err, NX_E_NOMEM, "out of memory for a check");
  }
  for (size_t i = 0; i < action->n_uploads; i++)
    job->uploads[i] =
        (struct nx_spot_member){.id = action->uploads[i].id, .root = action->uploads[i].root};
  memcpy(job->tiles, action->tiles, action->n_tiles * sizeof *job->tiles);
  job->n_uploads = action->n_uploads;
  job->n_tiles = action->n_tiles;
  return nx_node_start(node, job, err);
}

/* ---- ends --------------------------------------------------------------------------------------
 */

static int sealed(struct nx_node *node, const struct nx_participant_action *action,
                  struct nx_error *err) {
  struct nx_site_round round = round_of(action);
  NX_LOG(NX_LOG_INFO, "round.sealed", NX_U64("round", action->round),
         NX_U64("uploads", action->n_uploads), NX_HASH("model", action->model.bytes));
  int r = nx_site_audit_sealed(node->audit, &round, &action->model, err);
  if (r == 0)
    r = nx_subject_records_sealed(node->options.home, action->round, &action->model, err);
  if (r == 0)
    r = nx_node_tell_spent(node, &round, err);
  if (r == 0)
    r = nx_egress_close(node->egress, action->round, false, node->audit, err);
  if (r == 0)
    r = nx_audit_log_checkpoint(node->audit, err);
  return r < 0 ? r : start(node, JOB_ADOPT, action, err);
}

static int aborted(struct nx_node *node, const struct nx_participant_action *action,
                   struct nx_error *err) {
  struct nx_site_round round = round_of(action);
  const char *reason = action->reason ? action->reason : "";
  NX_LOG(NX_LOG_WARNING, "round.left", NX_U64("round", action->round),
         NX_U64("attempt", action->attempt), NX_STR("why", reason));
  int r = nx_site_audit_left(node->audit, &round, reason, err);
  return r < 0 ? r : nx_audit_log_checkpoint(node->audit, err);
}

static int evidence(struct nx_node *node, const struct nx_participant_action *action,
                    struct nx_error *err) {
  struct nx_site_round round = round_of(action);
  NX_LOG(NX_LOG_ERROR, "evidence.kept", NX_U64("round", action->round),
         NX_STR("kind", action->kind), NX_U64("member", action->member),
         NX_STR("why", action->reason));
  int r =
      nx_site_audit_evidence(node->audit, &round, action->kind, action->first, action->second, err);
  return r < 0 ? r : nx_audit_log_checkpoint(node->audit, err);
}

/* What happens in every round is for those who look for it. */
static void note(const struct nx_participant_action *action) {
  static const char *const ordinary[] = {"uploaded", "stale", "restored"};
  enum nx_log_level level = NX_LOG_INFO;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ordinary); i++)
    if (!strcmp(action->kind, ordinary[i]))
      level = NX_LOG_DEBUG;
  NX_LOG(level, "note", NX_STR("kind", action->kind), NX_U64("round", action->round),
         NX_STR("why", action->reason));
}

static int carry_out(struct nx_node *node, struct nx_participant_action *action,
                     struct nx_error *err) {
  switch (action->type) {
  case NX_PARTICIPANT_PERSIST:
    return persist(node, action, err);
  case NX_PARTICIPANT_SEND:
    return send(node, action, err);
  case NX_PARTICIPANT_SET_DEADLINE:
    node->deadline = action->at;
    return 0;
  case NX_PARTICIPANT_CONSIDER:
    return consider(node, action, err);
  case NX_PARTICIPANT_START_WORK:
    return start_work(node, action, err);
  case NX_PARTICIPANT_STOP_WORK:
    atomic_fetch_add(&node->work_generation, 1);
    return 0;
  case NX_PARTICIPANT_MASK:
    return mask(node, action, err);
  case NX_PARTICIPANT_CHARGE:
    return nx_node_charge(node, action, err);
  case NX_PARTICIPANT_REFUND:
    return nx_node_refund(node, action, err);
  case NX_PARTICIPANT_UPLOAD:
    return upload(node, action, err);
  case NX_PARTICIPANT_STOP_UPLOAD:
    return stop_upload(node, action);
  case NX_PARTICIPANT_CHECK_RESULT:
    return check_result(node, action, err);
  case NX_PARTICIPANT_SEALED:
    return sealed(node, action, err);
  case NX_PARTICIPANT_ABORTED:
    return aborted(node, action, err);
  case NX_PARTICIPANT_EVIDENCE:
    return evidence(node, action, err);
  case NX_PARTICIPANT_NOTE:
    note(action);
    return 0;
  }
  return nx_fail(err, NX_E_STATE, "action %d of the participant is not known", (int)action->type);
}

int nx_node_carry_out(struct nx_node *node, struct nx_error *err) {
  int r = 0;
  for (size_t i = 0; r == 0 && i < node->actions.n; i++)
    r = carry_out(node, &node->actions.items[i], err);
  nx_participant_actions_reset(&node->actions);
  return r;
}
