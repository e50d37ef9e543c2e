/* Jobs: what the worker does for the owner, and how the answers come back. */
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "node/node_private.h"
#include "node/session/send_upload.h"

const char *nx_node_kind_name(enum nx_round_kind kind) {
  return kind == NX_ROUND_STATISTICS ? "statistics" : kind == NX_ROUND_TRAIN ? "train" : "evaluate";
}

void nx_node_spool_path(const struct nx_node *node, uint64_t round, uint32_t attempt,
                        char out[NX_PATH_SIZE]) {
  snprintf(out, NX_PATH_SIZE, "%s/%s/%llu-%u", node->options.home, NX_HOME_SPOOL,
           (unsigned long long)round, attempt);
}

/* ---- on the worker's thread ------------------------------------------------------------- */

bool nx_node_stop_asked(void *context) {
  struct nx_node *node = context;
  const struct node_job *job = node->running;
  if (atomic_load(&node->stopping))
    return true;
  if (job && job->kind == JOB_MAKE) {
    atomic_fetch_add(&node->steps_done, 1); /* it is asked after every step */
    return atomic_load(&node->work_generation) != job->generation;
  }
  if (job && job->kind == JOB_UPLOAD)
    return atomic_load(&node->upload_generation) != job->generation;
  return false;
}

/* Steps are counted where a step is short beside the hub's patience: in plain training. What comes
 * before and behind it (reading data, scoring) is not, and then that the node lives must do. */
static void count_steps(struct nx_node *node, const struct node_job *job) {
  const struct nx_plan *plan = nx_site_work_current_plan(node->work);
  bool counts = job && job->kind == JOB_MAKE && job->round.kind == NX_ROUND_TRAIN && plan &&
                plan->privacy == NX_PRIVACY_NONE;
  atomic_store(&node->steps_total, 0);
  if (!counts)
    return;
  atomic_store(&node->steps_done, 0);
  atomic_store(&node->steps_round, job->round.round);
  atomic_store(&node->steps_attempt, job->round.attempt);
  atomic_store(&node->steps_total, plan->training.local_steps);
}

void nx_node_tell_work(void *context, struct nx_heartbeat *out) {
  struct nx_node *node = context;
  uint64_t done = atomic_load(&node->steps_done), total = atomic_load(&node->steps_total);
  if (!done || done >= total)
    return;
  out->round = atomic_load(&node->steps_round);
  out->attempt = atomic_load(&node->steps_attempt);
  out->done = done;
  out->total = total;
}

static int prepare(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  int r = nx_site_work_plan(node->work, &job->round.plan, &job->model, err);
  if (r == 0)
    r = nx_site_gate_plan(node->gate, &job->round, nx_site_work_current_plan(node->work),
                          job->n_members, err);
  if (r < 0)
    return r;
  job->spot_checks = nx_site_work_current_plan(node->work)->aggregation.spot_checks;
  bool begins =
      job->round.kind == NX_ROUND_STATISTICS && nx_hash_equal(&job->model, &job->round.model);
  uint64_t first = begins ? job->round.round : job->first_round;
  return first ? nx_site_work_begins(node->work, first, err) : 0;
}

/* The numbers of the round must be the plan's, and the site must want it now. */
static int consider(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  const struct nx_upload_layout layout = {.n_lanes = job->parameters.n_lanes,
                                          .ring_bits = job->parameters.ring_bits,
                                          .n_aux = job->parameters.n_aux};
  struct nx_site_gate_round asked = {.plan = nx_site_work_current_plan(node->work),
                                     .n_members = job->n_members,
                                     .cohort = (const char(*)[NX_POLICY_NAME_SIZE])job->cohort,
                                     .n_cohort = job->n_cohort};
  int r = nx_site_work_consider(node->work, &job->round, &job->parameters, &job->charge,
                                &job->charges, err);
  if (r < 0 || (r = nx_upload_layout_check(&layout, err)) < 0)
    return r;
  asked.bytes = nx_upload_bytes(&layout);
  asked.charge = job->charges ? &job->charge : NULL;
  return nx_site_gate_round(node->gate, &job->round, &asked, err);
}

static void drill_in_upload(void *context, uint64_t done, uint64_t total) {
  const struct node_job *job = context;
  const struct nx_node_options *options = &job->node->options;
  if (options->drill != NX_DRILL_KILL_MID_UPLOAD || options->drill_round != job->round.round ||
      2 * done < total)
    return;
  NX_LOG(NX_LOG_WARNING, "drill.kill", NX_STR("where", "mid-upload"),
         NX_U64("round", job->round.round));
  raise(SIGKILL);
}

/* Until it is acknowledged, refused for good, or nobody wants it any more. */
static int upload(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  char spool[NX_PATH_SIZE];
  nx_node_spool_path(node, job->round.round, job->round.attempt, spool);
  struct nx_upload_job send = {
      .header = nx_buffer_view(&job->header),
      .spool = spool,
      .bytes = job->bytes,
      .root = job->root,
      .kb_per_s = node->config->upload_kb_per_s,
      .stop = {nx_node_stop_asked, node},
      .sent = drill_in_upload,
      .context = job,
  };
  int r = nx_site_audit_upload(node->audit, &job->round, job->bytes, &job->root, &job->destination,
                               err);
  for (unsigned i = 0; r == 0; i++) {
    send.resume = nx_session_protocol(node->session) >= 2;
    r = nx_send_upload(nx_session_client(node->session), &send, err);
    if ((r != NX_E_PEER && r != NX_E_TIMEOUT) || nx_node_stop_asked(node))
      return r;
    NX_LOG(NX_LOG_WARNING, "upload.again", NX_U64("round", job->round.round),
           NX_STR("why", err->text));
    for (unsigned tick = 0; tick < 5 * (i < 6 ? i + 1 : 6) && !nx_node_stop_asked(node); tick++)
      nx_clock_sleep(100 * NX_MILLISECOND);
    r = nx_node_stop_asked(node) ? NX_E_CANCELLED : 0;
  }
  return r;
}

/* Only what cannot be honest is held against the coordinator; a check that could not be made
 * (line cut, tiles gone, disk full) says nothing, and the node catches up by the others' seals. */
static bool is_verdict(int code) {
  return code == NX_E_CRYPTO || code == NX_E_PROTOCOL;
}

static int check(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  const struct nx_site_check check = {.round = job->round,
                                      .parameters = job->parameters,
                                      .t3 = job->t3,
                                      .sum = job->sum,
                                      .sum_bytes = job->bytes,
                                      .uploads = job->uploads,
                                      .n_uploads = job->n_uploads,
                                      .tiles = job->tiles,
                                      .n_tiles = job->n_tiles,
                                      .mask = job->mask};
  int r = 0;
  for (int i = 0; i < 4; i++) { /* a cut line comes back */
    r = nx_site_work_check(node->work, &check, &job->model, &job->opened, err);
    if ((r != NX_E_PEER && r != NX_E_TIMEOUT) || nx_node_stop_asked(node))
      break;
    nx_clock_sleep((i + 1) * 500 * NX_MILLISECOND);
  }
  if (r < 0 && !is_verdict(r))
    return r;
  struct nx_error late;
  int told = nx_site_audit_sum(node->audit, &job->round, &job->sum, job->n_tiles,
                               r < 0 ? err->text : NULL, r < 0 ? &late : err);
  return r < 0 ? r : told;
}

/* A plan that was submitted: kept for its steward, who is told. Nothing of it runs. */
static int fetch_plan(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  char name[NX_POLICY_NAME_SIZE];
  int r = nx_site_work_fetch_plan(node->work, &job->round.plan, name, err);
  if (r < 0)
    NX_LOG(NX_LOG_WARNING, "plan.not_fetched", NX_STR("why", err->text));
  else
    nx_site_gate_plan_came(node->gate, &job->round.plan, name);
  return r;
}

static int do_job(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  char spool[NX_PATH_SIZE];
  switch (job->kind) {
  case JOB_PREPARE:
    return prepare(node, job, err);
  case JOB_CATCH_UP:
    return nx_site_work_fetch_model(node->work, &job->round.model, err);
  case JOB_CONSIDER:
    return consider(node, job, err);
  case JOB_MAKE:
    return nx_site_work_make(node->work, &job->round, job->variant, job->n_invited, err);
  case JOB_MASK:
    nx_node_spool_path(node, job->round.round, job->round.attempt, spool);
    return nx_site_work_mask(node->work, &job->round, job->parameters.ring_bits, job->mask, spool,
                             &job->protected, err);
  case JOB_UPLOAD:
    return upload(node, job, err);
  case JOB_CHECK:
    return check(node, job, err);
  case JOB_ADOPT:
    nx_site_work_adopt(node->work, &job->model);
    return 0;
  case JOB_FETCH_PLAN:
    return fetch_plan(node, job, err);
  case JOB_ANSWER:
    return nx_node_answer(node, job, err);
  case JOB_RELEASE:
    nx_site_work_release(node->work);
    return 0;
  }
  return nx_fail(err, NX_E_STATE, "job %d", (int)job->kind);
}

static void run_job(struct nx_job *base) {
  struct node_job *job = (struct node_job *)base;
  job->node->running = job;
  count_steps(job->node, job);
  nx_egress_about(job->round.round, job->round.attempt);
  job->code = do_job(job->node, job, &job->err);
  nx_mask_destroy(nx_steal(&job->mask)); /* keys live no longer than they must */
  count_steps(job->node, NULL);
  job->node->running = NULL;
}

static void destroy_job(struct nx_job *base) {
  struct node_job *job = (struct node_job *)base;
  nx_mask_destroy(job->mask);
  nx_buffer_finish(&job->header);
  nx_buffer_finish(&job->message);
  free(job->uploads);
  free(job->tiles);
  free(job->cohort);
  free(job);
}

/* The job's way back into the mailbox. */
static void done(void *context, struct nx_job *base) {
  struct nx_node *node = context;
  struct node_message *message = calloc(1, sizeof *message);
  if (message) {
    message->kind = NODE_JOB_DONE;
    message->job = base;
  }
  if (!message || nx_mailbox_post(node->mailbox, message) < 0) {
    free(message);
    base->destroy(base);
  }
}

/* ---- on the owner's thread ---------------------------------------------------------------- */

struct node_job *nx_node_job(struct nx_node *node, enum node_job_kind kind) {
  struct node_job *job = calloc(1, sizeof *job);
  if (!job)
    return NULL;
  job->job = (struct nx_job){.run = run_job, .destroy = destroy_job};
  job->node = node;
  job->kind = kind;
  return job;
}

int nx_node_start(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  int r = node->worker ? 0 : nx_worker_create(done, node, &node->worker, err);
  if (r < 0) {
    destroy_job(&job->job);
    return r;
  }
  return nx_worker_post(node->worker, &job->job, err);
}

static struct nx_participant_event answer(const struct node_job *job,
                                          enum nx_participant_event_type type) {
  return (struct nx_participant_event){.type = type,
                                       .round = job->round.round,
                                       .attempt = job->round.attempt,
                                       .accepted = job->code == 0,
                                       .reason = job->code < 0 ? job->err.text : NULL,
                                       .bytes = job->protected.bytes,
                                       .root = job->protected.root,
                                       .model = job->model};
}

static void log_opened(const struct node_job *job) {
  const struct nx_site_sum *sum = &job->opened;
  struct nx_log_field fields[7] = {
      NX_U64("round", job->round.round), NX_STR("kind", nx_node_kind_name(job->round.kind)),
      NX_U64("contributors", sum->contributors), NX_U64("tiles", job->n_tiles)};
  size_t n = 4;
  if (!isnan(sum->train_loss))
    fields[n++] = NX_F64("loss", sum->train_loss);
  if (!isnan(sum->auroc))
    fields[n++] = NX_F64("auroc", sum->auroc);
  if (!isnan(sum->r_squared))
    fields[n++] = NX_F64("r_squared", sum->r_squared);
  nx_log_write(NX_LOG_INFO, "sum.checked", fields, n);
}

static int on_checked(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  struct nx_participant_event event = answer(job, NX_PARTICIPANT_RESULT_CHECKED);
  if (job->code == NX_E_CANCELLED)
    return 0;
  if (job->code < 0 && !is_verdict(job->code)) {
    NX_LOG(NX_LOG_WARNING, "sum.not_checked", NX_U64("round", job->round.round),
           NX_STR("why", job->err.text));
    return 0;
  }
  if (job->code == 0)
    log_opened(job);
  return nx_node_feed(node, &event, err);
}

static int on_released(struct nx_node *node) {
  if (node->answering)
    return 0; /* asked meanwhile: that job stands behind this one */
  nx_worker_destroy(nx_steal(&node->worker));
  malloc_trim(0);
  NX_LOG(NX_LOG_DEBUG, "node.idle", NX_STR("memory", "released"));
  return 0;
}

int nx_node_job_done(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  struct nx_participant_event event;
  bool stopped = job->code == NX_E_CANCELLED;
  switch (job->kind) {
  case JOB_CONSIDER:
    node->charge = job->charge;
    node->charges = job->charges;
    node->charge_round = job->code < 0 ? 0 : job->round.round;
    event = answer(job, NX_PARTICIPANT_DECIDED);
    return nx_node_feed(node, &event, err);
  case JOB_MAKE:
    if (stopped)
      return 0;
    event = answer(job, job->code < 0 ? NX_PARTICIPANT_UPDATE_FAILED : NX_PARTICIPANT_UPDATE_READY);
    return nx_node_feed(node, &event, err);
  case JOB_MASK:
    event = answer(job, job->code < 0 ? NX_PARTICIPANT_UPDATE_FAILED : NX_PARTICIPANT_MASKED);
    return nx_node_feed(node, &event, err);
  case JOB_UPLOAD:
    if (job->code < 0 && !stopped)
      NX_LOG(NX_LOG_WARNING, "upload.failed", NX_U64("round", job->round.round),
             NX_STR("why", job->err.text));
    event = answer(job, job->code < 0 ? NX_PARTICIPANT_UPDATE_FAILED : NX_PARTICIPANT_UPLOADED);
    return stopped ? 0 : nx_node_feed(node, &event, err);
  case JOB_CHECK:
    return on_checked(node, job, err);
  case JOB_RELEASE:
    return on_released(node);
  case JOB_ADOPT:
  case JOB_FETCH_PLAN:
  case JOB_ANSWER:  /* node_answers.c */
  case JOB_PREPARE: /* node_events.c */
  case JOB_CATCH_UP:
    break;
  }
  return 0;
}
