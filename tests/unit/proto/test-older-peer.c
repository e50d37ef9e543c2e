/* The protocol before this one: what a node of it said in a whole run of three rounds
 * (older/protocol-1.recorded, from tests/support/recording.c; large chunks left out), as today's
 * decoders hear it, and what they do with fields and messages that they do not know. */
#include <string.h>

#include "proto/codec/codec_enrol.h"
#include "proto/codec/codec_model.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_session.h"
#include "proto/codec/methods.h"
#include "tests/support/recorded.h"
#include "tests/unit/cmocka_shim.h"

struct heard {
  struct recording recording;
  struct nx_arena *arena;
  struct nx_public_key identity;
  unsigned n_types[160], hellos, heartbeats, uploads, tiles, blobs, enrolments;
};

static void must(int r, const struct nx_error *err) {
  if (r < 0)
    fail_msg("%s", err->text);
}

static int start(void **state) {
  struct heard *heard = calloc(1, sizeof *heard);
  struct nx_error err = {0};
  if (!recording_read(OLDER_PEER, &heard->recording, &err))
    fail_msg("%s: %s", OLDER_PEER, err.text);
  must(nx_arena_create(NX_SESSION_ARENA, &heard->arena, &err), &err);
  *state = heard;
  return 0;
}

static int stop(void **state) {
  struct heard *heard = *state;
  nx_arena_destroy(heard->arena);
  recording_finish(&heard->recording);
  free(heard);
  return 0;
}

static bool is_of(const struct recorded *message, const char *method) {
  return message->path.size == strlen(method) &&
         !memcmp(message->path.data, method, message->path.size);
}

static void hear_signed(struct heard *heard, struct nx_bytes bytes) {
  struct nx_signed_message said;
  struct nx_error err = {0};
  must(nx_signed_message_decode(bytes, heard->arena, &said, &err), &err);
  must(nx_signed_message_verify(&said, &heard->identity, &err), &err);
  heard->n_types[said.type]++;
}

static void hear_session(struct heard *heard, struct nx_bytes bytes) {
  struct nx_session_message said;
  struct nx_error err = {0};
  must(nx_session_up_decode(bytes, heard->arena, &said, &err), &err);
  if (said.kind == NX_SESSION_KIND_HELLO) {
    heard->hellos++;
    assert_int_equal(said.hello.protocol, 1);
    assert_int_equal(nx_protocol_agree(said.hello.protocol, said.hello.newest), 1);
  } else if (said.kind == NX_SESSION_KIND_SIGNED) {
    hear_signed(heard, said.signed_message);
  } else {
    heard->heartbeats++;
  }
}

static void hear_enrolment(struct heard *heard, struct nx_bytes bytes) {
  struct nx_enrol_request request;
  struct nx_error err = {0};
  must(nx_enrol_request_decode(bytes, heard->arena, &request, &err), &err);
  assert_int_equal(request.protocol, 1);
  must(nx_verify(&request.identity, "enrol", request.csr, &request.signature, &err), &err);
  heard->identity = request.identity;
  heard->enrolments++;
}

static void hear(struct heard *heard, const struct recorded *message) {
  struct nx_upload_part part;
  struct nx_tile_request tiles;
  struct nx_blob_request blob;
  struct nx_error err = {0};
  if (is_of(message, NX_METHOD_ENROL)) {
    hear_enrolment(heard, message->message);
  } else if (is_of(message, NX_METHOD_SESSION_OPEN)) {
    hear_session(heard, message->message);
  } else if (is_of(message, NX_METHOD_ROUND_UPLOAD)) {
    must(nx_upload_part_decode(message->message, heard->arena, &part, &err), &err);
    assert_false(part.resume); /* nobody tells it what is held: it would not listen */
    if (part.is_header)
      hear_signed(heard, part.header);
    heard->uploads++;
  } else if (is_of(message, NX_METHOD_ROUND_FETCH_TILES)) {
    must(nx_tile_request_decode(message->message, heard->arena, &tiles, &err), &err);
    heard->tiles++;
  } else {
    assert_true(is_of(message, NX_METHOD_BLOB_FETCH));
    must(nx_blob_request_decode(message->message, &blob, &err), &err);
    heard->blobs++;
  }
}

static void everything_the_older_node_said_is_understood(void **state) {
  struct heard *heard = *state;
  for (size_t i = 0; i < heard->recording.n; i++)
    hear(heard, &heard->recording.messages[i]);
  assert_int_equal(heard->enrolments, 1);
  assert_true(heard->hellos >= 1);
  assert_true(heard->tiles >= 3);
  assert_true(heard->blobs >= 3);
  static const uint32_t types[] = {NX_M1_ADVERT, NX_M3_SHARES,  NX_M5_UPLOAD,
                                   NX_M7_VOTE,   NX_M9_RELEASE, NX_M11_SEALED};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    assert_int_equal(heard->n_types[types[i]], 3); /* statistics, training, evaluation */
}

static const struct recorded *first_signed(struct heard *heard, struct nx_session_message *said) {
  for (size_t i = 0; i < heard->recording.n; i++) {
    const struct recorded *message = &heard->recording.messages[i];
    if (is_of(message, NX_METHOD_SESSION_OPEN) &&
        nx_session_up_decode(message->message, heard->arena, said, NULL) == 0 &&
        said->kind == NX_SESSION_KIND_SIGNED)
      return message;
  }
  fail_msg("nothing signed was recorded");
  return NULL;
}

/* Field 99 of a later version, in what is signed: its bytes stay where they are, so that the
 * signature, and whoever knows the field, still find it. */
static void unknown_field_of_a_signed_body_is_kept(void **state) {
  static const uint8_t later[] = {0x98, 0x06, 0x07}; /* 99: varint 7 */
  struct heard *heard = *state;
  struct nx_session_message session;
  struct nx_signed_message said, again;
  struct nx_identity *identity = NULL;
  struct nx_advert advert;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, wire = {0};
  struct nx_error err = {0};
  first_signed(heard, &session);
  must(nx_signed_message_decode(session.signed_message, heard->arena, &said, &err), &err);
  assert_int_equal(said.type, NX_M1_ADVERT);
  must(nx_buffer_append(&body, said.body.data, said.body.size, &err), &err);
  must(nx_buffer_append(&body, later, sizeof later, &err), &err);
  must(nx_identity_create(&nx_entropy_system, &identity, &err), &err);
  must(nx_signed_message_make(identity, said.signer, said.type, nx_buffer_view(&body),
                              said.detached, &wire, &err),
       &err);
  must(nx_signed_message_decode(nx_buffer_view(&wire), heard->arena, &again, &err), &err);
  must(nx_signed_message_verify(&again, nx_identity_public(identity), &err), &err);
  assert_int_equal(again.body.size, body.size);
  assert_memory_equal(again.body.data, body.data, body.size);
  must(nx_advert_decode(again.body, heard->arena, &advert, &err), &err);
  nx_identity_destroy(identity);
}

static void unknown_message_is_refused_by_name(void **state) {
  struct heard *heard = *state;
  struct nx_session_message session;
  struct nx_signed_message said;
  struct nx_error err = {0};
  /* SessionUp field 77; SignedMessage of type 199 */
  assert_true(nx_session_up_decode(nx_bytes("\xea\x04\x00", 3), heard->arena, &session, &err) < 0);
  assert_non_null(strstr(err.text, "unknown"));
  assert_true(nx_signed_message_decode(nx_bytes("\x08\xc7\x01\x10\x01\x1a\x01x", 8), heard->arena,
                                       &said, &err) < 0);
  assert_non_null(strstr(err.text, "199"));
}

static void the_newest_protocol_of_both_is_spoken(void **state) {
  (void)state;
  assert_int_equal(NX_PROTOCOL_VERSION - NX_PROTOCOL_OLDEST, 1);
  assert_int_equal(nx_protocol_agree(1, 0), 1); /* the one before */
  assert_int_equal(nx_protocol_agree(1, NX_PROTOCOL_VERSION), NX_PROTOCOL_VERSION);
  assert_int_equal(nx_protocol_agree(1, 99), NX_PROTOCOL_VERSION);     /* a later one that can */
  assert_int_equal(nx_protocol_agree(NX_PROTOCOL_VERSION + 1, 99), 0); /* one that cannot */
  assert_int_equal(nx_protocol_agree(0, 0), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
  const struct CMUnitTest tests[] = {
      TEST(everything_the_older_node_said_is_understood),
      TEST(unknown_field_of_a_signed_body_is_kept),
      TEST(unknown_message_is_refused_by_name),
      TEST(the_newest_protocol_of_both_is_spoken),
  };
  return cmocka_run_group_tests_name("older peer", tests, NULL, NULL);
}
