#include "crypto/transcript.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

static struct nx_transcript_member members[3];

static struct nx_transcript_context context(void) {
  const struct nx_transcript_parameters p = {.kind = 2,
                                             .n_lanes = 1000,
                                             .n_aux = 518,
                                             .ring_bits = 32,
                                             .value_bits = 24,
                                             .value_range = 0.5,
                                             .clip_norm = 1.25};
  struct nx_transcript_context c = {.suite = NX_SUITE_SA1,
                                    .round = 5,
                                    .attempt = 2,
                                    .members = members,
                                    .n_members = 3,
                                    .threshold = 3,
                                    .parameters = nx_transcript_parameters(&p)};
  const uint32_t ids[3] = {1, 7, 255};
  for (unsigned i = 0; i < 3; i++) {
    members[i].id = ids[i];
    fill_bytes(&members[i].spki, 32, 10 + 2 * i);
    fill_bytes(&members[i].signing_key, 32, 11 + 2 * i);
  }
  fill_bytes(c.federation, 16, 20);
  fill_bytes(&c.manifest, 32, 21);
  fill_bytes(&c.plan, 32, 22);
  fill_bytes(&c.model, 32, 23);
  fill_bytes(&c.coordinator_spki, 32, 24);
  return c;
}

static void the_form_of_masks_is_bound_behind_the_rest(void **state) {
  (void)state;
  struct nx_transcript_parameters p = {.kind = 2,
                                       .n_lanes = 1000,
                                       .n_aux = 518,
                                       .ring_bits = 16,
                                       .value_bits = 8,
                                       .value_range = 0.5,
                                       .clip_norm = 1.25};
  assert_int_equal(nx_parameters_mask_form(&p).keystream_bits, 32);
  p.narrow_keystream = 1;
  struct nx_hash hash = nx_transcript_parameters(&p);
  assert_hex(hash.bytes, 32, VECTOR_PARAMETERS_NARROW);
  assert_int_equal(nx_parameters_mask_form(&p).keystream_bits, 16);
  p.mask_cipher = NX_MASK_AEGIS_256;
  hash = nx_transcript_parameters(&p);
  assert_hex(hash.bytes, 32, VECTOR_PARAMETERS_NARROW_AEGIS);
  p.narrow_keystream = 0;
  hash = nx_transcript_parameters(&p);
  assert_hex(hash.bytes, 32, VECTOR_PARAMETERS_AEGIS);
  assert_int_equal(nx_parameters_mask_form(&p).cipher, NX_MASK_AEGIS_256);
}

static struct nx_hash t0_of(const struct nx_transcript_context *c) {
  struct nx_hash t0;
  assert_int_equal(nx_transcript_t0(c, &t0, NULL), 0);
  return t0;
}

static void transcripts_are_those_of_the_other_implementation(void **state) {
  (void)state;
  struct nx_transcript_context c = context();
  assert_hex(c.parameters.bytes, 32, VECTOR_PARAMETERS);
  struct nx_hash t0 = t0_of(&c), t1, t2, t3;
  assert_hex(t0.bytes, 32, VECTOR_T0);
  const struct nx_transcript_advert adverts[] = {{1, nx_bytes("advert of 1", 11)},
                                                 {7, nx_bytes("of 7", 4)}};
  assert_int_equal(nx_transcript_t1(&t0, adverts, 2, &t1, NULL), 0);
  assert_hex(t1.bytes, 32, VECTOR_T1);
  struct nx_transcript_entry entries[] = {{.id = 1}, {.id = 7}};
  fill_bytes(&entries[0].hash, 32, 30);
  fill_bytes(&entries[1].hash, 32, 31);
  assert_int_equal(nx_transcript_t2(&t1, entries, 2, &t2, NULL), 0);
  assert_hex(t2.bytes, 32, VECTOR_T2);
  fill_bytes(&entries[0].hash, 32, 32);
  fill_bytes(&entries[1].hash, 32, 33);
  assert_int_equal(nx_transcript_t3(&t2, entries, 2, &t3, NULL), 0);
  assert_hex(t3.bytes, 32, VECTOR_T3);

  struct nx_secret secret;
  fill_bytes(&secret, 32, 60);
  struct nx_hash b = nx_commit_self_seed(&t0, 7, &secret);
  assert_hex(b.bytes, 32, VECTOR_COMMIT_B);
  fill_bytes(&secret, 32, 61);
  b = nx_commit_b_share(&t1, 7, 1, &secret);
  assert_hex(b.bytes, 32, VECTOR_COMMIT_SHARE_B);
  b = nx_commit_s_share(&t1, 7, 1, &secret);
  assert_hex(b.bytes, 32, VECTOR_COMMIT_SHARE_S);
}

static void every_field_of_the_context_changes_t0(void **state) {
  (void)state;
  struct nx_transcript_context c = context();
  const struct nx_hash t0 = t0_of(&c);
  struct nx_hash changed;
#define CHANGES(statement)                                                                         \
  c = context();                                                                                   \
  statement;                                                                                       \
  changed = t0_of(&c);                                                                             \
  assert_false(nx_hash_equal(&t0, &changed))
  CHANGES(c.suite++);
  CHANGES(c.federation[15]++);
  CHANGES(c.manifest.bytes[0]++);
  CHANGES(c.plan.bytes[0]++);
  CHANGES(c.model.bytes[31]++);
  CHANGES(c.round++);
  CHANGES(c.attempt++);
  CHANGES(members[1].id++);
  CHANGES(members[2].spki.bytes[0]++);
  CHANGES(members[2].signing_key.bytes[0]++);
  CHANGES(c.n_members--);
  CHANGES(c.threshold++);
  CHANGES(c.coordinator_spki.bytes[0]++);
  CHANGES(c.parameters.bytes[0]++);
#undef CHANGES
}

static void unsorted_doubled_or_impossible_ids_are_refused(void **state) {
  (void)state;
  struct nx_hash t = {0}, out;
  struct nx_error err = {0};
  struct nx_transcript_entry entries[] = {{.id = 7}, {.id = 1}};
  assert_int_equal(nx_transcript_t2(&t, entries, 2, &out, &err), NX_E_INVALID);
  entries[1].id = 7;
  assert_int_equal(nx_transcript_t3(&t, entries, 2, &out, &err), NX_E_INVALID);
  entries[0].id = 0;
  assert_int_equal(nx_transcript_t2(&t, entries, 1, &out, &err), NX_E_INVALID);
  entries[0].id = 256;
  assert_int_equal(nx_transcript_t2(&t, entries, 1, &out, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "256"));
  struct nx_transcript_context c = context();
  members[1].id = 255;
  assert_int_equal(nx_transcript_t0(&c, &out, &err), NX_E_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(transcripts_are_those_of_the_other_implementation),
      cmocka_unit_test(the_form_of_masks_is_bound_behind_the_rest),
      cmocka_unit_test(every_field_of_the_context_changes_t0),
      cmocka_unit_test(unsorted_doubled_or_impossible_ids_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
