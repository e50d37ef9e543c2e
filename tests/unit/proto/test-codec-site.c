#include "proto/codec/codec_site.h"

#include "tests/unit/proto/support.h"

static struct nx_fit_message a_fit(void) {
  struct nx_fit_message m = {.at = 7,
                             .verdict = NX_FIT_NO,
                             .met = 1u << NX_REQUIRES_SPECIES | 1u << NX_REQUIRES_RATE,
                             .unmet = 1u << NX_REQUIRES_LABELS | 1u << NX_REQUIRES_SUBJECTS,
                             .counted = true,
                             .subjects = 5,
                             .recordings = 200};
  fill_bytes(m.federation, sizeof m.federation, 1);
  fill_bytes(&m.plan, sizeof m.plan, 9);
  return m;
}

static struct nx_arena *an_arena(void) {
  struct nx_arena *arena = NULL;
  must(nx_arena_create((size_t)2 << 20, &arena, NULL), NULL);
  return arena;
}

static void fit_comes_back_as_it_went(void **state) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = an_arena();
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_fit_message in = a_fit(), out;
  struct nx_error err = {0};
  (void)state;
  must(nx_fit_message_encode(&in, &wire, &err), &err);
  must(nx_fit_message_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_memory_equal(out.federation, in.federation, sizeof in.federation);
  assert_true(nx_hash_equal(&out.plan, &in.plan));
  assert_int_equal(out.verdict, in.verdict);
  assert_int_equal(out.met, in.met);
  assert_int_equal(out.unmet, in.unmet);
  assert_int_equal(out.subjects, 5);
  assert_int_equal(out.recordings, 200);
}

static void what_contradicts_itself_is_not_sent(void **state) {
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_error err = {0};
  struct nx_fit_message m[6];
  (void)state;
  for (size_t i = 0; i < 6; i++)
    m[i] = a_fit();
  m[0].verdict = NX_FIT_YES;          /* with something unmet */
  m[1].met |= 1u << NX_REQUIRES_LABELS; /* both */
  m[2].verdict = NX_FIT_UNSAID;       /* and says */
  m[3].subjects = 7;                  /* a true number */
  m[4].counted = false;               /* and counts */
  m[5].plan = (struct nx_hash){0};
  for (size_t i = 0; i < 6; i++)
    assert_int_equal(nx_fit_message_encode(&m[i], &wire, &err), NX_E_INVALID);
  assert_int_equal(wire.size, 0);
}

/* A newer peer's requirement is not lost: the site still cannot. */
static void a_requirement_unknown_here_keeps_the_verdict(void **state) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = an_arena();
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_fit_message in = a_fit(), out;
  struct nx_error err = {0};
  char words[64];
  (void)state;
  in.verdict = NX_FIT_YES, in.unmet = 0;
  must(nx_fit_message_encode(&in, &wire, &err), &err);
  must(nx_buffer_append(&wire, "\x20\x02\x30\x32", 4, &err), &err); /* verdict no; unmet 50 */
  must(nx_fit_message_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_int_equal(out.verdict, NX_FIT_NO);
  nx_requirements_tell(out.unmet, words, sizeof words);
  assert_non_null(strstr(words, "newer"));
}

static void buckets_are_steps(void **state) {
  static const struct {
    size_t n;
    uint32_t edge;
  } known[] = {{0, 0},   {4, 0},   {5, 5},     {9, 5},     {10, 10},      {19, 10},
               {20, 20}, {49, 20}, {50, 50},   {99, 50},   {100, 100},    {499, 200},
               {500, 500}, {999, 500}, {1000, 1000}, {123456, 100000}};
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    assert_int_equal(nx_fit_bucket(known[i].n), known[i].edge);
}

static void withdrawn_comes_back_as_it_went(void **state) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = an_arena();
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_hash models[3];
  struct nx_withdrawn_message in = {.at = 5, .models = models, .n = 3}, out;
  struct nx_error err = {0};
  (void)state;
  for (unsigned i = 0; i < 3; i++)
    fill_bytes(&models[i], sizeof models[i], 40 * i);
  fill_bytes(in.federation, sizeof in.federation, 3);
  must(nx_withdrawn_message_encode(&in, &wire, &err), &err);
  must(nx_withdrawn_message_decode(nx_buffer_view(&wire), arena, &out, &err), &err);
  assert_int_equal(out.n, 3);
  assert_memory_equal(out.models, models, sizeof models);
  in.n = NX_WITHDRAWN_MODELS + 1;
  assert_int_equal(nx_withdrawn_message_encode(&in, &wire, &err), NX_E_INVALID);
}

static int decode_fit(struct nx_bytes bytes, struct nx_arena *where, struct nx_error *err) {
  struct nx_fit_message out;
  return nx_fit_message_decode(bytes, where, &out, err);
}

static int decode_withdrawn(struct nx_bytes bytes, struct nx_arena *where, struct nx_error *err) {
  struct nx_withdrawn_message out;
  return nx_withdrawn_message_decode(bytes, where, &out, err);
}

static void tampered_messages_are_survived(void **state) {
  _cleanup_(nx_buffer_finish) struct nx_buffer wire = {0};
  struct nx_fit_message fit = a_fit();
  struct nx_hash model = {{1}};
  struct nx_withdrawn_message withdrawn = {.models = &model, .n = 1};
  struct nx_error err = {0};
  (void)state;
  must(nx_fit_message_encode(&fit, &wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&wire), decode_fit) > wire.size / 2);
  wire.size = 0;
  must(nx_withdrawn_message_encode(&withdrawn, &wire, &err), &err);
  assert_true(tampered(nx_buffer_view(&wire), decode_withdrawn) > wire.size / 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fit_comes_back_as_it_went),
      cmocka_unit_test(what_contradicts_itself_is_not_sent),
      cmocka_unit_test(a_requirement_unknown_here_keeps_the_verdict),
      cmocka_unit_test(buckets_are_steps),
      cmocka_unit_test(withdrawn_comes_back_as_it_went),
      cmocka_unit_test(tampered_messages_are_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
