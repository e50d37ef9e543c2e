/* Uploads and blobs over real sockets, against a coordinator that can misbehave. */
#include <stdlib.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/file.h"
#include "node/session/fetch_blob.h"
#include "node/session/send_upload.h"
#include "proto/codec/codec_model.h"
#include "proto/codec/codec_round.h"
#include "tests/support/tls_fixture.h"
#include "tests/unit/cmocka_shim.h"

#define SIZE ((size_t)700 * 1000) /* three chunks, the last one short */

struct fixture {
  struct tls_fixture tls;
  struct nx_rpc_server *server;
  struct nx_rpc_client *client;
  struct nx_arena *arena; /* the server's thread */
  uint8_t *bytes;
  struct nx_hash hash, root;
  char spool[64];
  /* how the server behaves */
  bool held, lies, wrong_root;
  unsigned cuts;       /* streams that it cuts after one chunk */
  bool keeps;          /* what came of a stream that was cut */
  const char *refusal; /* of every stream, for want of room */
  /* how the node does */
  bool resume;
  uint32_t kb_per_s;
  /* what it saw */
  struct nx_buffer received;
  bool streamed;
  uint64_t asked_from;
  uint64_t from; /* first offset of the last stream */
};

static void send_receipt(struct fixture *f, struct nx_rpc_call *call) {
  struct nx_upload_receipt receipt = {.accepted = f->held ? SIZE : f->received.size,
                                      .root = f->root};
  struct nx_buffer message = {0};
  receipt.root.bytes[0] ^= f->wrong_root;
  assert_int_equal(nx_upload_receipt_encode(&receipt, &message, NULL), 0);
  nx_rpc_call_send(call, &message, NULL);
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
}

static void tell_what_is_held(struct fixture *f, struct nx_rpc_call *call) {
  const struct nx_upload_receipt held = {.accepted = f->received.size,
                                         .root = nx_sha256(f->received.data, f->received.size)};
  struct nx_buffer message = {0};
  f->streamed = false;
  assert_int_equal(nx_upload_receipt_encode(&held, &message, NULL), 0);
  nx_rpc_call_send(call, &message, NULL);
}

static void on_part(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct fixture *f = context;
  struct nx_upload_part part;
  nx_arena_reset(f->arena);
  if (nx_upload_part_decode(message, f->arena, &part, NULL) < 0) {
    nx_rpc_call_finish(call, NX_RPC_INVALID_ARGUMENT, "a broken part");
  } else if (part.is_header && f->held) {
    send_receipt(f, call);
  } else if (f->refusal) {
    nx_rpc_call_finish(call, NX_RPC_RESOURCE_EXHAUSTED, f->refusal);
  } else if (part.is_header && part.resume) {
    tell_what_is_held(f, call);
    nx_rpc_call_receive(call);
  } else if (!part.is_header && f->cuts) {
    f->cuts--;
    f->received.size = 0;
    if (f->keeps)
      nx_buffer_append(&f->received, part.data.data, part.data.size, NULL);
    nx_rpc_call_finish(call, NX_RPC_UNAVAILABLE, "cut");
  } else {
    if (!part.is_header) {
      if (!f->streamed)
        f->from = part.offset;
      f->streamed = true;
      if (part.offset == 0)
        f->received.size = 0;
      assert_int_equal(part.offset, f->received.size);
      nx_buffer_append(&f->received, part.data.data, part.data.size, NULL);
    }
    nx_rpc_call_receive(call);
  }
}

static void on_all(void *context, struct nx_rpc_call *call) {
  send_receipt(context, call);
}

static enum nx_rpc_status open_upload(void *context, struct nx_rpc_call *call,
                                      struct nx_rpc_handlers *handlers, void **call_context,
                                      const char **text) {
  (void)text;
  *handlers = (struct nx_rpc_handlers){.on_message = on_part, .on_half_closed = on_all};
  *call_context = context;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

static void on_blob_request(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct fixture *f = context;
  struct nx_blob_request request;
  if (nx_blob_request_decode(message, &request, NULL) < 0 ||
      !nx_hash_equal(&request.hash, &f->hash)) {
    nx_rpc_call_finish(call, NX_RPC_NOT_FOUND, "there is no such blob");
    return;
  }
  f->asked_from = request.offset;
  for (uint64_t at = request.offset; at < SIZE;) {
    size_t n = SIZE - at < NX_CHUNK_SIZE ? SIZE - at : NX_CHUNK_SIZE;
    struct nx_blob_chunk chunk = {.total = SIZE, .offset = at, .data = nx_bytes(f->bytes + at, n)};
    struct nx_buffer bytes = {0};
    f->bytes[at] ^= f->lies;
    assert_int_equal(nx_blob_chunk_encode(&chunk, &bytes, NULL), 0);
    f->bytes[at] ^= f->lies;
    nx_rpc_call_send(call, &bytes, NULL);
    at += n;
    if (f->cuts) {
      f->cuts--;
      nx_rpc_call_finish(call, NX_RPC_UNAVAILABLE, "cut");
      return;
    }
  }
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
}

static enum nx_rpc_status open_fetch(void *context, struct nx_rpc_call *call,
                                     struct nx_rpc_handlers *handlers, void **call_context,
                                     const char **text) {
  (void)text;
  *handlers = (struct nx_rpc_handlers){.on_message = on_blob_request};
  *call_context = context;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

static int setup(void **state) {
  static const struct nx_rpc_method methods[] = {{NX_METHOD_ROUND_UPLOAD, open_upload},
                                                 {NX_METHOD_BLOB_FETCH, open_fetch}};
  struct fixture *f = calloc(1, sizeof *f);
  tls_fixture_init(&f->tls);
  assert_int_equal(nx_arena_create((size_t)8 << 20, &f->arena, NULL), 0);
  f->bytes = malloc(SIZE);
  for (size_t i = 0; i < SIZE; i++)
    f->bytes[i] = (uint8_t)(i * 2654435761u >> 24);
  f->hash = nx_sha256(f->bytes, SIZE);
  f->root = nx_sha256("root", 4);
  strcpy(f->spool, "/tmp/nx-spool-XXXXXX");
  close(mkstemp(f->spool));
  assert_int_equal(nx_file_replace(f->spool, nx_bytes(f->bytes, SIZE), 0600, NULL), 0);
  f->server = tls_serve(&f->tls, "127.0.0.1:0", methods, 2, f);
  f->client = tls_dial(&f->tls, nx_rpc_server_port(f->server));
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_rpc_client_destroy(f->client);
  nx_rpc_server_destroy(f->server);
  tls_fixture_finish(&f->tls);
  nx_arena_destroy(f->arena);
  nx_buffer_finish(&f->received);
  unlink(f->spool);
  free(f->bytes);
  free(f);
  return 0;
}

static int upload(struct fixture *f, struct nx_error *err) {
  struct nx_upload_job job = {.header = nx_bytes("a signed M5", 11),
                              .spool = f->spool,
                              .bytes = SIZE,
                              .root = f->root,
                              .kb_per_s = f->kb_per_s,
                              .resume = f->resume};
  return nx_send_upload(f->client, &job, err);
}

static void all_bytes_of_the_spool_arrive(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  if (upload(f, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(f->received.size, SIZE);
  assert_memory_equal(f->received.data, f->bytes, SIZE);
}

static void broken_upload_is_repeated_byte_for_byte(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->cuts = 1;
  assert_int_equal(upload(f, &err), NX_E_PEER);
  assert_int_equal(upload(f, &err), 0);
  assert_memory_equal(f->received.data, f->bytes, SIZE);
}

static void broken_upload_goes_on_where_it_broke(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->resume = f->keeps = true;
  f->cuts = 1;
  assert_int_equal(upload(f, &err), NX_E_PEER);
  assert_int_equal(f->received.size, NX_CHUNK_SIZE);
  assert_int_equal(upload(f, &err), 0);
  assert_int_equal(f->from, NX_CHUNK_SIZE);
  assert_int_equal(f->received.size, SIZE);
  assert_memory_equal(f->received.data, f->bytes, SIZE);
}

static void what_is_held_and_is_not_ours_is_sent_anew(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->resume = true;
  nx_buffer_append(&f->received, f->bytes, 1000, NULL);
  f->received.data[500] ^= 1;
  assert_int_equal(upload(f, &err), 0);
  assert_int_equal(f->from, 0);
  assert_memory_equal(f->received.data, f->bytes, SIZE);
}

static void transfers_keep_below_the_line_s_share(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  struct nx_buffer out = {0};
  const struct nx_fetch how = {.kb_per_s = 2000};
  f->kb_per_s = 2000;
  int64_t began = nx_clock_monotonic();
  assert_int_equal(upload(f, &err), 0);
  assert_true(nx_clock_monotonic() - began >= 350 * NX_MILLISECOND); /* 700 kB at 2 MB/s */
  began = nx_clock_monotonic();
  assert_int_equal(nx_fetch_blob(f->client, &f->hash, SIZE, &how, &out, &err), 0);
  assert_true(nx_clock_monotonic() - began >= 250 * NX_MILLISECOND); /* all but the last chunk */
  nx_buffer_finish(&out);
}

static void overload_is_told_apart_from_what_is_too_large(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->refusal = "too many calls at once: " NX_RPC_TRY_LATER;
  assert_int_equal(upload(f, &err), NX_E_PEER);
  assert_non_null(strstr(err.text, "overloaded"));
  f->refusal = "longer than the plan says";
  assert_int_equal(upload(f, &err), NX_E_LIMIT);
}

static void upload_that_is_there_already_ends_early(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->held = true;
  if (upload(f, &err) < 0)
    fail_msg("%s", err.text);
}

static void receipt_for_other_bytes_is_refused(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  f->wrong_root = true;
  assert_int_equal(upload(f, &err), NX_E_PROTOCOL);
}

static void spool_of_another_length_is_not_sent(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  assert_int_equal(nx_file_replace(f->spool, nx_bytes(f->bytes, SIZE - 1), 0600, NULL), 0);
  assert_int_equal(upload(f, &err), NX_E_STATE);
  assert_int_equal(f->received.size, 0);
}

static bool stop_now(void *context) {
  (void)context;
  return true;
}

static void upload_stops_when_told_to(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  struct nx_upload_job job = {.header = nx_bytes("a signed M5", 11),
                              .spool = f->spool,
                              .bytes = SIZE,
                              .root = f->root,
                              .stop = {stop_now, NULL}};
  assert_int_equal(nx_send_upload(f->client, &job, &err), NX_E_CANCELLED);
}

static void blob_goes_on_where_the_line_was_cut(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  struct nx_buffer out = {0};
  f->cuts = 2;
  if (nx_fetch_blob(f->client, &f->hash, SIZE, NULL, &out, &err) < 0)
    fail_msg("%s", err.text);
  assert_memory_equal(out.data, f->bytes, SIZE);
  assert_int_equal(out.size, SIZE);
  nx_buffer_finish(&out);
}

/* Another process began it. */
static void blob_goes_on_from_the_file_of_a_process_that_ended(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  struct nx_buffer out = {0};
  char part[96];
  snprintf(part, sizeof part, "%s.part", f->spool);
  const struct nx_fetch how = {.part = part};
  assert_int_equal(nx_file_replace(part, nx_bytes(f->bytes, 300000), 0600, NULL), 0);
  assert_int_equal(nx_fetch_blob(f->client, &f->hash, SIZE, &how, &out, &err), 0);
  assert_int_equal(f->asked_from, 300000);
  assert_memory_equal(out.data, f->bytes, SIZE);
  assert_false(nx_path_exists(part));
  out.size = 0; /* a file that rotted */
  f->bytes[7] ^= 1;
  assert_int_equal(nx_file_replace(part, nx_bytes(f->bytes, 300000), 0600, NULL), 0);
  f->bytes[7] ^= 1;
  assert_int_equal(nx_fetch_blob(f->client, &f->hash, SIZE, &how, &out, &err), 0);
  assert_int_equal(f->asked_from, 0);
  assert_memory_equal(out.data, f->bytes, SIZE);
  assert_false(nx_path_exists(part));
  nx_buffer_finish(&out);
}

static void blobs_that_lie_are_large_or_absent_are_refused(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  struct nx_buffer out = {0};
  assert_int_equal(nx_fetch_blob(f->client, &f->hash, SIZE - 1, NULL, &out, &err), NX_E_LIMIT);
  f->lies = true;
  out.size = 0;
  assert_int_equal(nx_fetch_blob(f->client, &f->hash, SIZE, NULL, &out, &err), NX_E_CRYPTO);
  out.size = 0;
  assert_int_equal(nx_fetch_blob(f->client, &f->root, SIZE, NULL, &out, &err), NX_E_NOT_FOUND);
  nx_buffer_finish(&out);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(all_bytes_of_the_spool_arrive),
      TEST(broken_upload_is_repeated_byte_for_byte),
      TEST(broken_upload_goes_on_where_it_broke),
      TEST(what_is_held_and_is_not_ours_is_sent_anew),
      TEST(transfers_keep_below_the_line_s_share),
      TEST(overload_is_told_apart_from_what_is_too_large),
      TEST(upload_that_is_there_already_ends_early),
      TEST(receipt_for_other_bytes_is_refused),
      TEST(spool_of_another_length_is_not_sent),
      TEST(upload_stops_when_told_to),
      TEST(blob_goes_on_where_the_line_was_cut),
      TEST(blob_goes_on_from_the_file_of_a_process_that_ended),
      TEST(blobs_that_lie_are_large_or_absent_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
