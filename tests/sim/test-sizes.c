/* Sizes: a whole round of the real cores at 3, 4, 6, 7, 10, 20, 50 and 100 members (255 with
 * --long: minutes), without dropouts and with as many as may be: the most
 * members that vanish after their shares. 256 members, or a plan that they overflow, are refused.
 */
#include <string.h>

#include "coordinator/round/round.h"
#include "tests/sim/sim.h"
#include "tests/unit/cmocka_shim.h"

static bool is_long;

/* The last n - t members send nothing from their vote on, and no upload: they dealt shares. */
struct vanishing {
  uint32_t n_kept;
};

static bool is_gone(const struct sim *sim, const struct sim_node *node, uint32_t n_kept) {
  return node >= &sim->nodes[n_kept];
}

static bool vanish(struct sim *sim, struct sim_node *node, bool to_node, struct nx_buffer *message,
                   void *context) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  const struct vanishing *v = context;
  struct nx_signed_message said;
  if (!is_gone(sim, node, v->n_kept))
    return true;
  assert_int_equal(nx_arena_create((size_t)64 << 20, &arena, NULL), 0);
  assert_int_equal(nx_signed_message_decode(nx_buffer_view(message), arena, &said, NULL), 0);
  return to_node ? said.type <= NX_M2_ROSTER : said.type <= NX_M3_SHARES;
}

static void round_of(uint32_t n, bool dropouts) {
  struct vanishing v = {nx_threshold_quorum(n)};
  const struct sim_villain villain = {.message = vanish, .context = &v};
  const struct sim_settings settings = {.seed = n,
                                        .rounds = 1,
                                        .n_nodes = n,
                                        .calm = true,
                                        .villain = dropouts ? &villain : NULL,
                                        .n_lanes = 100};
  struct sim_totals totals;
  assert_int_equal(sim_run(&settings, &totals), 0);
  assert_int_equal(totals.violations, 0);
  assert_int_equal(totals.opened, 1);
  assert_int_equal(totals.outcomes[NX_ROUND_SEALED], 1);
  assert_int_equal(totals.uploads, dropouts ? v.n_kept : n);
  assert_int_equal(totals.recovered, dropouts ? n - v.n_kept : 0);
}

static void a_round_is_whole_at_every_size(void **state) {
  static const uint32_t sizes[] = {3, 4, 6, 7, 10, 20, 50, 100, 255};
  (void)state;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(sizes); i++)
    if (sizes[i] <= 100 || is_long)
      round_of(sizes[i], false);
}

static void exactly_the_threshold_is_enough_at_every_size(void **state) {
  static const uint32_t sizes[] = {4, 6, 7, 10, 20, 50, 255};
  (void)state;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(sizes); i++)
    if (sizes[i] <= 50 || is_long)
      round_of(sizes[i], true);
}

/* --- what cannot hold ------------------------------------------------------------------------- */

static int check_invite(uint32_t n, uint32_t ring_bits, uint32_t value_bits, struct nx_error *err) {
  static struct nx_transcript_member members[300];
  static uint32_t ids[300];
  struct nx_hash t0;
  for (uint32_t i = 0; i < n; i++) {
    ids[i] = i + 1;
    members[i] = (struct nx_transcript_member){.id = i + 1};
    members[i].spki.bytes[0] = (uint8_t)i;
    members[i].signing_key.bytes[0] = (uint8_t)i;
  }
  const struct nx_check_context context = {members, n, {{0}}};
  struct nx_invite invite = {.round = 1, .attempt = 1, .members = ids, .n_members = n};
  invite.parameters = (struct nx_transcript_parameters){.kind = 2,
                                                        .ring_bits = ring_bits,
                                                        .value_bits = value_bits,
                                                        .n_lanes = 10,
                                                        .value_range = 1,
                                                        .clip_norm = 1};
  return nx_check_invite(&context, &invite, &t0, err);
}

static void two_hundred_and_fifty_six_are_refused_with_reasons(void **state) {
  struct nx_error err = {0};
  static struct nx_round_member members[256];
  static uint32_t cohort[256];
  struct nx_round *round = NULL;
  (void)state;
  for (uint32_t i = 0; i < 256; i++)
    members[i].id = cohort[i] = i + 1;
  const struct nx_round_config config = {
      .members = members, .n_members = 256, .cohort = cohort, .n_cohort = 256};
  assert_int_equal(nx_round_create(&config, &round, &err), NX_E_LIMIT);
  assert_non_null(strstr(err.text, "255"));
  assert_true(check_invite(256, 32, 24, &err) < 0);
}

/* n * (2^(bits-1) - 1) must stay below 2^(w-1). */
static void widths_that_cannot_hold_are_refused_at_m0(void **state) {
  struct nx_error err = {0};
  (void)state;
  assert_int_equal(check_invite(128, 32, 25, &err), 0);
  assert_int_equal(check_invite(255, 32, 25, &err), NX_E_LIMIT);
  assert_non_null(strstr(err.text, "overflow"));
  assert_int_equal(check_invite(255, 32, 24, &err), 0);
  assert_int_equal(check_invite(255, 24, 16, &err), 0);
  assert_int_equal(check_invite(255, 16, 8, &err), 0);
  assert_int_equal(check_invite(255, 12, 4, &err), 0);
  assert_int_equal(check_invite(255, 12, 5, &err), NX_E_LIMIT);
  assert_int_equal(check_invite(2, 32, 24, &err) < 0, 1); /* no threshold for two */
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_round_is_whole_at_every_size),
      cmocka_unit_test(exactly_the_threshold_is_enough_at_every_size),
      cmocka_unit_test(two_hundred_and_fifty_six_are_refused_with_reasons),
      cmocka_unit_test(widths_that_cannot_hold_are_refused_at_m0),
  };
  is_long = argc > 1 && !strcmp(argv[1], "--long");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
