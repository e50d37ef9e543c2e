/* Real sockets, real TLS: what gets through, what does not, and what it costs in memory. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/size.h"
#include "crypto/certificate.h"
#include "proto/rpc/rpc_client.h"
#include "proto/rpc/rpc_server.h"
#include "tests/unit/cmocka_shim.h"

struct credentials {
  struct nx_buffer key, certificate;
};

struct authority {
  struct nx_buffer key, certificate;
  struct credentials server, client;
};

static struct authority ours, theirs;

static void must(int r, const struct nx_error *err) {
  if (r < 0)
    fail_msg("%s", err->text);
}

static void issue(struct authority *a, const char *name, bool server, struct credentials *out) {
  static const char *const places[] = {"127.0.0.1", "localhost"};
  const struct nx_certificate_profile profile = {.common_name = name,
                                                 .server = server,
                                                 .client = !server,
                                                 .alternatives = places,
                                                 .n_alternatives = 2,
                                                 .not_before = nx_clock_unix() / NX_SECOND,
                                                 .days = 2};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0};
  struct nx_error err = {0};
  must(nx_certificate_make_key(&out->key, &err), &err);
  must(nx_certificate_make_request(nx_buffer_view(&out->key), name, &request, &err), &err);
  must(nx_certificate_issue(nx_buffer_view(&a->key), nx_buffer_view(&a->certificate),
                            nx_buffer_view(&request), &profile, &out->certificate, &err),
       &err);
}

static void make_authority(struct authority *a) {
  struct nx_error err = {0};
  must(nx_certificate_make_ca("test", nx_clock_unix() / NX_SECOND, 2, &a->key, &a->certificate,
                              &err),
       &err);
  issue(a, "hub", true, &a->server);
  issue(a, "site", false, &a->client);
}

/* --- the server's side: echoes, counts, or stalls ------------------------------------- */

static _Atomic unsigned opened, closed;
static _Atomic size_t received;
static uint8_t last_spki[NX_SPKI_HASH_SIZE];

static void echo(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_buffer copy = {0};
  (void)context;
  received += message.size;
  nx_buffer_append(&copy, message.data, message.size, NULL);
  nx_rpc_call_send(call, &copy, NULL);
  nx_rpc_call_receive(call);
}

static void count(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  (void)context;
  received += message.size;
  nx_rpc_call_receive(call);
}

static void finish(void *context, struct nx_rpc_call *call) {
  (void)context;
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
}

static void on_server_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                             const char *text) {
  (void)context, (void)call, (void)status, (void)text;
  closed++;
}

static enum nx_rpc_status open_with(struct nx_rpc_call *call, struct nx_rpc_handlers *out,
                                    void (*on_message)(void *, struct nx_rpc_call *,
                                                       struct nx_bytes)) {
  *out = (struct nx_rpc_handlers){
      .on_message = on_message, .on_half_closed = finish, .on_closed = on_server_closed};
  opened++;
  nx_rpc_call_peer_spki(call, last_spki, NULL);
  if (on_message)
    nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

static enum nx_rpc_status open_echo(void *context, struct nx_rpc_call *call,
                                    struct nx_rpc_handlers *out, void **call_context,
                                    const char **text) {
  (void)context, (void)call_context, (void)text;
  return open_with(call, out, echo);
}

static enum nx_rpc_status open_count(void *context, struct nx_rpc_call *call,
                                     struct nx_rpc_handlers *out, void **call_context,
                                     const char **text) {
  (void)context, (void)call_context, (void)text;
  return open_with(call, out, count);
}

static enum nx_rpc_status open_stall(void *context, struct nx_rpc_call *call,
                                     struct nx_rpc_handlers *out, void **call_context,
                                     const char **text) {
  (void)context, (void)call_context, (void)text;
  return open_with(call, out, NULL);
}

/* The same bytes for everybody, with something of one's own before and behind. */
static struct nx_shared *common;
#define COMMON ((size_t)900 << 10)

static enum nx_rpc_status open_shared(void *context, struct nx_rpc_call *call,
                                      struct nx_rpc_handlers *out, void **call_context,
                                      const char **text) {
  (void)context, (void)call_context, (void)text;
  nx_rpc_call_send_shared(call, nx_bytes("head", 4), common, nx_bytes("tail", 4), NULL);
  return open_with(call, out, NULL);
}

/* Half a MiB at once, whether it is read or not. */
#define POURS 8
#define POUR ((size_t)64 << 10)

static enum nx_rpc_status open_pour(void *context, struct nx_rpc_call *call,
                                    struct nx_rpc_handlers *out, void **call_context,
                                    const char **text) {
  (void)context, (void)call_context, (void)text;
  enum nx_rpc_status status = open_with(call, out, NULL);
  for (int i = 0; i < POURS; i++) {
    struct nx_buffer message = {0};
    nx_buffer_reserve(&message, POUR, NULL);
    memset(message.data, 'p', POUR);
    message.size = POUR;
    nx_rpc_call_send(call, &message, NULL);
  }
  return status;
}

static enum nx_rpc_status refuse(void *context, struct nx_rpc_call *call,
                                 struct nx_rpc_handlers *out, void **call_context,
                                 const char **text) {
  (void)context, (void)call, (void)out, (void)call_context;
  *text = "not for you";
  return NX_RPC_PERMISSION_DENIED;
}

static const struct nx_rpc_method methods[] = {
    {"/test/Echo", open_echo},     {"/test/Count", open_count}, {"/test/Stall", open_stall},
    {"/test/Shared", open_shared}, {"/test/Pour", open_pour},   {"/test/Refuse", refuse}};

static size_t held_most; /* of the servers that are started; 0: no limit */

static struct nx_rpc_server *start_server(const char *address) {
  const struct nx_rpc_server_config config = {.address = address,
                                              .certificate =
                                                  nx_buffer_view(&ours.server.certificate),
                                              .key = nx_buffer_view(&ours.server.key),
                                              .ca = nx_buffer_view(&ours.certificate),
                                              .require_client_certificate = true,
                                              .methods = methods,
                                              .n_methods = NX_ARRAY_LENGTH(methods),
                                              .message_cap = 1 << 20,
                                              .held_most = held_most};
  struct nx_rpc_server *server = NULL;
  struct nx_error err = {0};
  must(nx_rpc_server_create(&config, &server, &err), &err);
  return server;
}

static struct nx_rpc_client *connect_to(uint16_t port, const struct credentials *who,
                                        const struct authority *trusted) {
  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%u", port);
  struct nx_rpc_client_config config = {.target = target,
                                        .ca = nx_buffer_view(&trusted->certificate)};
  if (who) {
    config.certificate = nx_buffer_view(&who->certificate);
    config.key = nx_buffer_view(&who->key);
  }
  struct nx_rpc_client *client = NULL;
  struct nx_error err = {0};
  must(nx_rpc_client_create(&config, &client, &err), &err);
  return client;
}

static int64_t in_seconds(int n) {
  return nx_clock_monotonic() + n * NX_SECOND;
}

static int ask(struct nx_rpc_client *client, const char *path, size_t size,
               struct nx_buffer *response, struct nx_error *err) {
  uint8_t *request = calloc(1, size ? size : 1), spki[NX_SPKI_HASH_SIZE];
  memset(request, 'x', size);
  int r = nx_rpc_client_call(client, path, nx_bytes(request, size), in_seconds(10), response, spki,
                             err);
  free(request);
  return r;
}

static void members_certificate_is_answered_and_known(void **state) {
  (void)state;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client =
      connect_to(nx_rpc_server_port(server), &ours.client, &ours);
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  struct nx_error err = {0};
  struct nx_hash expected;
  must(ask(client, "/test/Echo", 300000, &response, &err), &err);
  assert_int_equal(response.size, 300000);
  assert_int_equal(response.data[299999], 'x');
  must(nx_certificate_spki(nx_buffer_view(&ours.client.certificate), &expected, &err), &err);
  assert_memory_equal(last_spki, expected.bytes, sizeof last_spki);
  response.size = 0;
  must(ask(client, "/test/Echo", 0, &response, &err), &err);
  assert_int_equal(response.size, 0);
}

static void strangers_are_not_answered(void **state) {
  (void)state;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  uint16_t port = nx_rpc_server_port(server);
  struct {
    const struct credentials *who;
    const struct authority *trusted;
  } strangers[] = {{NULL, &ours}, {&theirs.client, &ours}, {&ours.client, &theirs}};
  unsigned before = opened;
  for (int i = 0; i < 3; i++) {
    _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client =
        connect_to(port, strangers[i].who, strangers[i].trusted);
    _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
    struct nx_error err = {0};
    assert_int_equal(ask(client, "/test/Echo", 3, &response, &err), NX_E_PEER);
    assert_non_null(strstr(err.text, "cannot be reached"));
    assert_int_equal(response.size, 0);
  }
  assert_int_equal(opened, before);
}

/* Refused, a stranger's certificate, another name. */
static void what_is_wrong_is_told_in_words(void **state) {
  (void)state;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  char here[32];
  snprintf(here, sizeof here, "127.0.0.1:%u", nx_rpc_server_port(server));
  const struct {
    const char *target, *name;
    const struct authority *trusted;
    const char *words;
  } cases[] = {{"127.0.0.1:1", NULL, &ours, "nothing listens there"},
               {here, NULL, &theirs, "not by this federation's CA"},
               {here, "other.example", &ours, "certificate is for another name"}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(cases); i++) {
    const struct nx_rpc_client_config config = {
        .target = cases[i].target,
        .server_name = cases[i].name,
        .ca = nx_buffer_view(&cases[i].trusted->certificate),
        .certificate = nx_buffer_view(&ours.client.certificate),
        .key = nx_buffer_view(&ours.client.key)};
    _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client = NULL;
    _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
    struct nx_error err = {0};
    must(nx_rpc_client_create(&config, &client, &err), &err);
    assert_int_equal(ask(client, "/test/Echo", 3, &response, &err), NX_E_PEER);
    if (!strstr(err.text, cases[i].words) || !strstr(err.text, cases[i].target))
      fail_msg("%s", err.text);
  }
}

static void tls_12_is_refused(void **state) {
  (void)state;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  char command[256];
  snprintf(command, sizeof command,
           "echo | timeout 10 openssl s_client -connect 127.0.0.1:%u -tls1_2 >/dev/null 2>&1",
           nx_rpc_server_port(server));
  assert_int_not_equal(system(command), 0);
  snprintf(command, sizeof command,
           "echo | timeout 10 openssl s_client -connect 127.0.0.1:%u -tls1_3 2>/dev/null | "
           "grep -q TLSv1.3",
           nx_rpc_server_port(server));
  assert_int_equal(system(command), 0);
}

static void refusals_arrive_with_their_words(void **state) {
  (void)state;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client =
      connect_to(nx_rpc_server_port(server), &ours.client, &ours);
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  struct nx_error err = {0};
  assert_int_equal(ask(client, "/test/Refuse", 3, &response, &err), NX_E_DENIED);
  assert_string_equal(err.text, "not for you");
  assert_int_equal(ask(client, "/test/Nothing", 3, &response, &err), NX_E_UNSUPPORTED);
  assert_int_not_equal(ask(client, "/test/Echo", (1 << 20) + 1, &response, &err), 0);
  assert_int_equal(response.size, 0);
}

static void port_that_is_taken_is_named(void **state) {
  (void)state;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *first = start_server("127.0.0.1:0");
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%u", nx_rpc_server_port(first));
  const struct nx_rpc_server_config config = {.address = address,
                                              .certificate =
                                                  nx_buffer_view(&ours.server.certificate),
                                              .key = nx_buffer_view(&ours.server.key),
                                              .ca = nx_buffer_view(&ours.certificate)};
  struct nx_rpc_server *second = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_rpc_server_create(&config, &second, &err), NX_E_IO);
  assert_non_null(strstr(err.text, address));
}

/* --- streams --------------------------------------------------------------------------- */

struct stream {
  _Atomic int status; /* -1 while open */
  _Atomic unsigned writable;
};

static void on_stream_writable(void *context, struct nx_rpc_call *call) {
  (void)call;
  ((struct stream *)context)->writable++;
}

static void on_stream_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                             const char *text) {
  (void)call, (void)text;
  ((struct stream *)context)->status = (int)status;
}

static const struct nx_rpc_handlers stream_handlers = {.on_writable = on_stream_writable,
                                                       .on_closed = on_stream_closed};

struct shared_taker {
  struct stream stream;
  _Atomic bool whole;
};

static void take_shared(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct shared_taker *taker = context;
  (void)call;
  bool whole = message.size == COMMON + 8 && !memcmp(message.data, "head", 4) &&
               !memcmp(message.data + 4 + COMMON, "tail", 4);
  for (size_t i = 0; whole && i < COMMON; i++)
    whole = message.data[4 + i] == 'c';
  taker->whole = whole;
}

static void on_taker_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                            const char *text) {
  on_stream_closed(&((struct shared_taker *)context)->stream, call, status, text);
}

static const struct nx_rpc_handlers taker_handlers = {.on_message = take_shared,
                                                      .on_closed = on_taker_closed};

static void wait_closed(struct stream *stream) {
  int64_t deadline = in_seconds(20);
  while (stream->status < 0 && nx_clock_monotonic() < deadline)
    nx_clock_sleep(NX_MILLISECOND);
  assert_true(stream->status >= 0);
}

static int send_zeros(struct nx_rpc_call *call, size_t size, struct nx_error *err) {
  struct nx_buffer message = {0};
  nx_buffer_reserve(&message, size, NULL);
  memset(message.data, 0, size);
  message.size = size;
  return nx_rpc_call_send(call, &message, err);
}

static void stream_of_many_messages_arrives_whole(void **state) {
  (void)state;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client =
      connect_to(nx_rpc_server_port(server), &ours.client, &ours);
  struct stream stream = {.status = -1};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = NULL;
  struct nx_error err = {0};
  must(nx_rpc_client_open(client, "/test/Count", &stream_handlers, &stream, NX_NEVER, &call, &err),
       &err);
  received = 0;
  for (int i = 0; i < 200; i++) {
    int r;
    while ((r = send_zeros(call, 100000, &err)) == NX_E_LIMIT)
      nx_clock_sleep(NX_MILLISECOND);
    must(r, &err);
  }
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
  wait_closed(&stream);
  assert_int_equal(stream.status, NX_RPC_OK);
  assert_int_equal(received, 200 * 100000);
  assert_int_equal(send_zeros(call, 10, &err), NX_E_PEER);
}

static void reader_that_stalls_stops_the_sender(void **state) {
  (void)state;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client =
      connect_to(nx_rpc_server_port(server), &ours.client, &ours);
  struct stream stream = {.status = -1};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = NULL;
  struct nx_error err = {0};
  must(nx_rpc_client_open(client, "/test/Stall", &stream_handlers, &stream, NX_NEVER, &call, &err),
       &err);
  int r = 0, sent = 0;
  for (int patience = 0; patience < 300 && sent < 1000;) {
    if ((r = send_zeros(call, 256 << 10, &err)) < 0) {
      assert_int_equal(r, NX_E_LIMIT);
      nx_clock_sleep(NX_MILLISECOND);
      patience++;
    } else {
      sent++;
      patience = 0;
    }
  }
  assert_int_equal(r, NX_E_LIMIT);
  assert_true(sent < 200); /* the queue's 16 MiB and what gRPC and the sockets hold */
  nx_rpc_call_cancel(call);
  wait_closed(&stream);
  assert_int_equal(stream.status, NX_RPC_CANCELLED);
}

static void those_who_do_not_read_are_hung_up_on_beyond_a_budget(void **state) {
  (void)state;
  enum { DEAF = 32, BUDGET = 2 << 20, SOME = DEAF / 4 };
  struct stream streams[DEAF];
  struct nx_rpc_call *calls[DEAF];
  struct nx_error err = {0};
  held_most = BUDGET;
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  held_most = 0;
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *deaf =
      connect_to(nx_rpc_server_port(server), &ours.client, &ours);
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *reader =
      connect_to(nx_rpc_server_port(server), &ours.client, &ours);
  uint64_t before = nx_rpc_hung_up();
  unsigned closed_before = closed;
  for (int i = 0; i < DEAF; i++) { /* 16 MiB in all */
    streams[i].status = -1;
    must(nx_rpc_client_open(deaf, "/test/Pour", &stream_handlers, &streams[i], NX_NEVER, &calls[i],
                            &err),
         &err);
  }
  int64_t deadline = in_seconds(20);
  while (nx_rpc_hung_up() < before + SOME && nx_clock_monotonic() < deadline)
    nx_clock_sleep(NX_MILLISECOND);
  assert_true(nx_rpc_hung_up() >= before + SOME);
  _cleanup_(nx_buffer_finish) struct nx_buffer answer = {0};
  must(ask(reader, "/test/Echo", 1000, &answer, &err), &err); /* who reads is answered */
  assert_int_equal(answer.size, 1000);
  while (closed < closed_before + SOME && nx_clock_monotonic() < deadline)
    nx_clock_sleep(NX_MILLISECOND);
  assert_true(closed >= closed_before + SOME); /* their calls are over here */
  assert_true(closed < closed_before + DEAF);  /* there is room for some */
  for (int i = 0; i < DEAF; i++) {
    nx_rpc_call_cancel(calls[i]);
    wait_closed(&streams[i]);
    nx_rpc_call_unref(calls[i]);
  }
}

static void shared_bytes_arrive_whole_and_are_let_go(void **state) {
  (void)state;
  struct nx_buffer bytes = {0};
  struct nx_error err = {0};
  must(nx_buffer_reserve(&bytes, COMMON, &err), &err);
  memset(bytes.data, 'c', COMMON);
  bytes.size = COMMON;
  must(nx_shared_create(&bytes, &common, &err), &err);
  assert_null(bytes.data);
  struct nx_rpc_server *server = start_server("127.0.0.1:0");
  {
    _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client =
        connect_to(nx_rpc_server_port(server), &ours.client, &ours);
    struct stream stalled = {.status = -1};
    _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = NULL;
    unsigned before = opened;
    must(nx_rpc_client_open(client, "/test/Shared", &stream_handlers, &stalled, NX_NEVER, &call,
                            &err),
         &err); /* never asks for the message: it is dropped with the call */
    for (int i = 0; i < 2000 && opened == before; i++)
      nx_clock_sleep(NX_MILLISECOND);
    struct shared_taker taker = {.stream = {.status = -1}};
    _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *taking = NULL;
    must(nx_rpc_client_open(client, "/test/Shared", &taker_handlers, &taker, NX_NEVER, &taking,
                            &err),
         &err);
    nx_rpc_call_receive(taking);
    for (int i = 0; i < 20000 && !taker.whole; i++)
      nx_clock_sleep(NX_MILLISECOND);
    assert_true(taker.whole);
    nx_rpc_call_cancel(call);
    nx_rpc_call_cancel(taking);
    wait_closed(&stalled);
    wait_closed(&taker.stream);
  }
  nx_rpc_server_destroy(server);
  nx_shared_unref(nx_steal(&common)); /* the last one, says the sanitizer */
}

static void server_that_stops_ends_every_stream(void **state) {
  (void)state;
  struct nx_rpc_server *server = start_server("127.0.0.1:0");
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%u", nx_rpc_server_port(server));
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client =
      connect_to(nx_rpc_server_port(server), &ours.client, &ours);
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  struct stream stream = {.status = -1};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = NULL;
  struct nx_error err = {0};
  must(ask(client, "/test/Echo", 1, &response, &err), &err);
  must(nx_rpc_client_open(client, "/test/Stall", &stream_handlers, &stream, NX_NEVER, &call, &err),
       &err);
  unsigned before = opened;
  for (int i = 0; i < 2000 && opened == before; i++)
    nx_clock_sleep(NX_MILLISECOND);
  nx_rpc_server_stop(server, nx_clock_monotonic() + 50 * NX_MILLISECOND);
  wait_closed(&stream);
  assert_int_not_equal(stream.status, NX_RPC_OK);
  assert_int_equal(opened, closed);
  assert_int_equal(ask(client, "/test/Echo", 1, &response, &err), NX_E_PEER);

  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *again = start_server(address);
  assert_non_null(again);
  int r = NX_E_PEER;
  for (int i = 0; i < 100 && r == NX_E_PEER; i++) {
    r = ask(client, "/test/Echo", 1, &response, &err);
    nx_clock_sleep(50 * NX_MILLISECOND);
  }
  must(r, &err);
}

/* Opens connections, that say nothing, until there are no descriptors left in this process. */
static size_t dial_until_full(uint16_t port, int *fds, size_t most) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  size_t n = 0;
  while (n < most && (fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0) {
    assert_int_equal(connect(fds[n], (struct sockaddr *)&address, sizeof address), 0);
    n++;
    nx_clock_sleep(NX_MILLISECOND);
  }
  return n;
}

static void server_without_descriptors_turns_away_and_recovers(void **state) {
  (void)state;
  int fds[256];
  struct rlimit before, few = {.rlim_cur = 128};
  _cleanup_(nx_rpc_server_destroyp) struct nx_rpc_server *server = start_server("127.0.0.1:0");
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  struct nx_error err = {0};
  uint64_t away = nx_rpc_turned_away();
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
  few.rlim_max = before.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
  size_t n = dial_until_full(nx_rpc_server_port(server), fds, NX_ARRAY_LENGTH(fds));
  for (int i = 0; i < 2000 && nx_rpc_turned_away() == away; i++)
    nx_clock_sleep(NX_MILLISECOND);
  assert_true(n < NX_ARRAY_LENGTH(fds));
  assert_true(nx_rpc_turned_away() > away);
  for (size_t i = 0; i < n; i++)
    close(fds[i]);
  setrlimit(RLIMIT_NOFILE, &before);
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client =
      connect_to(nx_rpc_server_port(server), &ours.client, &ours);
  must(ask(client, "/test/Echo", 1, &response, &err), &err);
}

static void backoff_stays_under_its_cap_and_spreads(void **state) {
  (void)state;
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  for (unsigned n = 0; n < 80; n++) {
    int64_t most = n < 10 ? NX_MIN(NX_SECOND << n, 60 * NX_SECOND) : 60 * NX_SECOND, largest = 0;
    for (int i = 0; i < 200; i++) {
      int64_t wait = nx_rpc_backoff(n, NX_SECOND, 60 * NX_SECOND, &rng);
      assert_true(wait >= 0 && wait <= most);
      largest = NX_MAX(largest, wait);
    }
    assert_true(largest > most / 2);
  }
}

static int start(void **state) {
  (void)state;
  nx_rpc_library_start();
  make_authority(&ours);
  make_authority(&theirs);
  return 0;
}

static void forget(struct authority *a) {
  struct nx_buffer *all[] = {&a->key,        &a->certificate,
                             &a->server.key, &a->server.certificate,
                             &a->client.key, &a->client.certificate};
  for (int i = 0; i < 6; i++)
    nx_buffer_wipe(all[i]);
}

static int stop(void **state) {
  (void)state;
  forget(&ours);
  forget(&theirs);
  nx_rpc_library_stop();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(members_certificate_is_answered_and_known),
      cmocka_unit_test(strangers_are_not_answered),
      cmocka_unit_test(what_is_wrong_is_told_in_words),
      cmocka_unit_test(tls_12_is_refused),
      cmocka_unit_test(refusals_arrive_with_their_words),
      cmocka_unit_test(port_that_is_taken_is_named),
      cmocka_unit_test(stream_of_many_messages_arrives_whole),
      cmocka_unit_test(reader_that_stalls_stops_the_sender),
      cmocka_unit_test(those_who_do_not_read_are_hung_up_on_beyond_a_budget),
      cmocka_unit_test(shared_bytes_arrive_whole_and_are_let_go),
      cmocka_unit_test(server_that_stops_ends_every_stream),
      cmocka_unit_test(server_without_descriptors_turns_away_and_recovers),
      cmocka_unit_test(backoff_stays_under_its_cap_and_spreads),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
