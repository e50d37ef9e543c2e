/* Chains of members' lists: valid with the signatures of t members of the list before, and with
 * nothing less; the same told by a log and judged by nx_audit_members(). */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/audit_members.h"
#include "proto/codec/manifest_chain.h"
#include "tests/unit/cmocka_shim.h"

#define MOST 8

static struct nx_identity *coordinator, *keys[MOST + 1]; /* keys of members by id */
static struct nx_buffer bodies[4], encoded;
static struct nx_manifest_revision links[4];
static struct nx_manifest_approval approvals[4][MOST];
static struct nx_arena *arena;

static int set_up_keys(void **state) {
  (void)state;
  assert_int_equal(nx_identity_create(&nx_entropy_system, &coordinator, NULL), 0);
  for (int i = 1; i <= MOST; i++)
    assert_int_equal(nx_identity_create(&nx_entropy_system, &keys[i], NULL), 0);
  return nx_arena_create(0, &arena, NULL);
}

static int tear_down_keys(void **state) {
  (void)state;
  nx_identity_destroy(coordinator);
  for (int i = 1; i <= MOST; i++)
    nx_identity_destroy(keys[i]);
  for (int i = 0; i < 4; i++)
    nx_buffer_finish(&bodies[i]);
  nx_buffer_finish(&encoded);
  nx_arena_destroy(arena);
  return 0;
}

static struct nx_hash hash_of(size_t link) {
  return nx_sha256(bodies[link].data, bodies[link].size);
}

/* Members `ids` make list number `at`; the key of member `rotated` is key 8. */
static void make_list(size_t at, const char *ids, uint32_t rotated) {
  struct nx_manifest_member members[MOST] = {0};
  struct nx_manifest manifest = {.federation = {7},
                                 .name = "test",
                                 .coordinator = *nx_identity_public(coordinator),
                                 .coordinator_spki = {{6}},
                                 .members = members,
                                 .revision = at};
  for (; *ids; ids++) {
    struct nx_manifest_member *m = &members[manifest.n_members++];
    m->id = (uint32_t)(*ids - '0');
    snprintf(m->name, sizeof m->name, "site-%u", m->id);
    m->identity = *nx_identity_public(keys[m->id == rotated ? MOST : m->id]);
    m->spki.bytes[0] = (uint8_t)m->id;
  }
  if (at)
    manifest.previous = hash_of(at - 1);
  bodies[at].size = 0;
  assert_int_equal(nx_manifest_encode(&manifest, &bodies[at], NULL), 0);
  links[at] = (struct nx_manifest_revision){.manifest = nx_buffer_view(&bodies[at])};
  assert_int_equal(nx_sign(coordinator, NX_MANIFEST_SIGNED_AS, nx_buffer_view(&bodies[at]),
                           &links[at].signature, NULL),
                   0);
}

/* Members `ids` approve of list `at`, with the keys they have. */
static void approve(size_t at, const char *ids) {
  uint8_t statement[NX_MEMBERS_STATEMENT_SIZE];
  struct nx_manifest manifest;
  struct nx_hash hash = hash_of(at);
  assert_int_equal(nx_manifest_decode(nx_buffer_view(&bodies[at]), arena, &manifest, NULL), 0);
  nx_manifest_statement(&manifest, &hash, statement);
  links[at].approvals = approvals[at];
  links[at].n_approvals = 0;
  for (; *ids; ids++) {
    struct nx_manifest_approval *a = &approvals[at][links[at].n_approvals++];
    a->member = (uint32_t)(*ids - '0');
    assert_int_equal(nx_sign(keys[a->member], NX_MEMBERS_APPROVE,
                             nx_bytes(statement, sizeof statement), &a->signature, NULL),
                     0);
  }
}

static void good_chain(void) {
  make_list(0, "1234", 0);
  make_list(1, "12345", 0), approve(1, "124");
  make_list(2, "1345", 0), approve(2, "1345");
  make_list(3, "1345", 4), approve(3, "135");
}

static int verify(size_t n, struct nx_error *err) {
  struct nx_manifest last;
  struct nx_hash hash;
  return nx_manifest_chain_verify(links, n, nx_identity_public(coordinator), NULL, arena, &last,
                                  &hash, NULL, err);
}

static void a_chain_of_approved_lists_holds(void **state) {
  struct nx_manifest_revision *read;
  struct nx_manifest last;
  struct nx_hash hash, first, other = {{1}}, want;
  size_t n;
  bool has = false;
  (void)state;
  good_chain();
  encoded.size = 0;
  for (size_t i = 0; i < 4; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer one = {0};
    assert_int_equal(nx_manifest_revision_encode(&links[i], &one, NULL), 0);
    assert_int_equal(nx_manifest_chain_append(&encoded, nx_buffer_view(&one), NULL), 0);
  }
  assert_int_equal(nx_manifest_chain_decode(nx_buffer_view(&encoded), arena, &read, &n, NULL), 0);
  assert_int_equal(n, 4);
  first = hash_of(1), want = hash_of(3);
  assert_int_equal(nx_manifest_chain_verify(read, n, nx_identity_public(coordinator), &first, arena,
                                            &last, &hash, &has, NULL),
                   0);
  assert_true(has && nx_hash_equal(&hash, &want));
  assert_int_equal(last.n_members, 4);
  assert_memory_equal(&last.members[2].identity, nx_identity_public(keys[MOST]), 32);
  assert_int_equal(nx_manifest_chain_verify(read, n, nx_identity_public(coordinator), &other, arena,
                                            &last, &hash, &has, NULL),
                   0);
  assert_false(has);
}

static void too_few_or_false_approvals_are_refused(void **state) {
  struct nx_error err = {0};
  (void)state;
  good_chain();
  approve(1, "12"); /* t = 3 of 4 */
  assert_int_equal(verify(2, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "revision 1"));
  approve(1, "125"); /* the new member has no say in its own coming */
  assert_int_equal(verify(2, NULL), NX_E_CRYPTO);
  approve(1, "124");
  approvals[1][2] = approvals[1][1]; /* one signature counted twice */
  assert_int_equal(verify(2, NULL), NX_E_CRYPTO);
  approve(1, "124");
  approvals[1][0].signature.bytes[5] ^= 1;
  assert_int_equal(verify(2, NULL), NX_E_CRYPTO);
  good_chain();
  approve(3, "145"); /* still with its old key, as it must: the list before counts */
  assert_int_equal(verify(4, NULL), 0);
  struct nx_manifest_approval moved[3];
  memcpy(moved, approvals[1], sizeof moved);
  make_list(1, "123457", 0); /* approvals of another list */
  links[1].approvals = moved, links[1].n_approvals = 3;
  assert_int_equal(verify(2, NULL), NX_E_CRYPTO);
}

static void a_refusal_is_no_approval(void **state) {
  uint8_t statement[NX_MEMBERS_STATEMENT_SIZE];
  struct nx_manifest manifest;
  (void)state;
  good_chain();
  struct nx_hash hash = hash_of(1);
  assert_int_equal(nx_manifest_decode(nx_buffer_view(&bodies[1]), arena, &manifest, NULL), 0);
  nx_manifest_statement(&manifest, &hash, statement);
  assert_int_equal(nx_sign(keys[4], NX_MEMBERS_REFUSE, nx_bytes(statement, sizeof statement),
                           &approvals[1][2].signature, NULL),
                   0);
  assert_int_equal(verify(2, NULL), NX_E_CRYPTO);
}

static void lists_out_of_place_are_refused(void **state) {
  struct nx_error err = {0};
  (void)state;
  good_chain();
  struct nx_manifest_revision kept = links[1];
  links[1] = links[2];
  assert_int_equal(verify(2, &err), NX_E_PROTOCOL);
  assert_non_null(strstr(err.text, "does not follow"));
  links[1] = kept;
  links[2].signature.bytes[0] ^= 1; /* not the coordinator's */
  assert_int_equal(verify(3, NULL), NX_E_CRYPTO);
  struct nx_manifest_revision headless[1] = {links[1]};
  struct nx_manifest last;
  struct nx_hash hash;
  assert_int_equal(nx_manifest_chain_verify(headless, 1, nx_identity_public(coordinator), NULL,
                                            arena, &last, &hash, NULL, NULL),
                   NX_E_PROTOCOL);
}

static void damaged_chains_do_no_harm(void **state) {
  (void)state;
  a_chain_of_approved_lists_holds(state);
  for (size_t i = 0; i < encoded.size; i++) {
    struct nx_manifest_revision *read;
    size_t n;
    uint8_t kept = encoded.data[i];
    encoded.data[i] ^= (uint8_t)(1u << i % 8);
    nx_arena_reset(arena);
    if (nx_manifest_chain_decode(nx_buffer_view(&encoded), arena, &read, &n, NULL) == 0) {
      struct nx_manifest last;
      struct nx_hash hash;
      assert_true(nx_manifest_chain_verify(read, n, nx_identity_public(coordinator), NULL, arena,
                                           &last, &hash, NULL, NULL) < 0 ||
                  n < 4);
    }
    encoded.data[i] = kept;
  }
}

/* --- what a log tells ----------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *ftw) {
  (void)status, (void)kind, (void)ftw;
  return remove(path);
}

static int audit(size_t n, uint64_t from, int twice, struct nx_audit_members *now) {
  char folder[] = "/tmp/nx-members-XXXXXX", path[64];
  struct nx_audit_log *log;
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/audit", folder);
  assert_int_equal(nx_audit_log_open(path, "test", keys[1], &log, NULL), 0);
  assert_int_equal(nx_manifest_chain_log(log, links, n, from, NULL), 0);
  for (; twice; twice--)
    assert_int_equal(nx_manifest_chain_log(log, links, n, from, NULL), 0);
  assert_int_equal(nx_audit_log_close(log, NULL), 0);
  int r = nx_audit_members(path, now, NULL, NULL, NULL);
  nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  return r;
}

static void a_log_tells_who_came_and_went(void **state) {
  static struct nx_audit_members now;
  (void)state;
  good_chain();
  assert_int_equal(audit(4, 0, 0, &now), 0);
  assert_true(now.known && now.first == 0 && now.revision == 3 && now.n == 4);
  assert_int_equal(audit(4, 0, 2, &now), 0); /* a crash between log and file tells it again */
  assert_int_equal(now.revision, 3);
  assert_int_equal(audit(4, 2, 0, &now), 0);
  assert_int_equal(now.first, 2);
  approve(2, "13"); /* 4 of 5 are needed */
  assert_int_equal(audit(4, 0, 0, &now), NX_E_CRYPTO);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_chain_of_approved_lists_holds),
      cmocka_unit_test(too_few_or_false_approvals_are_refused),
      cmocka_unit_test(a_refusal_is_no_approval),
      cmocka_unit_test(lists_out_of_place_are_refused),
      cmocka_unit_test(damaged_chains_do_no_harm),
      cmocka_unit_test(a_log_tells_who_came_and_went),
  };
  return cmocka_run_group_tests(tests, set_up_keys, tear_down_keys);
}
