/* Carrying out what the round core asks for. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size.h"
#include "coordinator/training_run_internal.h"
#include "crypto/replay.h"

#define EVIDENCE_WHOLE 65536 /* larger messages go into the audit log by their hash */

static int persist(struct nx_training_run *run, const struct nx_round_action *action,
                   struct nx_error *err) {
  struct nx_store_record record = {.round = run->round,
                                   .attempt = run->attempt,
                                   .kind = action->record_kind,
                                   .body = action->record};
  return nx_run_store_append_record(run->config.federation->store, &record, err);
}

/* Uploads of members that are not in U3 are not wanted by anyone any more. */
static int close_uploads(struct nx_training_run *run, const struct nx_round_action *action,
                         struct nx_error *err) {
  uint8_t members[NX_STORE_MEMBERS];
  size_t n = 0;
  for (; n < action->n_members && n < NX_STORE_MEMBERS; n++)
    members[n] = (uint8_t)action->members[n];
  int r = nx_ring_sum_settle(run->sum, members, n, err);
  return r < 0 ? r : nx_upload_spool_keep_only(&run->spool, members, n, err);
}

static struct nx_audit_field evidence_field(const char *name, struct nx_bytes message,
                                            struct nx_hash *hash) {
  if (message.size <= EVIDENCE_WHOLE)
    return NX_AUDIT_DATA(name, message.data, message.size);
  *hash = nx_sha256(message.data, message.size);
  return NX_AUDIT_HASH(name, hash);
}

static int record_evidence(struct nx_training_run *run, const struct nx_round_action *action,
                           struct nx_error *err) {
  char kind[64];
  struct nx_hash first, second;
  snprintf(kind, sizeof kind, "evidence.%s", action->kind);
  nx_training_run_note(run, "%s, member %u: %s", kind, action->member, action->reason);
  NX_LOG(NX_LOG_WARNING, kind, NX_U64("round", run->round), NX_U64("attempt", run->attempt),
         NX_U64("member", action->member), NX_STR("why", action->reason));
  return NX_AUDIT_APPEND(
      run->config.audit, err, kind, NX_AUDIT_UINT("round", run->round),
      NX_AUDIT_UINT("attempt", run->attempt), NX_AUDIT_UINT("member", action->member),
      NX_AUDIT_STR("why", action->reason), evidence_field("first", action->first, &first),
      evidence_field("second", action->second, &second));
}

/* The set is certified: from here on these uploads and no others may be opened. */
static int commit(struct nx_training_run *run, struct nx_round_action *action,
                  struct nx_error *err) {
  struct nx_opened_attempt *opening = &run->opening;
  *opening = (struct nx_opened_attempt){
      .round = run->round, .attempt = run->attempt, .t3 = action->t3, .spool = run->spool};
  for (size_t i = 0; i < action->n_uploads && i < NX_STORE_MEMBERS; i++)
    opening->members[opening->n_members++] = (uint8_t)action->uploads[i].id;
  run->mask = nx_steal(&action->mask);
  return NX_AUDIT_APPEND(run->config.audit, err, "round.committed",
                         NX_AUDIT_UINT("round", run->round), NX_AUDIT_UINT("attempt", run->attempt),
                         NX_AUDIT_HASH("t3", &opening->t3),
                         NX_AUDIT_DATA("survivors", opening->members, opening->n_members));
}

/* Who is left out although its line is up, and why, stands in both logs. */
static int note_still(struct nx_training_run *run, const struct nx_round_action *action,
                      struct nx_error *err) {
  run->still[action->member & 0xff] = true;
  NX_LOG(NX_LOG_WARNING, "member.still", NX_U64("round", run->round),
         NX_U64("attempt", run->attempt), NX_U64("member", action->member),
         NX_STR("why", action->reason));
  return NX_AUDIT_APPEND(run->config.audit, err, "member.still", NX_AUDIT_UINT("round", run->round),
                         NX_AUDIT_UINT("attempt", run->attempt),
                         NX_AUDIT_UINT("member", action->member),
                         NX_AUDIT_STR("why", action->reason));
}

static void note_moves(struct nx_training_run *run, const struct nx_round_action *action) {
  run->still[action->member & 0xff] = false;
  NX_LOG(NX_LOG_INFO, "member.moves", NX_U64("round", run->round),
         NX_U64("member", action->member));
}

static int note(struct nx_training_run *run, const struct nx_round_action *action,
                struct nx_error *err) {
  /* What a member said against the protocol is the operator's to know; the rest is for us. */
  bool bad = !strncmp(action->kind, "bad-", 4);
  NX_LOG(bad ? NX_LOG_WARNING : NX_LOG_DEBUG, action->kind, NX_U64("round", run->round),
         NX_U64("attempt", run->attempt), NX_U64("member", action->member),
         NX_STR("why", action->reason));
  bool ordinary = !action->reason[0] || !strcmp(action->kind, "late");
  if (!ordinary)
    nx_training_run_note(run, "%s, member %u: %s", action->kind, action->member, action->reason);
  if (!strcmp(action->kind, "moves"))
    note_moves(run, action);
  return strcmp(action->kind, "still") ? 0 : note_still(run, action, err);
}

/* What waits in a line may be large, and is there in full or not at all: it comes before whatever
 * would be said after it, so that saying it again can wait. */
static int send(struct nx_training_run *run, const struct nx_round_action *action,
                struct nx_error *err) {
  const struct nx_training_run_config *config = &run->config;
  _cleanup_(nx_buffer_finish) struct nx_buffer bundle = {0};
  struct nx_outgoing outgoing = {action->member, action->message, action->common};
  if (action->again && config->busy && config->busy(config->context, action->member))
    return 0;
  if (action->type == NX_ROUND_SEND_BUNDLE) {
    int r = nx_round_bundle(run->core, action->member, &bundle, err);
    if (r < 0)
      return r;
    outgoing.message = nx_buffer_view(&bundle);
  }
  config->send(config->context, &outgoing);
  return 0;
}

int nx_training_run_carry_out(struct nx_training_run *run, struct nx_round_action *action,
                              int64_t now, struct nx_error *err) {
  switch (action->type) {
  case NX_ROUND_PERSIST:
    return persist(run, action, err);
  case NX_ROUND_SEND:
  case NX_ROUND_SEND_BUNDLE:
    return send(run, action, err);
  case NX_ROUND_SET_DEADLINE:
    run->core_deadline = action->at;
    return 0;
  case NX_ROUND_OPEN_UPLOADS:
    return 0; /* each is asked for with nx_round_check_upload() */
  case NX_ROUND_CLOSE_UPLOADS:
    return close_uploads(run, action, err);
  case NX_ROUND_UNMASK:
    return commit(run, action, err);
  case NX_ROUND_EVIDENCE:
    return record_evidence(run, action, err);
  case NX_ROUND_NOTE:
    return note(run, action, err);
  case NX_ROUND_FINISHED:
    return nx_training_run_finish_attempt(run, action, now, err);
  }
  return nx_fail(err, NX_E_STATE, "the round core asked for something unknown");
}

/* --- opening the sum ------------------------------------------------------------------ */

int nx_training_run_measure(struct nx_training_run *run, struct nx_error *err) {
  size_t n = run->aux.size / 8;
  _cleanup_free_ uint64_t *aux = calloc(n + 1, sizeof *aux);
  if (!aux)
    return nx_fail(err, NX_E_NOMEM, "metrics");
  for (size_t i = 0; i < n; i++)
    aux[i] = nx_load_le64(run->aux.data + 8 * i);
  struct nx_run_metrics fresh = nx_run_metrics(aux, n);
  if (!fresh.train_windows)
    fresh.train_loss = run->metrics.train_loss; /* an evaluation trains nothing */
  run->metrics = fresh;
  return 0;
}

static int keep_aux(struct nx_training_run *run, struct nx_error *err) {
  int r = 0;
  run->aux.size = 0;
  for (size_t i = 0; i < run->spool.layout.n_aux && r == 0; i++)
    r = nx_buffer_append_u64(&run->aux, nx_ring_sum_aux(run->sum)[i], err);
  return r < 0 ? r : nx_training_run_measure(run, err);
}

/* The sum's bytes and the model it leads to, both in the registry. */
static int publish(struct nx_training_run *run, struct nx_hash *sum_out, uint64_t *bytes_out,
                   struct nx_hash *model_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer sum = {.cap = NX_BLOB_CAP};
  int r = nx_ring_sum_bytes(run->sum, &sum, err);
  if (r < 0 ||
      (r = nx_model_registry_put(run->config.registry, nx_buffer_view(&sum), sum_out, err)) < 0 ||
      (r = keep_aux(run, err)) < 0)
    return r;
  *bytes_out = sum.size;
  nx_buffer_finish(&sum);
  nx_model_destroy(nx_steal(&run->advanced));
  if ((r = nx_model_clone(run->model, &run->advanced, err)) < 0 ||
      (r = nx_model_advance(run->advanced, &run->row.model_hash, run->plan,
                            nx_training_run_kind(run), &run->spool.layout,
                            nx_ring_sum_lanes(run->sum), nx_ring_sum_aux(run->sum), err)) < 0)
    return r;
  return nx_model_publish(run->advanced, run->config.registry, model_out, err);
}

/* So that an auditor can add the uploads up once more, as long as they are kept. */
static int keep_for_replay(const struct nx_training_run *run, const struct nx_hash *sum,
                           struct nx_error *err) {
  const struct nx_opened_attempt *opening = &run->opening;
  struct nx_replay replay = {.round = opening->round,
                             .attempt = opening->attempt,
                             .layout = opening->spool.layout,
                             .t3 = opening->t3,
                             .sum = *sum,
                             .n_members = opening->n_members};
  int r = 0;
  if (run->config.federation->config->keep_uploads != NX_KEEP_RUN)
    return 0;
  for (size_t i = 0; r == 0 && i < opening->n_members; i++) {
    replay.members[i].id = opening->members[i];
    r = nx_upload_spool_root(&opening->spool, opening->members[i], &replay.members[i].root, err);
  }
  return r < 0 ? r : nx_replay_write(opening->spool.folder, &replay, run->mask, err);
}

static int open_sum(struct nx_training_run *run, struct nx_round_event *event,
                    struct nx_error *err) {
  const struct nx_opened_attempt *opening = &run->opening;
  int r = nx_ring_sum_settle(run->sum, opening->members, opening->n_members, err);
  if (r < 0 || (r = nx_ring_sum_open(run->sum, run->mask, err)) < 0)
    return r;
  r = publish(run, &event->sum, &event->bytes, &event->model, err);
  return r < 0 ? r : keep_for_replay(run, &event->sum, err);
}

/* Members may ask for tiles from now on; the files of the attempt before may go. */
static int show_tiles(struct nx_training_run *run, struct nx_error *err) {
  uint32_t values[NX_HASH_SIZE / 4 + NX_STORE_MEMBERS];
  size_t n = 0;
  const struct nx_opened_attempt *opening = &run->opening, *last = &run->last_opened;
  bool told = run->has_opened && last->round == opening->round &&
              last->attempt == opening->attempt && nx_hash_equal(&last->t3, &opening->t3);
  if (told)
    return 0; /* before a restart */
  for (; n < NX_HASH_SIZE / 4; n++)
    values[n] = nx_load_le32(opening->t3.bytes + 4 * n);
  for (size_t i = 0; i < opening->n_members; i++)
    values[n++] = opening->members[i];
  if (run->has_opened && run->config.federation->config->keep_uploads == NX_KEEP_ROUND &&
      run->last_opened.round != opening->round)
    nx_upload_spool_remove(run->uploads, run->last_opened.round, run->last_opened.attempt,
                           &run->spares, NULL);
  run->last_opened = *opening;
  run->has_opened = true;
  return nx_training_run_write_record(run, NX_RECORD_ATTEMPT_OPENED, values, n, err);
}

int nx_training_run_unmask(struct nx_training_run *run, int64_t now, struct nx_error *err) {
  struct nx_error why = {0};
  struct nx_round_event event = {.type = NX_ROUND_UNMASKED};
  int r = open_sum(run, &event, &why);
  nx_mask_destroy(nx_steal(&run->mask));
  if (r == NX_E_IO || r == NX_E_NOMEM) {
    if (err)
      *err = why;
    return r; /* ours to mend; the round resumes when this process is started again */
  }
  if (r < 0) {
    event = (struct nx_round_event){.type = NX_ROUND_UNMASK_FAILED, .reason = why.text};
    return nx_training_run_feed(run, &event, now, err);
  }
  NX_LOG(NX_LOG_DEBUG, "round.unmasked", NX_U64("round", run->round),
         NX_HASH("sum", event.sum.bytes));
  if ((r = show_tiles(run, err)) < 0 ||
      (r = NX_AUDIT_APPEND(
           run->config.audit, err, "round.opened_sum", NX_AUDIT_UINT("round", run->round),
           NX_AUDIT_UINT("attempt", run->attempt), NX_AUDIT_HASH("sum", &event.sum),
           NX_AUDIT_UINT("bytes", event.bytes), NX_AUDIT_HASH("model", &event.model),
           NX_AUDIT_UINT("survivors", run->opening.n_members))) < 0)
    return r;
  return nx_training_run_feed(run, &event, now, err);
}
