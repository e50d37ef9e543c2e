#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/manifest.h"
#include "tests/unit/cmocka_shim.h"

static struct nx_manifest *example(struct nx_identity **coordinator) {
  struct nx_manifest *m = calloc(1, sizeof *m);
  assert_int_equal(nx_identity_create(&nx_entropy_system, coordinator, NULL), 0);
  strcpy(m->name, "Sleep consortium");
  m->revision = 1;
  m->coordinator_key = *nx_identity_public(*coordinator);
  m->coordinator_spki.bytes[0] = 9;
  m->n_members = 3;
  for (uint32_t i = 0; i < 3; i++) {
    m->members[i].id = 2 * i + 1;
    snprintf(m->members[i].name, sizeof m->members[i].name, "site-%u", i);
    m->members[i].key.bytes[0] = (uint8_t)(i + 1);
    m->members[i].spki.bytes[0] = (uint8_t)(i + 11);
  }
  return m;
}

static void what_is_encoded_decodes(void **state) {
  (void)state;
  struct nx_identity *coordinator;
  struct nx_manifest *m = example(&coordinator), *again = calloc(1, sizeof *again);
  struct nx_buffer bytes = {0};
  struct nx_signature signature;
  assert_int_equal(nx_manifest_encode(m, &bytes, NULL), 0);
  assert_int_equal(nx_manifest_decode(nx_buffer_view(&bytes), again, NULL), 0);
  assert_memory_equal(m, again, sizeof *m);
  assert_string_equal(nx_manifest_find(again, 3)->name, "site-1");
  assert_null(nx_manifest_find(again, 2));

  assert_int_equal(nx_sign(coordinator, "manifest", nx_buffer_view(&bytes), &signature, NULL), 0);
  assert_int_equal(nx_manifest_verify(again, nx_buffer_view(&bytes), &signature, NULL), 0);
  bytes.data[20] ^= 1;
  assert_int_equal(nx_manifest_verify(again, nx_buffer_view(&bytes), &signature, NULL),
                   NX_E_CRYPTO);
  nx_buffer_finish(&bytes);
  nx_identity_destroy(coordinator);
  free(again);
  free(m);
}

static void truncated_and_longer_bytes_are_refused(void **state) {
  (void)state;
  struct nx_identity *coordinator;
  struct nx_manifest *m = example(&coordinator), *again = calloc(1, sizeof *again);
  struct nx_buffer bytes = {0};
  assert_int_equal(nx_manifest_encode(m, &bytes, NULL), 0);
  for (size_t n = 0; n < bytes.size; n++)
    assert_int_equal(nx_manifest_decode(nx_bytes(bytes.data, n), again, NULL), NX_E_FORMAT);
  nx_buffer_append(&bytes, "", 1, NULL);
  assert_int_equal(nx_manifest_decode(nx_buffer_view(&bytes), again, NULL), NX_E_FORMAT);
  nx_buffer_finish(&bytes);
  nx_identity_destroy(coordinator);
  free(again);
  free(m);
}

static void doubles_and_odd_names_are_refused(void **state) {
  (void)state;
  struct nx_identity *coordinator;
  struct nx_manifest *m = example(&coordinator);
  struct nx_buffer bytes = {0};
  m->members[2].id = 3;
  assert_int_equal(nx_manifest_encode(m, &bytes, NULL), NX_E_INVALID);
  m->members[2].id = 5;
  m->members[2].key = m->members[0].key;
  assert_int_equal(nx_manifest_encode(m, &bytes, NULL), NX_E_INVALID);
  m->members[2].key.bytes[0] = 77;
  strcpy(m->members[1].name, "\033[2J");
  assert_int_equal(nx_manifest_encode(m, &bytes, NULL), NX_E_INVALID);
  nx_buffer_finish(&bytes);
  nx_identity_destroy(coordinator);
  free(m);
}

static void fingerprints_follow_the_keys(void **state) {
  (void)state;
  struct nx_identity *coordinator;
  struct nx_manifest *m = example(&coordinator);
  char a[NX_FINGERPRINT_SIZE], b[NX_FINGERPRINT_SIZE];
  nx_manifest_fingerprint(&m->members[0], a);
  m->members[0].spki.bytes[31] ^= 1;
  nx_manifest_fingerprint(&m->members[0], b);
  assert_string_not_equal(a, b);
  nx_identity_destroy(coordinator);
  free(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_encoded_decodes),
      cmocka_unit_test(truncated_and_longer_bytes_are_refused),
      cmocka_unit_test(doubles_and_odd_names_are_refused),
      cmocka_unit_test(fingerprints_follow_the_keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
