#include "coordinator/fitness.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/round/cohort.h"
#include "proto/codec/codec_round.h"

#define ARENA ((size_t)2 << 20)
#define NOTES_MOST 10000 /* files in HUB/withdrawn */

/* ---- the board ------------------------------------------------------------------------------- */

const struct nx_fitness_plan *nx_fitness_of(const struct nx_coordinator *c,
                                            const struct nx_hash *plan) {
  for (size_t i = 0; i < NX_FITNESS_PLANS; i++)
    if (c->fitness->plans[i].used && nx_hash_equal(&c->fitness->plans[i].plan, plan))
      return &c->fitness->plans[i];
  return NULL;
}

static struct nx_fitness_plan *place_for(struct nx_coordinator *c, const struct nx_hash *plan,
                                         const char *name) {
  struct nx_fitness *board = c->fitness;
  struct nx_fitness_plan *place = &board->plans[0];
  for (size_t i = 0; i < NX_FITNESS_PLANS; i++) {
    if (board->plans[i].used && nx_hash_equal(&board->plans[i].plan, plan)) {
      board->plans[i].used = ++board->uses;
      return &board->plans[i];
    }
    if (board->plans[i].used < place->used)
      place = &board->plans[i];
  }
  *place = (struct nx_fitness_plan){.plan = *plan, .used = ++board->uses};
  snprintf(place->name, sizeof place->name, "%s", name);
  return place;
}

static int keep_first(void *context, const struct nx_hash *hash, const char *name,
                      struct nx_error *err) {
  struct nx_fitness_plan *found = context;
  (void)err;
  found->plan = *hash;
  snprintf(found->name, sizeof found->name, "%s", name);
  return 0;
}

struct nx_hash nx_fitness_present(struct nx_coordinator *c, char name_out[NX_STORE_NAME_SIZE]) {
  _cleanup_free_ struct nx_fitness_plan *found = calloc(1, sizeof *found);
  struct nx_run_status run;
  name_out[0] = 0;
  if (c->run && !nx_training_run_is_over(c->run)) {
    nx_training_run_status(c->run, &run);
    snprintf(name_out, NX_STORE_NAME_SIZE, "%s", run.plan_name);
    return run.plan;
  }
  if (!found || nx_run_store_visit_plans(c->federation->store, 1, keep_first, found, NULL) < 0)
    return (struct nx_hash){0};
  snprintf(name_out, NX_STORE_NAME_SIZE, "%s", found->name);
  return found->plan;
}

/* ---- asking ---------------------------------------------------------------------------------- */

void nx_fitness_ask(struct nx_coordinator *c, struct nx_stream *stream, const struct nx_hash *plan,
                    const char *name) {
  struct nx_session_message message = {
      .kind = NX_SESSION_KIND_NOTICE,
      .notice = {.kind = NX_NOTICE_INFO, .text = "do your data fit this plan?", .asks = *plan}};
  const struct nx_fitness_plan *place = place_for(c, plan, name);
  for (uint32_t id = 1; id < 256; id++) {
    struct nx_stream *seat = c->seats[id];
    if (!seat || (stream && seat != stream) || !(seat->hears & NX_HEARS_SITES))
      continue;
    nx_session_send_down(seat, &message);
    if (c->run)
      nx_training_run_asked(c->run, id, plan, place->answers[id].verdict == NX_FIT_NO,
                            place->answers[id].unmet);
  }
}

void nx_fitness_greet(struct nx_coordinator *c, struct nx_stream *stream) {
  char name[NX_STORE_NAME_SIZE];
  struct nx_store_run last;
  struct nx_hash plan = nx_fitness_present(c, name);
  bool over = !c->run || nx_training_run_is_over(c->run);
  bool ran = over && nx_run_store_last_run(c->federation->store, &last, NULL) == 0 &&
             nx_hash_equal(&last.plan_hash, &plan);
  if (!nx_hash_is_zero(&plan) && !ran)
    nx_fitness_ask(c, stream, &plan, name);
}

/* ---- hearing --------------------------------------------------------------------------------- */

static int key_of(struct nx_coordinator *c, uint32_t member, struct nx_public_key *key_out,
                  struct nx_error *err) {
  int r = NX_E_NOT_FOUND;
  pthread_mutex_lock(&c->directory_lock);
  for (size_t i = 0; i < c->n_members; i++)
    if (c->members[i].id == member && !c->members[i].revoked) {
      *key_out = c->members[i].identity;
      r = 0;
    }
  pthread_mutex_unlock(&c->directory_lock);
  return r < 0 ? nx_fail(err, r, "not a member's") : 0;
}

static int check_federation(const struct nx_coordinator *c, const uint8_t *federation,
                            struct nx_error *err) {
  return memcmp(federation, c->federation->row.id, sizeof c->federation->row.id)
             ? nx_fail(err, NX_E_DENIED, "about another federation")
             : 0;
}

static int log_answer(struct nx_coordinator *c, uint32_t member, const struct nx_fit_message *fit,
                      struct nx_error *err) {
  static const char *const words[] = {
      [NX_FIT_YES] = "yes", [NX_FIT_NO] = "no", [NX_FIT_UNSAID] = "unsaid"};
  char unmet[256];
  nx_requirements_tell(fit->unmet, unmet, sizeof unmet);
  NX_LOG(fit->verdict == NX_FIT_NO ? NX_LOG_WARNING : NX_LOG_INFO, "member.fit",
         NX_U64("member", member), NX_STR("fits", words[fit->verdict]), NX_STR("unmet", unmet));
  return NX_AUDIT_APPEND(c->audit, err, "member.fit", NX_AUDIT_UINT("member", member),
                         NX_AUDIT_HASH("plan", &fit->plan),
                         NX_AUDIT_STR("verdict", words[fit->verdict]),
                         NX_AUDIT_STR("unmet", unmet));
}

static int hear_fit(struct nx_coordinator *c, uint32_t member, struct nx_bytes body,
                    struct nx_arena *arena, struct nx_error *err) {
  struct nx_fit_message fit;
  int r = nx_fit_message_decode(body, arena, &fit, err);
  if (r < 0 || (r = check_federation(c, fit.federation, err)) < 0)
    return r;
  if (!nx_fitness_of(c, &fit.plan))
    return nx_fail(err, NX_E_STATE, "about a plan that nobody asked about");
  struct nx_fitness_plan *place = place_for(c, &fit.plan, "");
  struct nx_fitness_answer answer = {.verdict = fit.verdict,
                                     .unmet = fit.unmet,
                                     .counted = fit.counted,
                                     .subjects = fit.subjects,
                                     .recordings = fit.recordings};
  bool news = memcmp(&answer, &place->answers[member], sizeof answer) != 0;
  place->answers[member] = answer;
  if (news && (r = log_answer(c, member, &fit, err)) < 0)
    return r;
  return c->run && nx_coordinator_lists(c, member)
             ? nx_training_run_fit(c->run, member, &fit.plan, fit.verdict == NX_FIT_NO, fit.unmet,
                                   nx_clock_monotonic(), err)
             : 0;
}

/* Kept whole and signed in HUB/withdrawn, so that an export can show it; then the member is told. */
static int hear_withdrawn(struct nx_coordinator *c, uint32_t member, struct nx_bytes bytes,
                          struct nx_bytes body, struct nx_arena *arena, struct nx_error *err) {
  struct nx_withdrawn_message note;
  struct nx_session_message heard = {
      .kind = NX_SESSION_KIND_NOTICE,
      .notice = {.kind = NX_NOTICE_INFO, .text = "it is written down", .heard = nx_sha256(
                                                                           bytes.data, bytes.size)}};
  char folder[NX_PATH_SIZE], path[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&heard.notice.heard, hex);
  int r = nx_withdrawn_message_decode(body, arena, &note, err);
  if (r == 0)
    r = check_federation(c, note.federation, err);
  if (r == 0)
    r = nx_path_join(folder, c->federation->home, NX_HUB_WITHDRAWN, err);
  if (r == 0)
    r = nx_folder_create(folder, 0700, err);
  if (r == 0)
    r = nx_path_join(path, folder, hex, err);
  if (r == 0 && !nx_path_exists(path)) {
    if (nx_folder_count(folder) >= NOTES_MOST)
      return nx_fail(err, NX_E_LIMIT, "%s holds %d notes already", folder, NOTES_MOST);
    r = NX_AUDIT_APPEND(c->audit, err, "model.withdrawn", NX_AUDIT_UINT("member", member),
                        NX_AUDIT_UINT("models", note.n),
                        NX_AUDIT_HASH("message", &heard.notice.heard));
    if (r == 0)
      r = nx_file_replace(path, bytes, 0600, err);
    if (r == 0)
      NX_LOG(NX_LOG_WARNING, "model.withdrawn", NX_U64("member", member), NX_U64("models", note.n));
  }
  if (r == 0 && c->seats[member])
    nx_session_send_down(c->seats[member], &heard);
  return r;
}

bool nx_fitness_hear(struct nx_coordinator *c, uint32_t member, struct nx_bytes bytes) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_signed_message message;
  struct nx_public_key key;
  struct nx_error err = {0};
  if (nx_arena_create(ARENA, &arena, NULL) < 0 ||
      nx_signed_message_decode(bytes, arena, &message, NULL) < 0 ||
      (message.type != NX_MESSAGE_FIT && message.type != NX_MESSAGE_WITHDRAWN))
    return false;
  int r = message.signer == member
              ? key_of(c, member, &key, &err)
              : nx_fail(&err, NX_E_DENIED, "member %u signs for member %u", member, message.signer);
  if (r == 0)
    r = nx_signed_message_verify(&message, &key, &err);
  if (r == 0)
    r = message.type == NX_MESSAGE_FIT
            ? hear_fit(c, member, message.body, arena, &err)
            : hear_withdrawn(c, member, bytes, message.body, arena, &err);
  if (r == NX_E_IO || r == NX_E_NOMEM)
    nx_coordinator_fail(c, &err);
  else if (r < 0)
    NX_LOG(NX_LOG_WARNING, "member.unheard", NX_U64("member", member), NX_STR("why", err.text));
  return true;
}

/* ---- before a start -------------------------------------------------------------------------- */

int nx_fitness_check(struct nx_coordinator *c, const struct nx_hash *plan, uint32_t minimum,
                     struct nx_error *err) {
  const struct nx_fitness_plan *asked = nx_fitness_of(c, plan);
  char names[400] = "", unmet[200];
  uint32_t n = 0, left = 0;
  size_t at = 0;
  pthread_mutex_lock(&c->directory_lock);
  for (size_t i = 0; asked && i < c->n_members; i++) {
    const struct nx_store_member *member = &c->members[i];
    if (member->revoked || (c->sealed && !c->listed[member->id]))
      continue;
    n++;
    if (asked->answers[member->id].verdict != NX_FIT_NO) {
      left++;
      continue;
    }
    nx_requirements_tell(asked->answers[member->id].unmet, unmet, sizeof unmet);
    int written =
        snprintf(names + at, sizeof names - at, "%s%s (%s)", at ? ", " : "", member->name, unmet);
    at = NX_MIN(at + (written > 0 ? (size_t)written : 0), sizeof names - 1);
  }
  pthread_mutex_unlock(&c->directory_lock);
  uint32_t floor = nx_cohort_floor(n, minimum);
  return !asked || left >= floor
             ? 0
             : nx_fail(err, NX_E_DENIED,
                       "%u of %u sites can take part, a round needs %u; these cannot: %s", left, n,
                       floor, names);
}
