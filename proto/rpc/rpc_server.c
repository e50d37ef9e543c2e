#include "proto/rpc/rpc_server.h"

#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/size.h"
#include "proto/rpc/rpc_internal.h"

struct nx_rpc_server {
  grpc_server *server;
  grpc_completion_queue *queue;
  pthread_t thread;
  bool running;
  uint16_t port;
  const struct nx_rpc_method *methods;
  size_t n_methods, queue_cap;
  void *context;

  /* The one call that is waited for. */
  struct nx_rpc_operation arrived, stopped;
  grpc_call *arriving;
  grpc_call_details details;
  grpc_metadata_array metadata;

  pthread_mutex_t lock;
  pthread_cond_t changed;
  size_t open_calls;
  bool stopping, shut_down;
  struct nx_rpc_crowd crowd;
  grpc_ssl_server_certificate_config *certificates; /* for the next handshake; NULL: as before */
};

#define SERVER_OF(operation_pointer, member)                                                       \
  ((struct nx_rpc_server *)(void *)((char *)(operation_pointer)-offsetof(struct nx_rpc_server,     \
                                                                         member)))

static void wait_for_call(struct nx_rpc_server *server) {
  grpc_call_details_init(&server->details);
  grpc_metadata_array_init(&server->metadata);
  server->arriving = NULL;
  grpc_server_request_call(server->server, &server->arriving, &server->details, &server->metadata,
                           server->queue, server->queue, &server->arrived);
}

static void forget_call(void *owner, struct nx_rpc_call *call) {
  struct nx_rpc_server *server = owner;
  nx_rpc_crowd_leave(call);
  pthread_mutex_lock(&server->lock);
  server->open_calls--;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->lock);
}

static enum nx_rpc_status open_method(struct nx_rpc_server *server, struct nx_rpc_call *call,
                                      grpc_slice path, const char **text) {
  for (size_t i = 0; i < server->n_methods; i++)
    if (grpc_slice_str_cmp(path, server->methods[i].path) == 0)
      return server->methods[i].on_open(server->context, call, &call->handlers, &call->context,
                                        text);
  *text = "this port does not answer that method: do versions and addresses agree?";
  return NX_RPC_UNIMPLEMENTED;
}

static void accept_call(struct nx_rpc_server *server) {
  struct nx_rpc_call *call = nx_rpc_call_wrap(server->arriving, true, server->queue_cap);
  if (!call) {
    grpc_call_cancel_with_status(server->arriving, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory",
                                 NULL);
    grpc_call_unref(server->arriving);
    return;
  }
  const char *text = NULL;
  call->on_gone = forget_call;
  call->owner = server;
  nx_rpc_crowd_enter(&server->crowd, call);
  pthread_mutex_lock(&server->lock);
  server->open_calls++;
  pthread_mutex_unlock(&server->lock);
  nx_rpc_call_ref(call); /* it may end while on_open still looks at it */
  nx_rpc_call_start(call);
  enum nx_rpc_status status = open_method(server, call, server->details.method, &text);
  if (status != NX_RPC_OK) {
    call->handlers = (struct nx_rpc_handlers){0};
    nx_rpc_call_finish(call, status, text);
  }
  nx_rpc_call_unref(call);
}

static void on_arrived(struct nx_rpc_operation *operation, bool success) {
  struct nx_rpc_server *server = SERVER_OF(operation, arrived);
  if (success && server->arriving)
    accept_call(server);
  grpc_call_details_destroy(&server->details);
  grpc_metadata_array_destroy(&server->metadata);
  pthread_mutex_lock(&server->lock);
  bool again = success && !server->stopping;
  pthread_mutex_unlock(&server->lock);
  if (again)
    wait_for_call(server);
}

static void on_stopped(struct nx_rpc_operation *operation, bool success) {
  struct nx_rpc_server *server = SERVER_OF(operation, stopped);
  (void)success;
  pthread_mutex_lock(&server->lock);
  server->shut_down = true;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->lock);
}

static char *text_of(struct nx_bytes pem) {
  return pem.size ? strndup((const char *)pem.data, pem.size) : NULL;
}

static grpc_ssl_server_certificate_config *make_certificates(struct nx_bytes certificate_pem,
                                                             struct nx_bytes key_pem,
                                                             struct nx_bytes ca_pem) {
  char *ca = text_of(ca_pem), *key = text_of(key_pem), *certificate = text_of(certificate_pem);
  grpc_ssl_pem_key_cert_pair pair = {key, certificate};
  grpc_ssl_server_certificate_config *made =
      key && certificate ? grpc_ssl_server_certificate_config_create(ca, &pair, 1) : NULL;
  if (key)
    explicit_bzero(key, strlen(key));
  free(key);
  free(certificate);
  free(ca);
  return made;
}

/* gRPC asks before every handshake, on whichever thread makes it. */
static grpc_ssl_certificate_config_reload_status
fetch_certificates(void *context, grpc_ssl_server_certificate_config **out) {
  struct nx_rpc_server *server = context;
  pthread_mutex_lock(&server->lock);
  *out = server->certificates;
  server->certificates = NULL;
  pthread_mutex_unlock(&server->lock);
  return *out ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
              : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
}

static grpc_server_credentials *credentials(struct nx_rpc_server *server,
                                            const struct nx_rpc_server_config *config) {
  server->certificates = make_certificates(config->certificate, config->key, config->ca);
  if (!server->certificates)
    return NULL;
  grpc_ssl_server_credentials_options *options =
      grpc_ssl_server_credentials_create_options_using_config_fetcher(
          config->require_client_certificate
              ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
              : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
          fetch_certificates, server);
  return options ? grpc_ssl_server_credentials_create_with_options(options) : NULL;
}

int nx_rpc_server_renew(struct nx_rpc_server *server, struct nx_bytes certificate,
                        struct nx_bytes key, struct nx_bytes ca, struct nx_error *err) {
  grpc_ssl_server_certificate_config *next = make_certificates(certificate, key, ca), *before;
  if (!next)
    return nx_fail(err, NX_E_CRYPTO, "TLS certificate, key or CA cannot be used");
  pthread_mutex_lock(&server->lock);
  before = server->certificates; /* not fetched yet: nobody needs it any more */
  server->certificates = next;
  pthread_mutex_unlock(&server->lock);
  if (before)
    grpc_ssl_server_certificate_config_destroy(before);
  return 0;
}

/* What gRPC may hold of bytes that came and were not taken yet: near it, it grants its peers
 * smaller windows, and they wait. Without, each connection's grow to megabytes when many send at
 * once. */
#define BUFFERS_MOST ((size_t)96 << 20)

static grpc_server *make_server(const struct nx_rpc_server_config *config) {
  grpc_resource_quota *quota = grpc_resource_quota_create("server");
  grpc_resource_quota_resize(quota, BUFFERS_MOST);
  grpc_arg settings[] = {
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
       .value.integer = (int)(config->message_cap ? config->message_cap : NX_RPC_MESSAGE_CAP)},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, .value.integer = -1},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_HTTP2_MAX_FRAME_SIZE, .value.integer = NX_RPC_FRAME},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_MAX_CONCURRENT_STREAMS,
       .value.integer =
           (int)(config->streams_per_connection ? config->streams_per_connection : 32)},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_ALLOW_REUSEPORT, .value.integer = 0},
      /* Nodes may probe an idle line every 20 s, and the server probes every minute. */
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
       .value.integer = 15000},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, .value.integer = 1},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_KEEPALIVE_TIME_MS, .value.integer = 60000},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_KEEPALIVE_TIMEOUT_MS, .value.integer = 20000},
      {GRPC_ARG_POINTER, (char *)GRPC_ARG_RESOURCE_QUOTA,
       .value.pointer = {quota, grpc_resource_quota_arg_vtable()}},
  };
  grpc_channel_args arguments = {sizeof settings / sizeof *settings, settings};
  grpc_server *server = grpc_server_create(&arguments, NULL);
  grpc_resource_quota_unref(quota);
  return server;
}

/* gRPC says only that it failed: look which of the two it was, for the person. */
static int listen_on(struct nx_rpc_server *server, const struct nx_rpc_server_config *config,
                     struct nx_error *err) {
  grpc_server_credentials *made = credentials(server, config);
  if (!made)
    return nx_fail(err, NX_E_CRYPTO, "TLS certificate, key or CA cannot be used");
  int port = grpc_server_add_http2_port(server->server, config->address, made);
  grpc_server_credentials_release(made);
  if (port <= 0)
    return nx_fail(err, NX_E_IO,
                   "cannot listen on %s: is the port taken, or the address not this machine's? "
                   "(ss -ltnp shows who has it)",
                   config->address);
  server->port = (uint16_t)port;
  return 0;
}

int nx_rpc_server_create(const struct nx_rpc_server_config *config,
                         struct nx_rpc_server **server_out, struct nx_error *err) {
  struct nx_rpc_server *server = calloc(1, sizeof *server);
  pthread_condattr_t attributes;
  if (!server)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a server");
  nx_rpc_library_start();
  nx_rpc_accept_prepare();
  pthread_mutex_init(&server->lock, NULL);
  pthread_mutex_init(&server->crowd.lock, NULL);
  server->crowd.most = config->held_most;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* the wall clock may jump */
  pthread_cond_init(&server->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  server->methods = config->methods;
  server->n_methods = config->n_methods;
  server->queue_cap = config->send_queue_cap;
  server->context = config->context;
  server->arrived.on_done = on_arrived;
  server->stopped.on_done = on_stopped;
  server->queue = grpc_completion_queue_create_for_next(NULL);
  server->server = make_server(config);
  grpc_server_register_completion_queue(server->server, server->queue, NULL);
  int r = listen_on(server, config, err);
  if (!r) {
    grpc_server_start(server->server);
    wait_for_call(server);
  }
  int e = pthread_create(&server->thread, NULL, nx_rpc_queue_run, server->queue);
  server->running = !e;
  if (!r && e)
    r = nx_fail_errno(err, e, "start the server's thread");
  if (r < 0) {
    nx_rpc_server_destroy(server);
    return r;
  }
  *server_out = server;
  return 0;
}

uint16_t nx_rpc_server_port(const struct nx_rpc_server *server) {
  return server->port;
}

/* Lock held. False: the deadline passed first. */
static bool wait_until_quiet(struct nx_rpc_server *server, int64_t deadline) {
  while (server->open_calls || !server->shut_down) {
    int64_t rest = NX_MIN(deadline - nx_clock_monotonic(), 3600 * NX_SECOND);
    if (rest <= 0)
      return false;
    int64_t until = nx_clock_monotonic() + rest; /* the condition variable's clock */
    struct timespec t = {until / NX_SECOND, until % NX_SECOND};
    pthread_cond_timedwait(&server->changed, &server->lock, &t);
  }
  return true;
}

void nx_rpc_server_stop(struct nx_rpc_server *server, int64_t deadline) {
  if (!server)
    return;
  if (server->running) {
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    grpc_server_shutdown_and_notify(server->server, server->queue, &server->stopped);
    pthread_mutex_lock(&server->lock);
    bool quiet = wait_until_quiet(server, deadline);
    pthread_mutex_unlock(&server->lock);
    if (!quiet) {
      grpc_server_cancel_all_calls(server->server);
      pthread_mutex_lock(&server->lock);
      wait_until_quiet(server, NX_NEVER);
      pthread_mutex_unlock(&server->lock);
    }
    grpc_completion_queue_shutdown(server->queue);
    pthread_join(server->thread, NULL);
  } else {
    grpc_completion_queue_shutdown(server->queue);
    nx_rpc_queue_run(server->queue);
  }
  grpc_server_destroy(server->server);
  grpc_completion_queue_destroy(server->queue);
  if (server->certificates)
    grpc_ssl_server_certificate_config_destroy(server->certificates);
  pthread_cond_destroy(&server->changed);
  pthread_mutex_destroy(&server->lock);
  pthread_mutex_destroy(&server->crowd.lock);
  free(server);
  nx_rpc_library_stop();
}

void nx_rpc_server_destroy(struct nx_rpc_server *server) {
  nx_rpc_server_stop(server, 0);
}
