#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "node/session/pinned.h"
#include "tests/unit/cmocka_shim.h"

struct fixture {
  char folder[64], path[NX_PATH_SIZE];
  struct nx_identity *coordinator;
  struct nx_manifest_member members[3];
  struct nx_pinned_expected expected;
  struct nx_buffer bytes;
  struct nx_signature signature;
};

static void seal(struct fixture *f) {
  struct nx_manifest manifest = {.coordinator = *nx_identity_public(f->coordinator),
                                 .sealed = 1,
                                 .members = f->members,
                                 .n_members = 3};
  memcpy(manifest.federation, f->expected.federation, sizeof manifest.federation);
  manifest.coordinator_spki = f->expected.coordinator_spki;
  strcpy(manifest.name, "test");
  f->bytes.size = 0;
  struct nx_error err = {0};
  if (nx_manifest_encode(&manifest, &f->bytes, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(nx_sign(f->coordinator, NX_MANIFEST_SIGNED_AS, nx_buffer_view(&f->bytes),
                           &f->signature, NULL),
                   0);
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-pinned-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  nx_path_join(f->path, f->folder, "manifest", NULL);
  assert_int_equal(nx_identity_create(&nx_entropy_system, &f->coordinator, NULL), 0);
  for (uint32_t i = 0; i < 3; i++) {
    f->members[i].id = i + 1;
    f->members[i].name[0] = (char)('a' + i);
    memset(&f->members[i].identity, (int)i + 1, sizeof f->members[i].identity);
    memset(&f->members[i].spki, (int)i + 11, sizeof f->members[i].spki);
  }
  memset(f->expected.federation, 5, sizeof f->expected.federation);
  memset(&f->expected.coordinator_spki, 6, sizeof f->expected.coordinator_spki);
  f->expected.coordinator = *nx_identity_public(f->coordinator);
  f->expected.member = 2;
  f->expected.key = f->members[1].identity;
  f->expected.spki = f->members[1].spki;
  seal(f);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  unlink(f->path);
  rmdir(f->folder);
  nx_identity_destroy(f->coordinator);
  nx_buffer_finish(&f->bytes);
  free(f);
  return 0;
}

static int see(struct fixture *f, struct nx_error *err) {
  struct nx_pinned pinned = {0};
  int r =
      nx_pinned_see(f->path, &f->expected, nx_buffer_view(&f->bytes), &f->signature, &pinned, err);
  if (r >= 0)
    assert_string_equal(nx_pinned_find(&pinned, 3)->name, "c");
  nx_pinned_finish(&pinned);
  return r;
}

static void first_sight_pins_and_later_it_must_be_the_same(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  assert_int_equal(see(f, &err), NX_PINNED_NEW);
  assert_int_equal(see(f, &err), 0);
  strcpy(f->members[2].name, "sybil");
  seal(f);
  struct nx_pinned pinned = {0};
  assert_int_equal(
      nx_pinned_see(f->path, &f->expected, nx_buffer_view(&f->bytes), &f->signature, &pinned, &err),
      NX_E_DENIED);
  assert_non_null(strstr(err.text, "another list of members"));
}

static void badly_signed_list_is_not_pinned(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->signature.bytes[3] ^= 1;
  assert_int_equal(see(f, &err), NX_E_CRYPTO);
  assert_false(nx_path_exists(f->path));
}

static void list_of_others_is_not_pinned(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->expected.federation[0] ^= 1;
  assert_int_equal(see(f, &err), NX_E_PROTOCOL);
  f->expected.federation[0] ^= 1;
  f->expected.spki.bytes[0] ^= 1;
  assert_int_equal(see(f, &err), NX_E_PROTOCOL);
  f->expected.spki.bytes[0] ^= 1;
  f->expected.coordinator_spki.bytes[0] ^= 1;
  assert_int_equal(see(f, &err), NX_E_PROTOCOL);
  assert_false(nx_path_exists(f->path));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(first_sight_pins_and_later_it_must_be_the_same),
      TEST(badly_signed_list_is_not_pinned),
      TEST(list_of_others_is_not_pinned),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
