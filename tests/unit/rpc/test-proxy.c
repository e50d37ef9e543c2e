/* A client behind an HTTP proxy: what the proxy sees, and what happens when it says no. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/tls_fixture.h"
#include "tests/unit/cmocka_shim.h"

/* --- a proxy of one connection at a time ------------------------------------------------ */

struct proxy {
  int listener;
  uint16_t port;
  bool refuses;
  pthread_t thread;
  _Atomic unsigned asked;
  char request[1024];
  _Atomic bool stop;
};

static bool pass(int from, int to) {
  uint8_t piece[16384];
  ssize_t n = read(from, piece, sizeof piece);
  return n > 0 && write(to, piece, (size_t)n) == n;
}

static void relay(struct proxy *proxy, int a, int b) {
  struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
  while (!proxy->stop) {
    if (poll(fds, 2, 50) <= 0)
      continue;
    if ((fds[0].revents && !pass(a, b)) || (fds[1].revents && !pass(b, a)))
      return;
  }
}

static int dial(const char *request) {
  unsigned port = 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (sscanf(request, "CONNECT 127.0.0.1:%u ", &port) != 1)
    return -1;
  address.sin_port = htons((uint16_t)port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  close(fd);
  return -1;
}

static void serve_one(struct proxy *proxy, int client) {
  static const char yes[] = "HTTP/1.1 200 Connection established\r\n\r\n";
  static const char no[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
  size_t size = 0;
  ssize_t n;
  while (size < sizeof proxy->request - 1 &&
         (n = read(client, proxy->request + size, sizeof proxy->request - 1 - size)) > 0) {
    size += (size_t)n;
    proxy->request[size] = 0;
    if (strstr(proxy->request, "\r\n\r\n"))
      break;
  }
  proxy->asked++;
  int server = proxy->refuses ? -1 : dial(proxy->request);
  n = write(client, server < 0 ? no : yes, server < 0 ? sizeof no - 1 : sizeof yes - 1);
  if (server >= 0 && n > 0)
    relay(proxy, client, server);
  if (server >= 0)
    close(server);
}

static void *run_proxy(void *context) {
  struct proxy *proxy = context;
  struct pollfd listener = {.fd = proxy->listener, .events = POLLIN};
  while (!proxy->stop) {
    if (poll(&listener, 1, 50) <= 0)
      continue;
    int client = accept(proxy->listener, NULL, NULL);
    if (client >= 0) {
      serve_one(proxy, client);
      close(client);
    }
  }
  return NULL;
}

static void start_proxy(struct proxy *proxy, bool refuses) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  *proxy = (struct proxy){.refuses = refuses};
  proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(proxy->listener, 8), 0);
  assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &size), 0);
  proxy->port = ntohs(address.sin_port);
  assert_int_equal(pthread_create(&proxy->thread, NULL, run_proxy, proxy), 0);
}

static void stop_proxy(struct proxy *proxy) {
  proxy->stop = true;
  pthread_join(proxy->thread, NULL);
  close(proxy->listener);
}

/* --- the federation behind it ----------------------------------------------------------- */

static void echo(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_buffer copy = {0};
  (void)context;
  nx_buffer_append(&copy, message.data, message.size, NULL);
  nx_rpc_call_send(call, &copy, NULL);
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
}

static enum nx_rpc_status open_echo(void *context, struct nx_rpc_call *call,
                                    struct nx_rpc_handlers *out, void **call_context,
                                    const char **text) {
  (void)context, (void)call_context, (void)text;
  *out = (struct nx_rpc_handlers){.on_message = echo};
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

static const struct nx_rpc_method methods[] = {{"/test/Echo", open_echo}};
static struct tls_fixture tls, theirs;
static struct nx_rpc_server *server;

static int start(void **state) {
  (void)state;
  tls_fixture_init(&tls);
  tls_fixture_init(&theirs);
  server = tls_serve(&tls, "127.0.0.1:0", methods, 1, NULL);
  return 0;
}

static int stop(void **state) {
  (void)state;
  nx_rpc_server_destroy(server);
  tls_fixture_finish(&tls);
  tls_fixture_finish(&theirs);
  return 0;
}

static int ask_trusting(const struct tls_fixture *f, const char *proxy, struct nx_error *err) {
  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%u", nx_rpc_server_port(server));
  const struct nx_rpc_client_config config = {.target = target,
                                              .ca = nx_buffer_view(&f->ca),
                                              .certificate = nx_buffer_view(&f->client_certificate),
                                              .key = nx_buffer_view(&f->client_key),
                                              .proxy = proxy};
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  tls_must(nx_rpc_client_create(&config, &client, err), err);
  int r = nx_rpc_client_call(client, "/test/Echo", nx_bytes("hello", 5),
                             nx_clock_monotonic() + 10 * NX_SECOND, &response, NULL, err);
  if (r == 0)
    assert_memory_equal(response.data, "hello", 5);
  return r;
}

static int ask(const char *proxy, struct nx_error *err) {
  return ask_trusting(&tls, proxy, err);
}

static void proxy_is_asked_to_connect_and_sees_tls(void **state) {
  struct proxy proxy;
  char uri[64], expected[64];
  struct nx_error err = {0};
  (void)state;
  start_proxy(&proxy, false);
  snprintf(uri, sizeof uri, "http://127.0.0.1:%u", proxy.port);
  snprintf(expected, sizeof expected, "CONNECT 127.0.0.1:%u ", nx_rpc_server_port(server));
  int r = ask(uri, &err);
  stop_proxy(&proxy);
  tls_must(r, &err);
  assert_int_equal(proxy.asked, 1);
  assert_memory_equal(proxy.request, expected, strlen(expected));
}

static void refusal_of_the_proxy_is_told(void **state) {
  struct proxy proxy;
  char uri[64];
  struct nx_error err = {0};
  (void)state;
  start_proxy(&proxy, true);
  snprintf(uri, sizeof uri, "http://127.0.0.1:%u", proxy.port);
  int r = ask(uri, &err);
  stop_proxy(&proxy);
  assert_int_equal(r, NX_E_PEER);
  if (!strstr(err.text, "HTTP proxy"))
    fail_msg("%s", err.text);
}

/* A firewall that opens TLS shows a certificate of its own maker, whose name a steward can take
 * to the network people. Here the maker is called "test". */
static void whoever_opens_tls_is_named(void **state) {
  struct proxy proxy;
  char uri[64];
  struct nx_error err = {0};
  (void)state;
  start_proxy(&proxy, false);
  snprintf(uri, sizeof uri, "http://127.0.0.1:%u", proxy.port);
  int r = ask_trusting(&theirs, uri, &err);
  stop_proxy(&proxy);
  assert_int_equal(r, NX_E_PEER);
  if (!strstr(err.text, "made by \"test\"") || !strstr(err.text, "firewall that opens TLS"))
    fail_msg("%s", err.text);
  r = ask_trusting(&theirs, "", &err);
  assert_int_equal(r, NX_E_PEER);
  if (!strstr(err.text, "made by \"test\""))
    fail_msg("%s", err.text);
}

/* Machines whose environment names a proxy still run everything on one machine. */
static void environment_is_not_followed_to_this_machine(void **state) {
  struct proxy proxy;
  char uri[64];
  struct nx_error err = {0};
  (void)state;
  start_proxy(&proxy, true);
  snprintf(uri, sizeof uri, "http://127.0.0.1:%u", proxy.port);
  setenv("https_proxy", uri, 1);
  int r = ask(NULL, &err);
  unsetenv("https_proxy");
  stop_proxy(&proxy);
  tls_must(r, &err);
  assert_int_equal(proxy.asked, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(proxy_is_asked_to_connect_and_sees_tls, start, stop),
      cmocka_unit_test_setup_teardown(refusal_of_the_proxy_is_told, start, stop),
      cmocka_unit_test_setup_teardown(whoever_opens_tls_is_named, start, stop),
      cmocka_unit_test_setup_teardown(environment_is_not_followed_to_this_machine, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
