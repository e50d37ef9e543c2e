/* Blobs over real sockets: whole, from the middle, slowly, and those that are not there. */
#include "proto/transfer/blob_server.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "proto/codec/codec_model.h"
#include "tests/support/tls_fixture.h"
#include "tests/unit/cmocka_shim.h"

#define BLOB_SIZE ((size_t)5 * 1000 * 1000) /* twenty chunks, the last one short */

struct fixture {
  struct tls_fixture tls;
  struct nx_rpc_worker *worker;
  struct nx_blob_server *blobs;
  struct nx_rpc_server *server;
  struct nx_rpc_client *client;
  uint8_t *bytes;
  struct nx_hash hash;
  char path[64];
};

static int open_blob(void *context, const struct nx_hash *hash, int *fd_out, uint64_t *size_out,
                     struct nx_error *err) {
  struct fixture *f = context;
  if (!nx_hash_equal(hash, &f->hash))
    return nx_fail(err, NX_E_NOT_FOUND, "there is no such blob");
  *fd_out = open(f->path, O_RDONLY | O_CLOEXEC);
  *size_out = BLOB_SIZE;
  return *fd_out < 0 ? nx_fail(err, NX_E_IO, "open") : 0;
}

static enum nx_rpc_status on_fetch(void *context, struct nx_rpc_call *call,
                                   struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                   const char **text_out) {
  struct fixture *f = context;
  return nx_blob_server_accept(f->blobs, call, handlers_out, call_context_out, text_out);
}

static int start(void **state) {
  static const struct nx_rpc_method methods[] = {{NX_METHOD_BLOB_FETCH, on_fetch}};
  struct fixture *f = calloc(1, sizeof *f);
  struct nx_error err = {0};
  const struct nx_blob_source source = {open_blob, f};
  tls_fixture_init(&f->tls);
  f->bytes = malloc(BLOB_SIZE);
  for (size_t i = 0; i < BLOB_SIZE; i++)
    f->bytes[i] = (uint8_t)(i * 2654435761u >> 24);
  f->hash = nx_sha256(f->bytes, BLOB_SIZE);
  snprintf(f->path, sizeof f->path, "/tmp/nx-blob-XXXXXX");
  int fd = mkstemp(f->path);
  assert_int_equal(write(fd, f->bytes, BLOB_SIZE), BLOB_SIZE);
  close(fd);
  tls_must(nx_rpc_worker_create(&f->worker, &err), &err);
  tls_must(nx_blob_server_create(&source, f->worker, &f->blobs, &err), &err);
  f->server = tls_serve(&f->tls, "127.0.0.1:0", methods, 1, f);
  f->client = tls_dial(&f->tls, nx_rpc_server_port(f->server));
  *state = f;
  return 0;
}

static int stop(void **state) {
  struct fixture *f = *state;
  nx_rpc_client_destroy(f->client);
  nx_rpc_server_destroy(f->server);
  nx_rpc_worker_destroy(f->worker);
  nx_blob_server_destroy(f->blobs);
  tls_fixture_finish(&f->tls);
  unlink(f->path);
  free(f->bytes);
  free(f);
  return 0;
}

struct reader {
  struct nx_buffer got; /* from `offset` on */
  uint64_t offset;
  bool wrong;
  unsigned chunks, stop_after; /* 0: never */
  _Atomic int status;
  char text[256];
};

static void on_chunk(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct reader *reader = context;
  struct nx_blob_chunk chunk;
  struct nx_error err = {0};
  if (nx_blob_chunk_decode(message, &chunk, &err) < 0 || chunk.total != BLOB_SIZE ||
      chunk.offset != reader->offset + reader->got.size)
    reader->wrong = true;
  else
    nx_buffer_append(&reader->got, chunk.data.data, chunk.data.size, NULL);
  if (++reader->chunks != reader->stop_after)
    nx_rpc_call_receive(call);
}

static void on_end(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                   const char *text) {
  struct reader *reader = context;
  (void)call;
  snprintf(reader->text, sizeof reader->text, "%s", text);
  reader->status = (int)status;
}

static const struct nx_rpc_handlers reading = {.on_message = on_chunk, .on_closed = on_end};

static struct nx_rpc_call *ask(struct fixture *f, const struct nx_hash *hash,
                               struct reader *reader) {
  const struct nx_blob_request request = {.hash = *hash, .offset = reader->offset};
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  struct nx_rpc_call *call = NULL;
  struct nx_error err = {0};
  reader->status = -1;
  tls_must(nx_blob_request_encode(&request, &message, &err), &err);
  tls_must(
      nx_rpc_client_open(f->client, NX_METHOD_BLOB_FETCH, &reading, reader, NX_NEVER, &call, &err),
      &err);
  tls_must(nx_rpc_call_send(call, &message, &err), &err);
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
  nx_rpc_call_receive(call);
  return call;
}

static void wait_for(_Atomic int *status) {
  for (int i = 0; *status < 0 && i < 20000; i++)
    nx_clock_sleep(NX_MILLISECOND);
  assert_true(*status >= 0);
}

static void blob_arrives_whole(void **state) {
  struct fixture *f = *state;
  struct reader reader = {0};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = ask(f, &f->hash, &reader);
  wait_for(&reader.status);
  assert_int_equal(reader.status, NX_RPC_OK);
  assert_false(reader.wrong);
  assert_int_equal(reader.got.size, BLOB_SIZE);
  assert_memory_equal(reader.got.data, f->bytes, BLOB_SIZE);
  nx_buffer_finish(&reader.got);
}

static void blob_goes_on_from_where_it_broke(void **state) {
  struct fixture *f = *state;
  const uint64_t offsets[] = {1, BLOB_SIZE - 1, BLOB_SIZE, 3 * NX_CHUNK_SIZE};
  for (size_t i = 0; i < 4; i++) {
    struct reader reader = {.offset = offsets[i]};
    _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = ask(f, &f->hash, &reader);
    wait_for(&reader.status);
    assert_int_equal(reader.status, NX_RPC_OK);
    assert_false(reader.wrong);
    assert_int_equal(reader.got.size, BLOB_SIZE - offsets[i]);
    if (reader.got.size)
      assert_memory_equal(reader.got.data, f->bytes + offsets[i], reader.got.size);
    assert_true(reader.chunks >= 1);
    nx_buffer_finish(&reader.got);
  }
}

static void what_is_not_there_is_refused_with_words(void **state) {
  struct fixture *f = *state;
  struct reader reader = {0}, behind = {.offset = BLOB_SIZE + 1};
  const struct nx_hash other = {{1}};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = ask(f, &other, &reader);
  wait_for(&reader.status);
  assert_int_equal(reader.status, NX_RPC_NOT_FOUND);
  assert_string_equal(reader.text, "there is no such blob");
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *second = ask(f, &f->hash, &behind);
  wait_for(&behind.status);
  assert_int_equal(behind.status, NX_RPC_INVALID_ARGUMENT);
}

static void request_that_is_none_is_refused(void **state) {
  struct fixture *f = *state;
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  struct nx_error err = {0};
  int64_t deadline = nx_clock_monotonic() + 10 * NX_SECOND;
  assert_int_equal(nx_rpc_client_call(f->client, NX_METHOD_BLOB_FETCH, nx_bytes("\x0a\x01", 2),
                                      deadline, &response, NULL, &err),
                   NX_E_PROTOCOL);
  assert_non_null(strstr(err.text, "blob request"));
}

/* Two readers stall for ever; a third must still be served, and all end with the server. */
static void stalled_reader_holds_up_nobody(void **state) {
  struct fixture *f = *state;
  struct reader stalled[2] = {{.stop_after = 1}, {.stop_after = 1}}, reader = {0};
  struct nx_rpc_call *calls[2] = {ask(f, &f->hash, &stalled[0]), ask(f, &f->hash, &stalled[1])};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = ask(f, &f->hash, &reader);
  wait_for(&reader.status);
  assert_int_equal(reader.got.size, BLOB_SIZE);
  assert_int_equal(stalled[0].status, -1);
  nx_rpc_call_cancel(calls[0]);
  wait_for(&stalled[0].status);
  nx_rpc_server_destroy(f->server);
  f->server = NULL;
  nx_rpc_call_receive(calls[1]); /* what was on its way may still come first */
  nx_rpc_call_cancel(calls[1]);
  wait_for(&stalled[1].status);
  for (int i = 0; i < 2; i++) {
    assert_int_not_equal(stalled[i].status, NX_RPC_OK);
    nx_rpc_call_unref(calls[i]);
    nx_buffer_finish(&stalled[i].got);
  }
  nx_buffer_finish(&reader.got);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(blob_arrives_whole, start, stop),
      cmocka_unit_test_setup_teardown(blob_goes_on_from_where_it_broke, start, stop),
      cmocka_unit_test_setup_teardown(what_is_not_there_is_refused_with_words, start, stop),
      cmocka_unit_test_setup_teardown(request_that_is_none_is_refused, start, stop),
      cmocka_unit_test_setup_teardown(stalled_reader_holds_up_nobody, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
