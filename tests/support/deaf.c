/* neurox-deaf MODEL HOME…: members that ask and never read. With each home's keys it opens a
 * session whose every message wants an answer, and as many fetches of MODEL (its SHA-256, in hex)
 * as it is given; it reads nothing of what comes. Says "deaf: …" after ten seconds, and holds its
 * lines until its standard input ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/size.h"
#include "node/node_config.h"
#include "node/node_home.h"
#include "proto/codec/codec_model.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_session.h"
#include "proto/codec/methods.h"
#include "proto/rpc/rpc_client.h"

#define MEMBERS 64
#define CLIENTS 3 /* connections of a member: 32 calls each */
#define FETCHES 30
#define ASKS_FOR (10 * NX_SECOND)

struct deaf {
  struct nx_rpc_client *clients[CLIENTS];
  struct nx_rpc_call *session, *fetches[CLIENTS * FETCHES];
  size_t n_fetches;
  uint64_t asked;
  _Atomic unsigned ended;
};

static void give_up(const char *what, const struct nx_error *err) {
  fprintf(stderr, "neurox-deaf: %s: %s\n", what, err->text);
  exit(2);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct deaf *deaf = context;
  (void)call, (void)status, (void)text;
  deaf->ended++;
}

static const struct nx_rpc_handlers handlers = {.on_closed = on_closed};

static struct nx_rpc_client *dial(const char *home, const char *address) {
  _cleanup_(nx_buffer_finish) struct nx_buffer ca = {0}, certificate = {0};
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  struct nx_rpc_client *client = NULL;
  struct nx_error err = {0};
  if (nx_home_read(home, NX_HOME_CA, 1 << 16, &ca, &err) < 0 ||
      nx_home_read(home, NX_HOME_TLS_CERTIFICATE, 1 << 16, &certificate, &err) < 0 ||
      nx_home_read(home, NX_HOME_TLS_KEY, 1 << 16, &key, &err) < 0)
    give_up(home, &err);
  const struct nx_rpc_client_config config = {.target = address,
                                              .ca = nx_buffer_view(&ca),
                                              .certificate = nx_buffer_view(&certificate),
                                              .key = nx_buffer_view(&key),
                                              .message_cap = NX_MESSAGE_CAP_MAIN};
  if (nx_rpc_client_create(&config, &client, &err) < 0)
    give_up(address, &err);
  return client;
}

static struct nx_rpc_call *open_call(struct deaf *deaf, size_t client, const char *method) {
  struct nx_rpc_call *call;
  struct nx_error err = {0};
  if (nx_rpc_client_open(deaf->clients[client], method, &handlers, deaf, NX_NEVER, &call, &err) < 0)
    give_up(method, &err);
  return call;
}

static void begin(struct deaf *deaf, const char *home, const struct nx_hash *model) {
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  _cleanup_(nx_home_federation_destroyp) struct nx_home_federation *federation = NULL;
  struct nx_session_message hello = {.kind = NX_SESSION_KIND_HELLO};
  struct nx_buffer bytes = {0};
  struct nx_error err = {0};
  char path[NX_PATH_SIZE];
  if (nx_path_join(path, home, NX_HOME_CONFIG, &err) < 0 ||
      nx_node_config_load(path, &config, &err) < 0 ||
      nx_home_read_federation(home, &federation, &err) < 0)
    give_up(home, &err);
  for (size_t i = 0; i < CLIENTS; i++)
    deaf->clients[i] = dial(home, config->coordinator);
  hello.hello.protocol = NX_PROTOCOL_OLDEST;
  hello.hello.newest = NX_PROTOCOL_VERSION;
  snprintf(hello.hello.software, sizeof hello.hello.software, "neurox-deaf");
  if (nx_hex_decode(federation->id, hello.hello.federation, sizeof hello.hello.federation, &err) <
          0 ||
      nx_session_up_encode(&hello, &bytes, &err) < 0)
    give_up(home, &err);
  deaf->session = open_call(deaf, 0, NX_METHOD_SESSION_OPEN);
  nx_rpc_call_send(deaf->session, &bytes, NULL);
  for (size_t i = 0; i < CLIENTS * FETCHES; i++) {
    const struct nx_blob_request request = {.hash = *model};
    struct nx_buffer asks = {0};
    if (nx_blob_request_encode(&request, &asks, &err) < 0)
      give_up("fetch", &err);
    deaf->fetches[deaf->n_fetches] = open_call(deaf, i / FETCHES, NX_METHOD_BLOB_FETCH);
    nx_rpc_call_send(deaf->fetches[deaf->n_fetches++], &asks, NULL);
  }
}

/* False: its own queue is full. */
static bool ask(struct deaf *deaf) {
  struct nx_session_message message = {.kind = NX_SESSION_KIND_HEARTBEAT,
                                       .heartbeat = {.number = ++deaf->asked}};
  struct nx_buffer bytes = {0};
  return nx_session_up_encode(&message, &bytes, NULL) == 0 &&
         nx_rpc_call_send(deaf->session, &bytes, NULL) == 0;
}

static void end(struct deaf *deaf) {
  nx_rpc_call_cancel(deaf->session);
  for (size_t i = 0; i < deaf->n_fetches; i++)
    nx_rpc_call_cancel(deaf->fetches[i]);
  for (size_t i = 0; i < CLIENTS; i++)
    nx_rpc_client_destroy(deaf->clients[i]);
  nx_rpc_call_unref(deaf->session);
  for (size_t i = 0; i < deaf->n_fetches; i++)
    nx_rpc_call_unref(deaf->fetches[i]);
}

int main(int argc, char **argv) {
  static struct deaf all[MEMBERS];
  struct nx_hash model;
  size_t n = (size_t)NX_MAX(argc - 2, 0);
  if (!n || n > MEMBERS || nx_hash_from_hex(argv[1], &model, NULL) < 0) {
    fprintf(stderr, "usage: neurox-deaf MODEL HOME… (at most %d)\n", MEMBERS);
    return 2;
  }
  for (size_t i = 0; i < n; i++)
    begin(&all[i], argv[i + 2], &model);
  for (int64_t until = nx_clock_monotonic() + ASKS_FOR; nx_clock_monotonic() < until;) {
    bool room = false;
    for (size_t i = 0; i < n; i++)
      for (size_t k = 0; k < 256 && ask(&all[i]); k++)
        room = true;
    if (!room)
      nx_clock_sleep(NX_MILLISECOND);
  }
  uint64_t asked = 0, ended = 0;
  for (size_t i = 0; i < n; i++)
    asked += all[i].asked, ended += all[i].ended;
  printf("deaf: %zu members asked %llu times and opened %zu fetches; %llu calls were ended\n", n,
         (unsigned long long)asked, n * (size_t)(CLIENTS * FETCHES), (unsigned long long)ended);
  fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0 || errno == EINTR)
    ;
  for (size_t i = 0; i < n; i++)
    end(&all[i]);
  return 0;
}
