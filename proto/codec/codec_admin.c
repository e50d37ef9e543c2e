#include "proto/codec/codec_admin.h"

#include <math.h>

#include "admin.pb-c.h"
#include "proto/codec/codec_support.h"

/* --- requests --------------------------------------------------------------------------- */

static int check_plan(struct nx_bytes plan, int code, struct nx_error *err) {
  if (!plan.size || plan.size > NX_ADMIN_PLAN_CAP)
    return nx_fail(err, code, "plan of %zu bytes; 1 to %zu are taken", plan.size,
                   NX_ADMIN_PLAN_CAP);
  return 0;
}

int nx_admin_start_encode(const struct nx_admin_start *m, struct nx_buffer *out,
                          struct nx_error *err) {
  Neurox__V1__StartRequest wire = NEUROX__V1__START_REQUEST__INIT;
  int r = check_plan(m->plan, NX_E_INVALID, err);
  if (r < 0)
    return r;
  wire.plan = nx_codec_field(m->plan.data, m->plan.size);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_admin_start_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_admin_start *out,
                          struct nx_error *err) {
  Neurox__V1__StartRequest *wire;
  int r = nx_codec_unpack(&neurox__v1__start_request__descriptor, bytes, NX_MESSAGE_CAP_MAIN, arena,
                          "start request", &wire, err);
  if (r < 0)
    return r;
  out->plan = nx_codec_view(wire->plan);
  return check_plan(out->plan, NX_E_PROTOCOL, err);
}

int nx_admin_request_encode(const struct nx_admin_request *m, struct nx_buffer *out,
                            struct nx_error *err) {
  Neurox__V1__StopRequest wire = NEUROX__V1__STOP_REQUEST__INIT;
  int r = nx_codec_check_text(m->reason, sizeof m->reason, "reason", err);
  if (r < 0)
    return r;
  wire.reason = nx_codec_string(m->reason);
  wire.plan = nx_codec_hash_field(&m->plan);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_admin_request_decode(struct nx_bytes bytes, struct nx_arena *arena,
                            struct nx_admin_request *out, struct nx_error *err) {
  Neurox__V1__StopRequest *wire;
  int r = nx_codec_unpack(&neurox__v1__stop_request__descriptor, bytes, NX_MESSAGE_CAP_MAIN, arena,
                          "operator's request", &wire, err);
  if (!r)
    r = nx_codec_text(wire->reason, out->reason, sizeof out->reason, "reason", err);
  return r < 0 ? r : nx_codec_hash(wire->plan, &out->plan, "operator's request: plan", err);
}

/* --- status ----------------------------------------------------------------------------- */

/* Plan, progress and figures of the run. */
static int fill_run(const struct nx_admin_status *m, Neurox__V1__RunStatus *wire,
                    struct nx_error *err) {
  wire->plan_name = nx_codec_string(m->plan_name);
  wire->note = nx_codec_string(m->note);
  wire->n_sealed = m->n_sealed;
  wire->n_trained = m->n_trained;
  wire->n_recovered = m->n_recovered;
  wire->started = m->started;
  wire->ended = m->ended;
  wire->train_loss = m->train_loss;
  wire->held_out_loss = m->held_out_loss;
  wire->auroc = m->auroc;
  wire->balanced_accuracy = m->balanced_accuracy;
  wire->calibration_error = m->calibration_error;
  wire->r_squared = m->r_squared;
  wire->correlation = m->correlation;
  int r = nx_codec_check_text(m->plan_name, sizeof m->plan_name, "status: plan's name", err);
  return r < 0 ? r : nx_codec_check_text(m->note, sizeof m->note, "status: note", err);
}

static int fill_status(const struct nx_admin_status *m, Neurox__V1__RunStatus *wire,
                       struct nx_error *err) {
  int r = nx_codec_check_text(m->federation_name, sizeof m->federation_name,
                              "status: federation's name", err);
  if (!r)
    r = nx_codec_check_text(m->software, sizeof m->software, "status: software", err);
  if (!r)
    r = nx_codec_check_text(m->phase, sizeof m->phase, "status: phase", err);
  if (!r)
    r = fill_run(m, wire, err);
  wire->federation_name = nx_codec_string(m->federation_name);
  wire->federation = nx_codec_field(m->federation, sizeof m->federation);
  wire->software = nx_codec_string(m->software);
  wire->run_state = m->run_state;
  wire->run = m->run;
  wire->plan = nx_codec_hash_field(&m->plan);
  wire->model = nx_codec_hash_field(&m->model);
  wire->first_round = m->first_round;
  wire->n_rounds = m->n_rounds;
  wire->round = m->round;
  wire->attempt = m->attempt;
  wire->kind = m->kind;
  wire->phase = nx_codec_string(m->phase);
  wire->last_sealed = m->last_sealed;
  wire->n_members = m->n_members;
  wire->n_connected = m->n_connected;
  wire->n_invited = m->n_invited;
  wire->n_cohort = m->n_cohort;
  wire->n_done = m->n_done;
  wire->threshold = m->threshold;
  wire->seconds_left = m->seconds_left;
  wire->bytes_up = m->bytes_up;
  wire->up_seconds = m->up_seconds;
  wire->manifest_sealed = m->manifest_sealed;
  return r;
}

static int read_run(const Neurox__V1__RunStatus *wire, struct nx_admin_status *out,
                    struct nx_error *err) {
  out->n_sealed = wire->n_sealed;
  out->n_trained = wire->n_trained;
  out->n_recovered = wire->n_recovered;
  out->started = wire->started;
  out->ended = wire->ended;
  out->train_loss = wire->train_loss;
  out->held_out_loss = wire->held_out_loss;
  out->auroc = wire->auroc;
  out->balanced_accuracy = wire->balanced_accuracy;
  out->calibration_error = wire->calibration_error;
  out->r_squared = wire->r_squared;
  out->correlation = wire->correlation;
  int r = nx_codec_text(wire->plan_name, out->plan_name, sizeof out->plan_name,
                        "status: plan's name", err);
  return r < 0 ? r : nx_codec_text(wire->note, out->note, sizeof out->note, "status: note", err);
}

static int read_status(const Neurox__V1__RunStatus *wire, struct nx_admin_status *out,
                       struct nx_error *err) {
  *out = (struct nx_admin_status){.run_state = wire->run_state,
                                  .run = wire->run,
                                  .first_round = wire->first_round,
                                  .n_rounds = wire->n_rounds,
                                  .round = wire->round,
                                  .attempt = wire->attempt,
                                  .kind = wire->kind,
                                  .last_sealed = wire->last_sealed,
                                  .n_members = wire->n_members,
                                  .n_connected = wire->n_connected,
                                  .n_invited = wire->n_invited,
                                  .n_cohort = wire->n_cohort,
                                  .n_done = wire->n_done,
                                  .threshold = wire->threshold,
                                  .seconds_left = wire->seconds_left,
                                  .bytes_up = wire->bytes_up,
                                  .up_seconds = wire->up_seconds,
                                  .manifest_sealed = wire->manifest_sealed};
  int r = nx_codec_text(wire->federation_name, out->federation_name, sizeof out->federation_name,
                        "status: federation's name", err);
  if (!r)
    r = nx_codec_fixed(wire->federation, out->federation, sizeof out->federation,
                       "status: federation", err);
  if (!r)
    r = nx_codec_text(wire->software, out->software, sizeof out->software, "status: software", err);
  if (!r)
    r = nx_codec_text(wire->phase, out->phase, sizeof out->phase, "status: phase", err);
  if (!r)
    r = nx_codec_hash(wire->plan, &out->plan, "status: plan", err);
  if (!r)
    r = nx_codec_hash(wire->model, &out->model, "status: model", err);
  return r < 0 ? r : read_run(wire, out, err);
}

int nx_admin_status_encode(const struct nx_admin_status *m, struct nx_buffer *out,
                           struct nx_error *err) {
  Neurox__V1__RunStatus wire = NEUROX__V1__RUN_STATUS__INIT;
  int r = fill_status(m, &wire, err);
  return r < 0 ? r : nx_codec_pack(&wire.base, out, err);
}

int nx_admin_status_decode(struct nx_bytes bytes, struct nx_arena *arena,
                           struct nx_admin_status *out, struct nx_error *err) {
  Neurox__V1__RunStatus *wire;
  int r = nx_codec_unpack(&neurox__v1__run_status__descriptor, bytes, NX_MESSAGE_CAP_MAIN, arena,
                          "status", &wire, err);
  return r < 0 ? r : read_status(wire, out, err);
}

/* --- members ---------------------------------------------------------------------------- */

static int check_member(const struct nx_admin_member *m, uint32_t after, int code,
                        struct nx_error *err) {
  if (m->id <= after || m->id > NX_ADMIN_MEMBERS)
    return nx_fail(err, code, "member %u behind member %u: ids are 1 to 255, ascending", m->id,
                   after);
  if (m->state < NX_MEMBER_INVITED || m->state > NX_MEMBER_REVOKED)
    return nx_fail(err, code, "member %u: unknown state %u", m->id, m->state);
  if (m->fit > NX_FIT_UNSAID)
    return nx_fail(err, code, "member %u: unknown answer %u", m->id, m->fit);
  return 0;
}

static bool has_identity(const struct nx_admin_member *m) {
  static const struct nx_public_key none;
  return memcmp(&m->identity, &none, sizeof none) != 0;
}

static int fill_member(const struct nx_admin_member *m, Neurox__V1__MemberStatus *wire,
                       uint32_t unmet[NX_REQUIREMENTS], struct nx_error *err) {
  int r = nx_codec_check_text(m->name, sizeof m->name, "member: name", err);
  if (!r)
    r = nx_codec_check_text(m->software, sizeof m->software, "member: software", err);
  neurox__v1__member_status__init(wire);
  wire->id = m->id;
  wire->name = nx_codec_string(m->name);
  wire->state = m->state;
  wire->identity =
      nx_codec_field(m->identity.bytes, has_identity(m) ? sizeof m->identity.bytes : 0);
  wire->spki = nx_codec_hash_field(&m->spki);
  wire->since = m->since;
  wire->last_seen = m->last_seen;
  wire->last_round = m->last_round;
  wire->software = nx_codec_string(m->software);
  wire->done = m->done;
  wire->total = m->total;
  wire->fit = m->fit;
  wire->unmet = unmet;
  wire->n_unmet = nx_requirements_list(m->unmet, unmet);
  wire->counted = m->counted;
  wire->subjects = m->subjects;
  wire->recordings = m->recordings;
  return r;
}

static int read_member(const Neurox__V1__MemberStatus *wire, struct nx_admin_member *out,
                       struct nx_error *err) {
  *out = (struct nx_admin_member){.id = wire->id,
                                  .state = wire->state,
                                  .since = wire->since,
                                  .last_seen = wire->last_seen,
                                  .last_round = wire->last_round,
                                  .done = wire->done,
                                  .total = wire->total,
                                  .fit = wire->fit,
                                  .counted = wire->counted,
                                  .subjects = wire->subjects,
                                  .recordings = wire->recordings};
  int r = nx_codec_text(wire->name, out->name, sizeof out->name, "member: name", err);
  if (!r)
    r = nx_codec_text(wire->software, out->software, sizeof out->software, "member: software", err);
  if (!r && wire->identity.len)
    r = nx_codec_fixed(wire->identity, out->identity.bytes, sizeof out->identity.bytes,
                       "member: identity", err);
  if (!r)
    r = nx_requirements_set(wire->unmet, wire->n_unmet, &out->unmet, err);
  return r < 0 ? r : nx_codec_hash(wire->spki, &out->spki, "member: TLS key", err);
}

int nx_admin_members_encode(const struct nx_admin_members *m, struct nx_buffer *out,
                            struct nx_error *err) {
  Neurox__V1__MemberList wire = NEUROX__V1__MEMBER_LIST__INIT;
  Neurox__V1__MemberStatus items[NX_ADMIN_MEMBERS], *pointers[NX_ADMIN_MEMBERS];
  uint32_t unmet[NX_ADMIN_MEMBERS][NX_REQUIREMENTS];
  uint32_t last = 0;
  if (m->n > NX_ADMIN_MEMBERS)
    return nx_fail(err, NX_E_INVALID, "member list: %zu members; there are at most 255", m->n);
  for (size_t i = 0; i < m->n; i++) {
    int r = check_member(&m->items[i], last, NX_E_INVALID, err);
    if (!r)
      r = fill_member(&m->items[i], &items[i], unmet[i], err);
    if (r < 0)
      return r;
    pointers[i] = &items[i];
    last = m->items[i].id;
  }
  int r = nx_codec_check_text(m->plan_name, sizeof m->plan_name, "member list: plan's name", err);
  if (r < 0)
    return r;
  wire.members = pointers;
  wire.n_members = m->n;
  wire.plan = nx_codec_hash_field(&m->plan);
  wire.plan_name = nx_codec_string(m->plan_name);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_admin_members_decode(struct nx_bytes bytes, struct nx_arena *arena,
                            struct nx_admin_members *out, struct nx_error *err) {
  Neurox__V1__MemberList *wire;
  int r = nx_codec_unpack(&neurox__v1__member_list__descriptor, bytes, NX_MESSAGE_CAP_MAIN, arena,
                          "member list", &wire, err);
  if (r < 0)
    return r;
  if (wire->n_members > NX_ADMIN_MEMBERS)
    return nx_fail(err, NX_E_PROTOCOL, "member list: %zu members; there are at most 255",
                   wire->n_members);
  struct nx_admin_member *items = nx_arena_alloc(arena, wire->n_members + 1, sizeof *items);
  if (!items)
    return nx_fail(err, NX_E_LIMIT, "member list: no room for it");
  uint32_t last = 0;
  for (size_t i = 0; i < wire->n_members && !r; i++) {
    r = read_member(wire->members[i], &items[i], err);
    if (!r)
      r = check_member(&items[i], last, NX_E_PROTOCOL, err);
    last = items[i].id;
  }
  *out = (struct nx_admin_members){.items = items, .n = wire->n_members};
  if (!r)
    r = nx_codec_hash(wire->plan, &out->plan, "member list: plan", err);
  return r < 0 ? r
               : nx_codec_text(wire->plan_name, out->plan_name, sizeof out->plan_name,
                               "member list: plan's name", err);
}

/* --- events ----------------------------------------------------------------------------- */

static int check_sealed(const struct nx_admin_sealed *m, int code, struct nx_error *err) {
  const double figures[] = {m->weight,  m->train_loss,        m->held_out_loss,
                            m->auroc,   m->balanced_accuracy, m->calibration_error,
                            m->seconds, m->r_squared,         m->correlation};
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
    if (isinf(figures[i]))
      return nx_fail(err, code, "sealed round %llu: an infinite figure",
                     (unsigned long long)m->round);
  if (!m->round || m->kind < 1 || m->kind > 3)
    return nx_fail(err, code, "sealed round %llu of kind %u", (unsigned long long)m->round,
                   m->kind);
  return 0;
}

static int fill_sealed(const struct nx_admin_sealed *m, Neurox__V1__SealedRound *wire,
                       struct nx_error *err) {
  wire->round = m->round;
  wire->attempt = m->attempt;
  wire->kind = m->kind;
  wire->n_cohort = m->n_cohort;
  wire->n_survivors = m->n_survivors;
  wire->n_recovered = m->n_recovered;
  wire->weight = m->weight;
  wire->train_loss = m->train_loss;
  wire->held_out_loss = m->held_out_loss;
  wire->auroc = m->auroc;
  wire->balanced_accuracy = m->balanced_accuracy;
  wire->calibration_error = m->calibration_error;
  wire->r_squared = m->r_squared;
  wire->correlation = m->correlation;
  wire->seconds = m->seconds;
  wire->bytes_up = m->bytes_up;
  wire->model = nx_codec_hash_field(&m->model);
  wire->sum = nx_codec_hash_field(&m->sum);
  wire->without = nx_codec_string(m->without);
  int r = nx_codec_check_text(m->without, sizeof m->without, "sealed round: without", err);
  return r < 0 ? r : check_sealed(m, NX_E_INVALID, err);
}

static int read_sealed(const Neurox__V1__SealedRound *wire, struct nx_admin_sealed *out,
                       struct nx_error *err) {
  *out = (struct nx_admin_sealed){.round = wire->round,
                                  .attempt = wire->attempt,
                                  .kind = wire->kind,
                                  .n_cohort = wire->n_cohort,
                                  .n_survivors = wire->n_survivors,
                                  .n_recovered = wire->n_recovered,
                                  .weight = wire->weight,
                                  .train_loss = wire->train_loss,
                                  .held_out_loss = wire->held_out_loss,
                                  .auroc = wire->auroc,
                                  .balanced_accuracy = wire->balanced_accuracy,
                                  .calibration_error = wire->calibration_error,
                                  .r_squared = wire->r_squared,
                                  .correlation = wire->correlation,
                                  .seconds = wire->seconds,
                                  .bytes_up = wire->bytes_up};
  int r = nx_codec_hash(wire->model, &out->model, "sealed round: model", err);
  if (!r)
    r = nx_codec_hash(wire->sum, &out->sum, "sealed round: sum", err);
  if (!r)
    r = nx_codec_text(wire->without, out->without, sizeof out->without, "sealed round: without",
                      err);
  return r < 0 ? r : check_sealed(out, NX_E_PROTOCOL, err);
}

int nx_admin_event_encode(const struct nx_admin_event *m, struct nx_buffer *out,
                          struct nx_error *err) {
  Neurox__V1__Event wire = NEUROX__V1__EVENT__INIT;
  Neurox__V1__RunStatus status = NEUROX__V1__RUN_STATUS__INIT;
  Neurox__V1__SealedRound sealed = NEUROX__V1__SEALED_ROUND__INIT;
  int r = nx_codec_check_text(m->name, sizeof m->name, "event: name", err);
  if (!r)
    r = nx_codec_check_text(m->text, sizeof m->text, "event: text", err);
  if (!r && m->member > NX_ADMIN_MEMBERS)
    r = nx_fail(err, NX_E_INVALID, "event: member %u; ids end at 255", m->member);
  if (!r && m->has_status)
    r = fill_status(&m->status, &status, err);
  if (!r && m->has_sealed)
    r = fill_sealed(&m->sealed, &sealed, err);
  if (r < 0)
    return r;
  wire.time = m->time;
  wire.name = nx_codec_string(m->name);
  wire.member = m->member;
  wire.text = nx_codec_string(m->text);
  wire.status = m->has_status ? &status : NULL;
  wire.sealed = m->has_sealed ? &sealed : NULL;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_admin_event_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_admin_event *out,
                          struct nx_error *err) {
  Neurox__V1__Event *wire;
  int r = nx_codec_unpack(&neurox__v1__event__descriptor, bytes, NX_MESSAGE_CAP_MAIN, arena,
                          "event", &wire, err);
  if (r < 0)
    return r;
  memset(out, 0, sizeof *out);
  out->time = wire->time;
  out->member = wire->member;
  out->has_status = wire->status != NULL;
  out->has_sealed = wire->sealed != NULL;
  if (out->member > NX_ADMIN_MEMBERS)
    return nx_fail(err, NX_E_PROTOCOL, "event: member %u; ids end at 255", out->member);
  r = nx_codec_text(wire->name, out->name, sizeof out->name, "event: name", err);
  if (!r)
    r = nx_codec_text(wire->text, out->text, sizeof out->text, "event: text", err);
  if (!r && wire->status)
    r = read_status(wire->status, &out->status, err);
  if (!r && wire->sealed)
    r = read_sealed(wire->sealed, &out->sealed, err);
  return r;
}
