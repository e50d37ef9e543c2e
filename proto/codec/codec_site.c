#include "proto/codec/codec_site.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/codec/codec_support.h"
#include "site.pb-c.h"

/* --- counts and sets -------------------------------------------------------------------- */

uint32_t nx_fit_bucket(size_t n) {
  static const uint32_t steps[] = {5, 10, 20};
  uint32_t edge = 0;
  for (uint32_t ten = 1; ten <= 100000000; ten *= 10)
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
      if (n >= (size_t)steps[i] * ten)
        edge = steps[i] * ten;
  return edge;
}

/* --- fit -------------------------------------------------------------------------------- */

static int check_fit(const struct nx_fit_message *m, int code, struct nx_error *err) {
  if (m->verdict < NX_FIT_YES || m->verdict > NX_FIT_UNSAID)
    return nx_fail(err, code, "fit: verdict %u", (unsigned)m->verdict);
  if (nx_hash_is_zero(&m->plan))
    return nx_fail(err, code, "fit: of no plan");
  if ((m->met & m->unmet) || (m->unmet != 0) != (m->verdict == NX_FIT_NO))
    return nx_fail(err, code, "fit: answers that contradict each other");
  if (m->verdict == NX_FIT_UNSAID && (m->met || m->counted))
    return nx_fail(err, code, "fit: unsaid, and said");
  if (!m->counted && (m->subjects || m->recordings))
    return nx_fail(err, code, "fit: counts of a site that does not count");
  if (m->subjects != nx_fit_bucket(m->subjects) || m->recordings != nx_fit_bucket(m->recordings))
    return nx_fail(err, code, "fit: a count that is no edge of a bucket");
  return 0;
}

void nx_fit_bucket_tell(uint32_t edge, char out[24]) {
  if (edge)
    snprintf(out, 24, "%u or more", edge);
  else
    snprintf(out, 24, "fewer than 5");
}

size_t nx_requirements_list(uint32_t set, uint32_t out[NX_REQUIREMENTS]) {
  size_t n = 0;
  for (uint32_t i = 1; i < NX_REQUIREMENTS; i++)
    if (set & 1u << i && nx_requirement_name(i))
      out[n++] = i;
  return n;
}

int nx_requirements_set(const uint32_t *list, size_t n, uint32_t *set_out, struct nx_error *err) {
  uint32_t last = 0;
  *set_out = 0;
  for (size_t i = 0; i < n; i++) {
    if (list[i] <= last || list[i] > 1000)
      return nx_fail(err, NX_E_PROTOCOL, "requirement %u after %u", list[i], last);
    last = list[i];
    *set_out |= 1u << (nx_requirement_name(last) ? last : NX_REQUIRES_OTHER);
  }
  return 0;
}

int nx_fit_message_encode(const struct nx_fit_message *m, struct nx_buffer *out,
                          struct nx_error *err) {
  Neurox__V1__Fit wire = NEUROX__V1__FIT__INIT;
  uint32_t met[NX_REQUIREMENTS], unmet[NX_REQUIREMENTS];
  int r = check_fit(m, NX_E_INVALID, err);
  if (r < 0)
    return r;
  wire.federation = nx_codec_field(m->federation, sizeof m->federation);
  wire.plan = nx_codec_hash_field(&m->plan);
  wire.at = m->at;
  wire.verdict = m->verdict;
  wire.met = met, wire.n_met = nx_requirements_list(m->met, met);
  wire.unmet = unmet, wire.n_unmet = nx_requirements_list(m->unmet, unmet);
  wire.counted = m->counted;
  wire.subjects = m->subjects;
  wire.recordings = m->recordings;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_fit_message_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_fit_message *out,
                          struct nx_error *err) {
  Neurox__V1__Fit *wire;
  int r = nx_codec_unpack(&neurox__v1__fit__descriptor, bytes, NX_SITE_MESSAGE_CAP, arena, "fit",
                          &wire, err);
  if (r < 0)
    return r;
  *out = (struct nx_fit_message){.at = wire->at,
                                 .verdict = (enum nx_fit_verdict)wire->verdict,
                                 .counted = wire->counted,
                                 .subjects = wire->subjects,
                                 .recordings = wire->recordings};
  r = nx_codec_fixed(wire->federation, out->federation, sizeof out->federation, "fit: federation",
                     err);
  if (!r)
    r = nx_codec_hash(wire->plan, &out->plan, "fit: plan", err);
  if (!r)
    r = nx_requirements_set(wire->met, wire->n_met, &out->met, err);
  if (!r)
    r = nx_requirements_set(wire->unmet, wire->n_unmet, &out->unmet, err);
  out->met &= ~(1u << NX_REQUIRES_OTHER);
  return r < 0 ? r : check_fit(out, NX_E_PROTOCOL, err);
}

/* --- withdrawn -------------------------------------------------------------------------- */

static int check_number(size_t n, int code, struct nx_error *err) {
  return n && n <= NX_WITHDRAWN_MODELS
             ? 0
             : nx_fail(err, code, "withdrawn: %zu models; 1 to %d are taken", n,
                       NX_WITHDRAWN_MODELS);
}

int nx_withdrawn_message_encode(const struct nx_withdrawn_message *m, struct nx_buffer *out,
                                struct nx_error *err) {
  Neurox__V1__Withdrawn wire = NEUROX__V1__WITHDRAWN__INIT;
  int r = check_number(m->n, NX_E_INVALID, err);
  if (r < 0)
    return r;
  _cleanup_free_ ProtobufCBinaryData *models = calloc(m->n, sizeof *models);
  if (!models)
    return nx_fail(err, NX_E_NOMEM, "withdrawn: out of memory");
  for (size_t i = 0; i < m->n; i++)
    models[i] = nx_codec_field(m->models[i].bytes, sizeof m->models[i].bytes);
  wire.federation = nx_codec_field(m->federation, sizeof m->federation);
  wire.at = m->at;
  wire.models = models;
  wire.n_models = m->n;
  return nx_codec_pack(&wire.base, out, err);
}

int nx_withdrawn_message_decode(struct nx_bytes bytes, struct nx_arena *arena,
                                struct nx_withdrawn_message *out, struct nx_error *err) {
  Neurox__V1__Withdrawn *wire;
  int r = nx_codec_unpack(&neurox__v1__withdrawn__descriptor, bytes, NX_SITE_MESSAGE_CAP, arena,
                          "withdrawn", &wire, err);
  if (r < 0 || (r = check_number(wire->n_models, NX_E_PROTOCOL, err)) < 0)
    return r;
  struct nx_hash *models = nx_arena_alloc(arena, wire->n_models, sizeof *models);
  if (!models)
    return nx_fail(err, NX_E_LIMIT, "withdrawn: no room for its list");
  *out = (struct nx_withdrawn_message){.at = wire->at, .models = models, .n = wire->n_models};
  r = nx_codec_fixed(wire->federation, out->federation, sizeof out->federation,
                     "withdrawn: federation", err);
  for (size_t i = 0; i < wire->n_models && !r; i++)
    r = nx_codec_fixed(wire->models[i], models[i].bytes, sizeof models[i].bytes,
                       "withdrawn: model", err);
  return r;
}
