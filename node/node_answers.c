/* Answers: the coordinator asks whether this site's data fit a plan; the worker looks, the audit log
 * has the answer word for word before it leaves. And the steward's own word: which model versions
 * stand on somebody who withdrew. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "node/node_private.h"
#include "node/site_fit.h"
#include "node/subject_records.h"

#define TELL_EVERY (30 * NX_SECOND) /* until the hub has it */
#define ANSWERS_MOST 8u /* under way: whoever asks faster than we look is not answered */

int nx_node_asked(struct nx_node *node, const struct nx_hash *plan, struct nx_error *err) {
  struct node_job *job = node->answering < ANSWERS_MOST ? nx_node_job(node, JOB_ANSWER) : NULL;
  if (!job)
    return 0;
  job->round.plan = *plan;
  if (!node->participant)
    node->idle_since = NX_NEVER;
  node->answering++;
  return nx_node_start(node, job, err);
}

/* On the worker's thread. */
int nx_node_answer(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  struct nx_site_fit asked = {.home = node->options.home,
                              .node = node->config,
                              .policy = nx_site_gate_compatibility(node->gate),
                              .hash = job->round.plan};
  struct nx_fit_message fit;
  memcpy(asked.federation, node->federation_id, sizeof asked.federation);
  int r = nx_site_work_read_plan(node->work, &job->round.plan, &plan, err);
  asked.plan = plan;
  if (r == 0)
    r = nx_site_fit_answer(&asked, &fit, err);
  if (r == 0)
    r = nx_fit_message_encode(&fit, &body, err);
  if (r == 0)
    r = nx_site_audit_fit(node->audit, &fit, err);
  return r < 0 ? r
               : nx_signed_message_make(node->identity, node->federation->member, NX_MESSAGE_FIT,
                                        nx_buffer_view(&body), nx_bytes("", 0), &job->message, err);
}

int nx_node_answered(struct nx_node *node, struct node_job *job, struct nx_error *err) {
  (void)err;
  node->answering--;
  if (!node->participant && !node->answering)
    node->idle_since = nx_clock_monotonic();
  if (job->code < 0) {
    NX_LOG(NX_LOG_WARNING, "fit.not_answered", NX_STR("why", job->err.text));
    return 0;
  }
  NX_LOG(NX_LOG_INFO, "fit.answered", NX_HASH("plan", job->round.plan.bytes));
  nx_session_send(node->session, nx_buffer_view(&job->message), NULL); /* it asks again */
  return 0;
}

/* The same file gives the same bytes: it is sent again until the hub has it, and is one note. */
static int make_note(const struct nx_node *node, const struct nx_hash *models, size_t n, int64_t at,
                     struct nx_buffer *out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  struct nx_withdrawn_message note = {.at = at, .models = models, .n = n};
  memcpy(note.federation, node->federation_id, sizeof note.federation);
  int r = nx_withdrawn_message_encode(&note, &body, err);
  return r < 0 ? r
               : nx_signed_message_make(node->identity, node->federation->member,
                                        NX_MESSAGE_WITHDRAWN, nx_buffer_view(&body),
                                        nx_bytes("", 0), out, err);
}

int nx_node_tell_hub(struct nx_node *node, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  _cleanup_free_ struct nx_hash *models = NULL;
  struct nx_error why = {0};
  int64_t at = 0, now = nx_clock_monotonic();
  size_t n = 0;
  if (now < node->next_tell || !(node->hub_hears & NX_HEARS_SITES))
    return 0;
  if (nx_subject_records_untold(node->options.home, &models, &n, &at, &why) < 0 ||
      (n && make_note(node, models, n, at, &message, &why) < 0)) {
    NX_LOG(NX_LOG_WARNING, "withdrawn.untold", NX_STR("why", why.text));
    node->next_tell = now + TELL_EVERY;
    return 0;
  }
  if (!n)
    return 0;
  struct nx_hash hash = nx_sha256(message.data, message.size);
  int r = nx_hash_equal(&hash, &node->told)
              ? 0
              : nx_site_audit_withdrawn_told(node->audit, n, &hash, err);
  if (r < 0)
    return r;
  node->told = hash;
  node->next_tell = now + TELL_EVERY;
  nx_session_send(node->session, nx_buffer_view(&message), NULL);
  return 0;
}

void nx_node_heard(struct nx_node *node, const struct nx_hash *message) {
  if (nx_hash_is_zero(message) || !nx_hash_equal(message, &node->told))
    return;
  nx_subject_records_told(node->options.home);
  NX_LOG(NX_LOG_INFO, "withdrawn.told", NX_HASH("message", message->bytes));
}
