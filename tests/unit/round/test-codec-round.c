/* Every message of a round: there and back, cut short anywhere, with any bit flipped, and
 * with what a decoder must refuse. */
#include <math.h>
#include <stdlib.h>

#include "proto/codec/codec_round.h"
#include "tests/unit/cmocka_shim.h"

static struct nx_hash hash_of(const char *text) {
  return nx_sha256(text, strlen(text));
}

/* --- samples ---------------------------------------------------------------------------- */

static const uint32_t cohort[] = {1, 2, 250};
static struct nx_signed_body bodies[3];
static struct nx_share_commitment commitments[3];
static struct nx_share_box boxes[2];
static struct nx_released released[3];
static struct nx_voter voters[3];

static struct nx_invite invite(void) {
  return (struct nx_invite){.federation = {1, 2, 3},
                            .manifest = hash_of("manifest"),
                            .plan = hash_of("plan"),
                            .model = hash_of("model"),
                            .round = 7,
                            .attempt = 2,
                            .members = cohort,
                            .n_members = 3,
                            .parameters = {.kind = 2,
                                           .n_lanes = 1000,
                                           .n_aux = 518,
                                           .ring_bits = 32,
                                           .value_bits = 24,
                                           .value_range = 0.5,
                                           .clip_norm = 1.25,
                                           .narrow_keystream = 1,
                                           .mask_cipher = 1},
                            .phase_seconds = 30,
                            .training_seconds = 600};
}

static int fill(void **state) {
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    bodies[i] = (struct nx_signed_body){cohort[i], nx_bytes("a body", 6), {{(uint8_t)i}}};
    commitments[i] =
        (struct nx_share_commitment){cohort[i], hash_of("box"), hash_of("b"), hash_of("s")};
    released[i] = (struct nx_released){cohort[i], {{(uint8_t)(i + 1)}}};
    voters[i] = (struct nx_voter){cohort[i], {{(uint8_t)(i + 9)}}};
  }
  boxes[0].id = 1;
  boxes[1].id = 250;
  return 0;
}

/* Encodes a sample when `bytes` is NULL; else decodes and encodes again what was decoded. */
typedef int again_function(const struct nx_bytes *bytes, struct nx_arena *arena,
                           struct nx_buffer *out);

#define AGAIN(name, ...)                                                                           \
  static int again_##name(const struct nx_bytes *bytes, struct nx_arena *arena,                    \
                          struct nx_buffer *out) {                                                 \
    struct nx_##name m = __VA_ARGS__;                                                              \
    int r = bytes ? nx_##name##_decode(*bytes, arena, &m, NULL) : 0;                               \
    return r < 0 ? r : nx_##name##_encode(&m, out, NULL);                                          \
  }

AGAIN(invite, invite())
AGAIN(advert, {hash_of("t0"), 5, {{1}}, {{2}}, hash_of("b")})
AGAIN(roster, {hash_of("t0"), bodies, 3})
AGAIN(shares, {hash_of("t1"), 2, commitments, 3})
AGAIN(bundle, {hash_of("t1"), bodies, 3, boxes, 2})
AGAIN(upload_header, {hash_of("t2"), 7, 2, 250, UINT64_C(1) << 33, hash_of("root")})
AGAIN(commit_request, {hash_of("t2"), bodies, 3})
AGAIN(vote, {NX_VOTE_ABORT, 7, 2, hash_of("t0")})
AGAIN(vote_certificate, {nx_bytes("a vote", 6), voters, 3})
AGAIN(release, {hash_of("t3"), 2, released, 2, released + 2, 1})
AGAIN(result, {hash_of("t3"), 7, 2, hash_of("sum"), 4000, hash_of("model"), released, 3, NULL, 0})
AGAIN(sealed, {7, 2, hash_of("t3"), hash_of("model")})
AGAIN(abort_request, {hash_of("t0"), 7, 2, "too few uploads"})
AGAIN(complaint, {hash_of("t1"), 9, {{1, 2}}})
AGAIN(refusal, {7, 2, NX_REFUSAL_RESULT, "the sum is not the sum"})
AGAIN(upload_part, {.offset = 99, .data = nx_bytes("chunk", 5)})
AGAIN(upload_receipt, {99, hash_of("root")})
AGAIN(tile, {7, 1, nx_bytes("tile", 4), {1, {hash_of("sibling")}}})
AGAIN(signed_message, {NX_M3_SHARES, 7, nx_bytes("body", 4), {{3}}, nx_bytes("boxes", 5)})

static again_function *const all[] = {
    again_invite,           again_advert,        again_roster,         again_shares,
    again_bundle,           again_upload_header, again_commit_request, again_vote,
    again_vote_certificate, again_release,       again_result,         again_sealed,
    again_abort_request,    again_complaint,     again_refusal,        again_upload_part,
    again_upload_receipt,   again_tile,          again_signed_message};

#define N_ALL (sizeof all / sizeof *all)

static void every_message_comes_back_as_it_went(void **state) {
  (void)state;
  for (size_t i = 0; i < N_ALL; i++) {
    struct nx_arena *arena;
    struct nx_buffer once = {0}, twice = {0};
    assert_int_equal(nx_arena_create(1 << 20, &arena, NULL), 0);
    assert_int_equal(all[i](NULL, arena, &once), 0);
    struct nx_bytes bytes = nx_buffer_view(&once);
    assert_int_equal(all[i](&bytes, arena, &twice), 0);
    assert_int_equal(once.size, twice.size);
    assert_memory_equal(once.data, twice.data, once.size);
    nx_buffer_finish(&once);
    nx_buffer_finish(&twice);
    nx_arena_destroy(arena);
  }
}

/* Under the sanitizers this shows that no decoder reads or writes outside. */
static void damaged_messages_do_no_harm(void **state) {
  (void)state;
  for (size_t i = 0; i < N_ALL; i++) {
    struct nx_arena *arena;
    struct nx_buffer good = {0}, out = {0};
    assert_int_equal(nx_arena_create(1 << 20, &arena, NULL), 0);
    assert_int_equal(all[i](NULL, arena, &good), 0);
    for (size_t size = 0; size < good.size; size++) {
      uint8_t *cut = malloc(size + 1);
      memcpy(cut, good.data, size);
      struct nx_bytes bytes = nx_bytes(cut, size);
      all[i](&bytes, arena, &out);
      out.size = 0;
      nx_arena_reset(arena);
      free(cut);
    }
    for (size_t bit = 0; bit < 8 * good.size; bit++) {
      good.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
      struct nx_bytes bytes = nx_buffer_view(&good);
      all[i](&bytes, arena, &out);
      good.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
      out.size = 0;
      nx_arena_reset(arena);
    }
    nx_buffer_finish(&good);
    nx_buffer_finish(&out);
    nx_arena_destroy(arena);
  }
}

/* --- what is refused ---------------------------------------------------------------------- */

static int decoded_invite(const struct nx_invite *sample) {
  struct nx_buffer bytes = {0};
  struct nx_arena *arena;
  struct nx_invite out;
  assert_int_equal(nx_arena_create(1 << 20, &arena, NULL), 0);
  assert_int_equal(nx_invite_encode(sample, &bytes, NULL), 0);
  int r = nx_invite_decode(nx_buffer_view(&bytes), arena, &out, NULL);
  nx_buffer_finish(&bytes);
  nx_arena_destroy(arena);
  return r;
}

static void an_invitation_out_of_range_is_refused(void **state) {
  static const uint32_t unsorted[] = {2, 1, 3}, doubled[] = {1, 1, 2}, none[] = {0, 1, 2},
                        beyond[] = {1, 2, 256};
  const uint32_t *lists[] = {unsorted, doubled, none, beyond};
  struct nx_invite sample;
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    sample = invite();
    sample.members = lists[i];
    assert_int_equal(decoded_invite(&sample), NX_E_PROTOCOL);
  }
  sample = invite();
  sample.round = 0;
  assert_int_equal(decoded_invite(&sample), NX_E_PROTOCOL);
  sample = invite();
  sample.attempt = 0;
  assert_int_equal(decoded_invite(&sample), NX_E_PROTOCOL);
  sample = invite();
  sample.parameters.kind = 4;
  assert_int_equal(decoded_invite(&sample), NX_E_PROTOCOL);
  sample = invite();
  sample.parameters.value_range = NAN;
  assert_int_equal(decoded_invite(&sample), NX_E_PROTOCOL);
  sample = invite();
  sample.parameters.clip_norm = INFINITY;
  assert_int_equal(decoded_invite(&sample), NX_E_PROTOCOL);
  sample = invite();
  sample.parameters.n_lanes = UINT64_MAX;
  assert_int_equal(decoded_invite(&sample), NX_E_LIMIT);
}

static int decode_with(again_function *again, struct nx_buffer *bytes) {
  struct nx_arena *arena;
  struct nx_buffer out = {0};
  assert_int_equal(nx_arena_create(1 << 20, &arena, NULL), 0);
  struct nx_bytes view = nx_buffer_view(bytes);
  int r = again(&view, arena, &out);
  nx_buffer_finish(&out);
  nx_buffer_finish(bytes);
  nx_arena_destroy(arena);
  return r;
}

static void lists_that_are_not_sorted_are_refused(void **state) {
  (void)state;
  struct nx_buffer bytes = {0};
  struct nx_voter twice[] = {voters[0], voters[0]};
  struct nx_vote_certificate certificate = {nx_bytes("a vote", 6), twice, 2};
  assert_int_equal(nx_vote_certificate_encode(&certificate, &bytes, NULL), 0);
  assert_int_equal(decode_with(again_vote_certificate, &bytes), NX_E_PROTOCOL);

  struct nx_signed_body swapped[] = {bodies[1], bodies[0]};
  struct nx_roster roster = {hash_of("t0"), swapped, 2};
  bytes = (struct nx_buffer){0};
  assert_int_equal(nx_roster_encode(&roster, &bytes, NULL), 0);
  assert_int_equal(decode_with(again_roster, &bytes), NX_E_PROTOCOL);

  struct nx_released same[] = {released[2], released[2]};
  struct nx_release release = {.t3 = hash_of("t3"), .id = 1, .b_shares = same, .n_b = 2};
  bytes = (struct nx_buffer){0};
  assert_int_equal(nx_release_encode(&release, &bytes, NULL), 0);
  assert_int_equal(decode_with(again_release, &bytes), NX_E_PROTOCOL);
}

static void unknown_choices_codes_and_types_are_refused(void **state) {
  (void)state;
  struct nx_buffer bytes = {0};
  struct nx_vote vote = {3, 1, 1, hash_of("x")};
  assert_int_equal(nx_vote_encode(&vote, &bytes, NULL), 0);
  assert_int_equal(decode_with(again_vote, &bytes), NX_E_PROTOCOL);
  struct nx_refusal refusal = {1, 1, 4, ""};
  bytes = (struct nx_buffer){0};
  assert_int_equal(nx_refusal_encode(&refusal, &bytes, NULL), 0);
  assert_int_equal(decode_with(again_refusal, &bytes), NX_E_PROTOCOL);
  struct nx_signed_message message = {.type = 99, .signer = 1, .body = nx_bytes("x", 1)};
  bytes = (struct nx_buffer){0};
  assert_int_equal(nx_signed_message_encode(&message, &bytes, NULL), 0);
  assert_int_equal(decode_with(again_signed_message, &bytes), NX_E_PROTOCOL);
  message = (struct nx_signed_message){.type = NX_M7_VOTE, .detached = nx_bytes("x", 1)};
  bytes = (struct nx_buffer){0};
  assert_int_equal(nx_signed_message_encode(&message, &bytes, NULL), 0);
  assert_int_equal(decode_with(again_signed_message, &bytes), NX_E_PROTOCOL);
  message = (struct nx_signed_message){.type = NX_M7_VOTE, .signer = 256};
  bytes = (struct nx_buffer){0};
  assert_int_equal(nx_signed_message_encode(&message, &bytes, NULL), 0);
  assert_int_equal(decode_with(again_signed_message, &bytes), NX_E_PROTOCOL);
}

static void a_peers_sentence_cannot_write_to_a_terminal(void **state) {
  (void)state;
  struct nx_refusal out, refusal = {1, 1, NX_REFUSAL_INVITE, "no\x1b[2Jway\n"};
  struct nx_buffer bytes = {0};
  struct nx_arena *arena;
  assert_int_equal(nx_arena_create(0, &arena, NULL), 0);
  assert_int_equal(nx_refusal_encode(&refusal, &bytes, NULL), 0);
  assert_int_equal(nx_refusal_decode(nx_buffer_view(&bytes), arena, &out, NULL), 0);
  assert_string_equal(out.reason, "no?[2Jway?");
  nx_buffer_finish(&bytes);
  nx_arena_destroy(arena);
}

static void many_small_parts_do_not_blow_up_memory(void **state) {
  (void)state;
  struct nx_buffer bytes = {0};
  struct nx_arena *arena;
  struct nx_roster out;
  assert_int_equal(nx_arena_create(1 << 20, &arena, NULL), 0);
  for (int i = 0; i < 200000; i++) /* 200000 empty adverts: field 2, length 0 */
    assert_int_equal(nx_buffer_append(&bytes, "\x12\x00", 2, NULL), 0);
  assert_true(nx_roster_decode(nx_buffer_view(&bytes), arena, &out, NULL) < 0);
  assert_true(nx_arena_used(arena) <= 1 << 20);
  nx_buffer_finish(&bytes);
  nx_arena_destroy(arena);
}

static void a_signature_on_one_kind_of_message_is_none_on_another(void **state) {
  (void)state;
  struct nx_identity *identity;
  struct nx_arena *arena;
  struct nx_buffer bytes = {0};
  struct nx_signed_message message;
  assert_int_equal(nx_identity_create(&nx_entropy_system, &identity, NULL), 0);
  assert_int_equal(nx_arena_create(0, &arena, NULL), 0);
  assert_int_equal(nx_signed_message_make(identity, 3, NX_M1_ADVERT, nx_bytes("body", 4),
                                          nx_bytes("", 0), &bytes, NULL),
                   0);
  assert_int_equal(nx_signed_message_decode(nx_buffer_view(&bytes), arena, &message, NULL), 0);
  assert_int_equal(nx_signed_message_verify(&message, nx_identity_public(identity), NULL), 0);
  message.type = NX_M7_VOTE;
  assert_int_equal(nx_signed_message_verify(&message, nx_identity_public(identity), NULL),
                   NX_E_CRYPTO);
  nx_buffer_finish(&bytes);
  nx_arena_destroy(arena);
  nx_identity_destroy(identity);
}

/* Against protoc --encode=neurox.v1.UploadPart, and what else it may look like on the wire. */
static void upload_parts_are_what_protobuf_makes_of_them(void **state) {
  (void)state;
  static const struct {
    const char *wire;
    struct nx_upload_part part;
    bool is_ours; /* we write it so, too */
  } good[] = {
      {"120d08808080801012056368756e6b",
       {.offset = UINT64_C(1) << 32, .data = {(const uint8_t *)"chunk", 5}},
       true},
      {"1203120178", {.data = {(const uint8_t *)"x", 1}}, true},
      {"0a036864721801",
       {.is_header = true, .resume = true, .header = {(const uint8_t *)"hdr", 3}},
       true},
      {"12051201780807", {.offset = 7, .data = {(const uint8_t *)"x", 1}}, false},
      {"22017a1207200512017808071801", {.offset = 7, .data = {(const uint8_t *)"x", 1}}, false},
      {"120208071203120178", {.offset = 7, .data = {(const uint8_t *)"x", 1}}, false}, /* merged */
      {"0a01681203120178", {.data = {(const uint8_t *)"x", 1}}, false}, /* the last of a oneof */
      {"12031201780a0168", {.is_header = true, .header = {(const uint8_t *)"h", 1}}, false},
  };
  static const char *const bad[] = {
      "",         "1801",           "1200",
      "12020807", "08011203120178", "12020d01",
      "1202120a", "0a0568",         "120e08ffffffffffffffffff01120178"};
  uint8_t wire[64];
  struct nx_upload_part part;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    const struct nx_upload_part *want = &good[i].part;
    size_t size = strlen(good[i].wire) / 2;
    assert_int_equal(nx_hex_decode(good[i].wire, wire, size, NULL), 0);
    assert_int_equal(nx_upload_part_decode(nx_bytes(wire, size), NULL, &part, NULL), 0);
    struct nx_bytes got = part.is_header ? part.header : part.data;
    struct nx_bytes wanted = want->is_header ? want->header : want->data;
    assert_int_equal(part.is_header, want->is_header);
    assert_int_equal(part.resume, want->resume);
    assert_int_equal(part.offset, want->offset);
    assert_int_equal(got.size, wanted.size);
    assert_memory_equal(got.data, wanted.data, got.size);
    _cleanup_(nx_buffer_finish) struct nx_buffer ours = {0};
    assert_int_equal(nx_upload_part_encode(want, &ours, NULL), 0);
    if (good[i].is_ours) {
      assert_int_equal(ours.size, size);
      assert_memory_equal(ours.data, wire, size);
    }
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    size_t size = strlen(bad[i]) / 2;
    assert_int_equal(nx_hex_decode(bad[i], wire, size, NULL), 0);
    assert_int_equal(nx_upload_part_decode(nx_bytes(wire, size), NULL, &part, NULL), NX_E_PROTOCOL);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_message_comes_back_as_it_went),
      cmocka_unit_test(damaged_messages_do_no_harm),
      cmocka_unit_test(an_invitation_out_of_range_is_refused),
      cmocka_unit_test(lists_that_are_not_sorted_are_refused),
      cmocka_unit_test(unknown_choices_codes_and_types_are_refused),
      cmocka_unit_test(a_peers_sentence_cannot_write_to_a_terminal),
      cmocka_unit_test(upload_parts_are_what_protobuf_makes_of_them),
      cmocka_unit_test(many_small_parts_do_not_blow_up_memory),
      cmocka_unit_test(a_signature_on_one_kind_of_message_is_none_on_another),
  };
  return cmocka_run_group_tests(tests, fill, NULL);
}
