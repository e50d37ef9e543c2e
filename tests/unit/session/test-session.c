/* The node's line to a coordinator that greets, hangs up, or is too new. */
#include <stdlib.h>
#include <string.h>

#include "common/mailbox.h"
#include "node/session/session.h"
#include "proto/codec/codec_round.h"
#include "tests/support/tls_fixture.h"
#include "tests/unit/cmocka_shim.h"

#define PATIENCE (20 * NX_SECOND)

struct told {
  enum nx_session_event_type type;
  char text[256];
  uint64_t last_sealed;
  size_t message_size;
};

struct fixture {
  struct tls_fixture tls;
  struct nx_rpc_server *server;
  struct nx_session *session;
  struct nx_mailbox *told;
  struct nx_arena *arena; /* the server's thread */
  struct nx_rpc_call *call;
  /* how the server behaves */
  uint32_t protocol;
  bool deny;
  /* what it saw */
  uint64_t hellos, hello_sealed;
};

static void send_down(struct nx_rpc_call *call, const struct nx_session_message *message) {
  struct nx_buffer bytes = {0};
  assert_int_equal(nx_session_down_encode(message, &bytes, NULL), 0);
  nx_rpc_call_send(call, &bytes, NULL);
}

static void welcome(struct fixture *f, struct nx_rpc_call *call) {
  struct nx_session_message message = {.kind = NX_SESSION_KIND_WELCOME};
  message.welcome.protocol = f->protocol;
  message.welcome.last_sealed = 5;
  memset(&message.welcome.model, 1, sizeof message.welcome.model);
  strcpy(message.welcome.software, "test 1");
  send_down(call, &message);
}

/* Greets, and gives every signed message back. */
static void on_up(void *context, struct nx_rpc_call *call, struct nx_bytes bytes) {
  struct fixture *f = context;
  struct nx_session_message message;
  nx_arena_reset(f->arena);
  assert_int_equal(nx_session_up_decode(bytes, f->arena, &message, NULL), 0);
  if (message.kind == NX_SESSION_KIND_HELLO && f->deny) {
    nx_rpc_call_finish(call, NX_RPC_PERMISSION_DENIED, "not of this federation");
    return;
  }
  if (message.kind == NX_SESSION_KIND_HELLO) {
    f->hellos++;
    f->hello_sealed = message.hello.last_sealed;
    welcome(f, call);
  } else if (message.kind == NX_SESSION_KIND_SIGNED) {
    send_down(call, &message);
  }
  nx_rpc_call_receive(call);
}

static enum nx_rpc_status open_session(void *context, struct nx_rpc_call *call,
                                       struct nx_rpc_handlers *handlers, void **call_context,
                                       const char **text) {
  (void)text;
  *handlers = (struct nx_rpc_handlers){.on_message = on_up};
  *call_context = context;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

static void notify(void *context, const struct nx_session_event *event) {
  struct fixture *f = context;
  struct told *told = calloc(1, sizeof *told);
  told->type = event->type;
  told->message_size = event->message.size;
  told->last_sealed = event->welcome ? event->welcome->last_sealed : 0;
  snprintf(told->text, sizeof told->text, "%s", event->text ? event->text : "");
  if (nx_mailbox_post(f->told, told) < 0)
    free(told);
}

static void held(void *context, uint64_t *last_sealed_out, struct nx_hash *model_out) {
  (void)context;
  *last_sealed_out = 3;
  *model_out = nx_sha256("held", 4);
}

static int setup(void **state) {
  static const struct nx_rpc_method methods[] = {{NX_METHOD_SESSION_OPEN, open_session}};
  struct fixture *f = calloc(1, sizeof *f);
  f->protocol = NX_PROTOCOL_VERSION;
  tls_fixture_init(&f->tls);
  assert_int_equal(nx_arena_create(NX_SESSION_ARENA, &f->arena, NULL), 0);
  assert_int_equal(nx_mailbox_create(64, free, &f->told, NULL), 0);
  f->server = tls_serve(&f->tls, "127.0.0.1:0", methods, 1, f);
  *state = f;
  return 0;
}

static void dial(struct fixture *f) {
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%u", nx_rpc_server_port(f->server));
  const struct nx_session_config config = {.address = address,
                                           .ca = nx_buffer_view(&f->tls.ca),
                                           .certificate =
                                               nx_buffer_view(&f->tls.client_certificate),
                                           .key = nx_buffer_view(&f->tls.client_key)};
  const struct nx_session_listener listener = {notify, held, f};
  assert_int_equal(nx_session_create(&config, &listener, &f->session, NULL), 0);
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_session_destroy(f->session);
  nx_rpc_server_destroy(f->server);
  nx_mailbox_destroy(f->told);
  nx_arena_destroy(f->arena);
  tls_fixture_finish(&f->tls);
  free(f);
  return 0;
}

/* The next event, which must be of this type. */
static struct told expect(struct fixture *f, enum nx_session_event_type type) {
  struct told *told = nx_mailbox_wait(f->told, nx_clock_monotonic() + PATIENCE);
  assert_non_null(told);
  struct told copy = *told;
  free(told);
  if (copy.type != type)
    fail_msg("event %d instead of %d: %s", (int)copy.type, (int)type, copy.text);
  return copy;
}

static void hello_is_answered_and_messages_go_both_ways(void **state) {
  struct fixture *f = *state;
  dial(f);
  assert_int_equal(expect(f, NX_SESSION_CONNECTED).last_sealed, 5);
  assert_int_equal(f->hello_sealed, 3);
  assert_int_equal(nx_session_send(f->session, nx_bytes("signed", 6), NULL), 0);
  assert_int_equal(expect(f, NX_SESSION_MESSAGE).message_size, 6);
}

static void line_that_was_cut_is_dialled_again(void **state) {
  struct fixture *f = *state;
  dial(f);
  expect(f, NX_SESSION_CONNECTED);
  nx_session_redial(f->session);
  expect(f, NX_SESSION_DISCONNECTED);
  expect(f, NX_SESSION_CONNECTED);
  assert_int_equal(f->hellos, 2);
}

static void refusal_ends_the_trying(void **state) {
  struct fixture *f = *state;
  f->deny = true;
  dial(f);
  assert_non_null(strstr(expect(f, NX_SESSION_REFUSED).text, "not of this federation"));
  assert_int_equal(nx_session_send(f->session, nx_bytes("x", 1), NULL), NX_E_STATE);
}

static void another_protocol_is_named(void **state) {
  struct fixture *f = *state;
  f->protocol = NX_PROTOCOL_VERSION + 1;
  dial(f);
  assert_non_null(strstr(expect(f, NX_SESSION_REFUSED).text, "protocol"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(hello_is_answered_and_messages_go_both_ways),
      TEST(line_that_was_cut_is_dialled_again),
      TEST(refusal_ends_the_trying),
      TEST(another_protocol_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
