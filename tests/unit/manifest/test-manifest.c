/* Manifest: reads back as written; members that overlap or are out of order are refused. */
#include <stdio.h>

#include "proto/codec/codec_manifest.h"
#include "tests/unit/cmocka_shim.h"

static struct nx_manifest_member members[4];

static struct nx_manifest example(void) {
  for (uint32_t i = 0; i < 4; i++) {
    members[i] = (struct nx_manifest_member){.id = 2 * i + 1};
    snprintf(members[i].name, sizeof members[i].name, "site-%u", i);
    memset(&members[i].identity, (int)i + 1, sizeof members[i].identity);
    memset(&members[i].spki, (int)i + 101, sizeof members[i].spki);
  }
  return (struct nx_manifest){.federation = {1, 2, 3},
                              .name = "lab",
                              .coordinator = {{9}},
                              .coordinator_spki = {{8}},
                              .sealed = 1800000000000000000,
                              .members = members,
                              .n_members = 4};
}

static int decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_manifest *out) {
  nx_arena_reset(arena);
  return nx_manifest_decode(bytes, arena, out, NULL);
}

static void manifest_reads_back(void **state) {
  (void)state;
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0}, again = {0};
  struct nx_manifest in = example(), out;
  assert_int_equal(nx_arena_create(0, &arena, NULL), 0);
  assert_int_equal(nx_manifest_encode(&in, &bytes, NULL), 0);
  assert_int_equal(decode(nx_buffer_view(&bytes), arena, &out), 0);
  assert_int_equal(out.n_members, 4);
  assert_string_equal(out.members[3].name, "site-3");
  assert_true(out.sealed == in.sealed);
  assert_int_equal(nx_manifest_encode(&out, &again, NULL), 0);
  assert_int_equal(again.size, bytes.size);
  assert_memory_equal(again.data, bytes.data, bytes.size);
}

static void overlapping_members_are_not_written(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_manifest m = example();
  members[1].id = 1;
  assert_int_equal(nx_manifest_encode(&m, &bytes, NULL), NX_E_INVALID);
  m = example();
  members[2].identity = members[0].identity;
  assert_int_equal(nx_manifest_encode(&m, &bytes, NULL), NX_E_INVALID);
  m = example();
  members[2].spki = members[0].spki;
  assert_int_equal(nx_manifest_encode(&m, &bytes, NULL), NX_E_INVALID);
  m = example();
  snprintf(members[3].name, sizeof members[3].name, "site-0");
  assert_int_equal(nx_manifest_encode(&m, &bytes, NULL), NX_E_INVALID);
  m = example();
  members[0].name[1] = '\033';
  assert_int_equal(nx_manifest_encode(&m, &bytes, NULL), NX_E_INVALID);
  m = example();
  m.n_members = 2;
  assert_int_equal(nx_manifest_encode(&m, &bytes, NULL), NX_E_INVALID);
  assert_int_equal(bytes.size, 0);
}

/* Whatever a changed byte does, what comes out obeys the rules above. */
static void tampered_manifests_are_refused_or_well_formed(void **state) {
  (void)state;
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0}, again = {0};
  struct nx_manifest in = example(), out;
  int refused = 0;
  assert_int_equal(nx_arena_create(1 << 20, &arena, NULL), 0);
  assert_int_equal(nx_manifest_encode(&in, &bytes, NULL), 0);
  for (size_t i = 0; i < bytes.size; i++)
    for (int bit = 0; bit < 8; bit++) {
      bytes.data[i] ^= (uint8_t)(1 << bit);
      if (decode(nx_buffer_view(&bytes), arena, &out) < 0)
        refused++;
      else
        assert_int_equal(nx_manifest_encode(&out, &again, NULL), 0);
      bytes.data[i] ^= (uint8_t)(1 << bit);
    }
  assert_true(refused > 0);
  for (size_t n = 0; n < bytes.size; n++) {
    uint8_t *cut = n ? bytes.data : NULL;
    if (decode(nx_bytes(cut, n), arena, &out) == 0)
      assert_true(out.n_members >= 3);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(manifest_reads_back),
      cmocka_unit_test(overlapping_members_are_not_written),
      cmocka_unit_test(tampered_manifests_are_refused_or_well_formed),
  };
  return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
