#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "node/session/pinned.h"
#include "tests/unit/cmocka_shim.h"

struct fixture {
  char folder[64], path[NX_PATH_SIZE];
  struct nx_identity *coordinator, *keys[3], *next;
  struct nx_manifest_member members[4];
  size_t n_members;
  uint64_t revision;
  struct nx_hash previous;
  struct nx_pinned_expected expected;
  struct nx_buffer bytes, chain;
  struct nx_signature signature;
};

static void seal(struct fixture *f) {
  struct nx_manifest manifest = {.coordinator = *nx_identity_public(f->coordinator),
                                 .sealed = 1,
                                 .members = f->members,
                                 .n_members = f->n_members,
                                 .revision = f->revision,
                                 .previous = f->previous};
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
  assert_int_equal(nx_identity_create(&nx_entropy_system, &f->next, NULL), 0);
  f->n_members = 3;
  for (uint32_t i = 0; i < 3; i++) {
    f->members[i].id = i + 1;
    f->members[i].name[0] = (char)('a' + i);
    assert_int_equal(nx_identity_create(&nx_entropy_system, &f->keys[i], NULL), 0);
    f->members[i].identity = *nx_identity_public(f->keys[i]);
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
  char chain[NX_PATH_SIZE + 8];
  snprintf(chain, sizeof chain, "%s.chain", f->path);
  unlink(chain);
  unlink(f->path);
  rmdir(f->folder);
  nx_identity_destroy(f->coordinator);
  nx_buffer_finish(&f->bytes);
  nx_buffer_finish(&f->chain);
  for (int i = 0; i < 3; i++)
    nx_identity_destroy(f->keys[i]);
  nx_identity_destroy(f->next);
  free(f);
  return 0;
}

static int see(struct fixture *f, struct nx_error *err) {
  struct nx_pinned pinned = {0};
  const struct nx_pinned_shown shown = {.manifest = nx_buffer_view(&f->bytes),
                                        .chain = nx_buffer_view(&f->chain),
                                        .signature = f->signature};
  int r = nx_pinned_see(f->path, &f->expected, &shown, NULL, &pinned, err);
  if (r >= 0 && r != NX_PINNED_WAITING)
    assert_string_equal(nx_pinned_find(&pinned, 2)->name, "b");
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
  assert_int_equal(see(f, &err), NX_E_DENIED);
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

/* Appends what was sealed last to the chain, approved by the first n of the list before. */
static void link_up(struct fixture *f, size_t n) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer link = {0};
  uint8_t statement[NX_MEMBERS_STATEMENT_SIZE];
  struct nx_manifest_approval approvals[3];
  struct nx_manifest manifest;
  struct nx_hash hash = nx_sha256(f->bytes.data, f->bytes.size);
  assert_int_equal(nx_arena_create(0, &arena, NULL), 0);
  assert_int_equal(nx_manifest_decode(nx_buffer_view(&f->bytes), arena, &manifest, NULL), 0);
  nx_manifest_statement(&manifest, &hash, statement);
  for (size_t i = 0; i < n; i++) {
    approvals[i].member = (uint32_t)i + 1;
    assert_int_equal(nx_sign(f->keys[i], NX_MEMBERS_APPROVE, nx_bytes(statement, sizeof statement),
                             &approvals[i].signature, NULL),
                     0);
  }
  const struct nx_manifest_revision revision = {nx_buffer_view(&f->bytes), f->signature, approvals,
                                                n};
  assert_int_equal(nx_manifest_revision_encode(&revision, &link, NULL), 0);
  assert_int_equal(nx_manifest_chain_append(&f->chain, nx_buffer_view(&link), NULL), 0);
}

static void begin_revision(struct fixture *f) {
  f->previous = nx_sha256(f->bytes.data, f->bytes.size);
  f->revision++;
}

static void add_fourth(struct fixture *f) {
  begin_revision(f);
  f->members[3] =
      (struct nx_manifest_member){.id = 4, .name = "d", .identity = {{44}}, .spki = {{4}}};
  f->n_members = 4;
  seal(f);
}

static void a_list_that_enough_approved_takes_the_pinned_ones_place(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  assert_int_equal(see(f, &err), NX_PINNED_NEW);
  link_up(f, 0);
  add_fourth(f);
  assert_int_equal(see(f, &err), NX_E_DENIED); /* without the chain that ends in it */
  size_t before = f->chain.size;
  link_up(f, 2);
  assert_int_equal(see(f, &err), NX_E_CRYPTO); /* t = 3 of 3 */
  assert_non_null(strstr(err.text, "2 of 3 members approved"));
  f->chain.size = before;
  link_up(f, 3);
  assert_int_equal(see(f, &err), NX_PINNED_REVISED);
  assert_int_equal(see(f, &err), 0);
  begin_revision(f);
  f->n_members = 3; /* it goes again */
  seal(f);
  link_up(f, 3);
  begin_revision(f);
  f->members[1].identity = *nx_identity_public(f->next);
  seal(f);
  link_up(f, 3);
  assert_int_equal(see(f, &err), NX_E_PROTOCOL); /* a key that this node never asked for */
  f->expected.next_key = nx_identity_public(f->next);
  assert_int_equal(see(f, &err), NX_PINNED_REVISED); /* two revisions at once */
}

static void a_list_before_the_pinned_one_is_refused(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer founders = {0};
  nx_buffer_append(&founders, f->bytes.data, f->bytes.size, NULL);
  struct nx_signature signature = f->signature;
  link_up(f, 0);
  add_fourth(f);
  link_up(f, 3);
  assert_int_equal(see(f, &err), NX_PINNED_NEW); /* who comes later follows from the founders */
  f->bytes.size = 0;
  nx_buffer_append(&f->bytes, founders.data, founders.size, NULL);
  f->signature = signature;
  assert_int_equal(see(f, &err), NX_E_DENIED);
}

static void a_site_that_is_not_listed_waits_or_was_taken_out(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->expected.member = 9;
  assert_int_equal(see(f, &err), NX_PINNED_WAITING);
  assert_false(nx_path_exists(f->path));
  f->expected.member = 2;
  assert_int_equal(see(f, &err), NX_PINNED_NEW);
  link_up(f, 0);
  add_fourth(f);
  link_up(f, 3);
  assert_int_equal(see(f, &err), NX_PINNED_REVISED);
  f->expected.member = 9; /* as if this node were the one that is gone */
  assert_int_equal(see(f, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "took this site out"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(first_sight_pins_and_later_it_must_be_the_same),
      TEST(badly_signed_list_is_not_pinned),
      TEST(list_of_others_is_not_pinned),
      TEST(a_list_that_enough_approved_takes_the_pinned_ones_place),
      TEST(a_list_before_the_pinned_one_is_refused),
      TEST(a_site_that_is_not_listed_waits_or_was_taken_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
