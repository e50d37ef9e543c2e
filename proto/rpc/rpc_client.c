#include "proto/rpc/rpc_client.h"

#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/size.h"
#include "proto/rpc/rpc_internal.h"
#include "proto/rpc/rpc_server.h"

struct nx_rpc_client {
  grpc_completion_queue *queue;
  pthread_t thread;
  bool running;
  size_t queue_cap, message_cap;
  struct nx_rpc_meter meter;
  char *target, *server_name, *proxy_given; /* as in the config; the last two may be NULL */
  char *proxy;                              /* the one it goes through; NULL: none */

  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct nx_rpc_channel *channel; /* for the next call */
  struct nx_rpc_call **calls;     /* open ones, so that destroy can cancel them */
  size_t n_calls, room;
};

static char *text_of(struct nx_bytes pem) {
  return pem.size ? strndup((const char *)pem.data, pem.size) : NULL;
}

static grpc_channel_credentials *credentials(const struct nx_rpc_client_config *config) {
  char *ca = text_of(config->ca), *key = text_of(config->key);
  char *certificate = text_of(config->certificate);
  grpc_ssl_pem_key_cert_pair pair = {key, certificate};
  grpc_channel_credentials *made =
      ca ? grpc_ssl_credentials_create_ex(ca, key && certificate ? &pair : NULL, NULL, NULL) : NULL;
  if (key)
    explicit_bzero(key, strlen(key));
  free(key);
  free(certificate);
  free(ca);
  return made;
}

/* gRPC follows https_proxy and no_proxy of the environment; a coordinator on this very machine
 * is never behind a proxy, whatever they say. */
static bool on_this_machine(const char *target) {
  static const char *const prefixes[] = {"127.", "[::1]", "localhost:"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(prefixes); i++)
    if (strncmp(target, prefixes[i], strlen(prefixes[i])) == 0)
      return true;
  return false;
}

static bool uses_proxy(const struct nx_rpc_client_config *config) {
  return config->proxy ? config->proxy[0] != 0 : !on_this_machine(config->target);
}

/* Does no_proxy ("a.example, .example.org") name the target's host? */
static bool is_exempt(const char *target, const char *list) {
  size_t host = strcspn(target, ":");
  while (list && *list) {
    list += strspn(list, ", ");
    size_t n = strcspn(list, ", ");
    if (n && n <= host && strncmp(target + host - n, list, n) == 0)
      return true;
    list += n;
  }
  return false;
}

/* The proxy that gRPC goes through, by the same rules (core/ext/filters/client_channel/
 * http_proxy.cc); NULL: none. For describing trouble on the way. */
static const char *find_proxy(const struct nx_rpc_client_config *config) {
  static const char *const names[] = {"grpc_proxy", "https_proxy", "http_proxy"};
  if (!uses_proxy(config))
    return NULL;
  if (config->proxy)
    return config->proxy;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names); i++) {
    const char *value = getenv(names[i]), *grpc = getenv("no_grpc_proxy");
    if (value && *value)
      return is_exempt(config->target, grpc ? grpc : getenv("no_proxy")) ? NULL : value;
  }
  return NULL;
}

static grpc_channel *make_channel(const struct nx_rpc_client_config *config) {
  grpc_arg settings[] = {
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
       .value.integer = (int)(config->message_cap ? config->message_cap : NX_RPC_MESSAGE_CAP)},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, .value.integer = -1},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_HTTP2_MAX_FRAME_SIZE, .value.integer = NX_RPC_FRAME},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_KEEPALIVE_TIME_MS, .value.integer = 20000},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_KEEPALIVE_TIMEOUT_MS, .value.integer = 20000},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, .value.integer = 0},
      /* We retry by ourselves, with jitter; gRPC's own wait must not stand in the way. */
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, .value.integer = 200},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, .value.integer = 5000},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, .value.integer = 2000},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_ENABLE_RETRIES, .value.integer = 0},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, .value.integer = 1},
      {GRPC_ARG_INTEGER, (char *)GRPC_ARG_ENABLE_HTTP_PROXY, .value.integer = uses_proxy(config)},
      /* Either, both or none of the next two. */
      {0},
      {0},
  };
  size_t n = sizeof settings / sizeof *settings - 2;
  if (config->server_name)
    settings[n++] = (grpc_arg){GRPC_ARG_STRING, (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
                               .value.string = (char *)config->server_name};
  if (config->proxy && config->proxy[0])
    settings[n++] = (grpc_arg){GRPC_ARG_STRING, (char *)GRPC_ARG_HTTP_PROXY,
                               .value.string = (char *)config->proxy};
  grpc_channel_args arguments = {n, settings};
  grpc_channel_credentials *made = credentials(config);
  if (!made)
    return NULL;
  grpc_channel *channel = grpc_channel_create(config->target, made, &arguments);
  grpc_channel_credentials_release(made);
  return channel;
}

/* --- channels: the newest is the client's, an older one lives while a call is on it ----------- */

static void channel_unref(struct nx_rpc_channel *channel) {
  if (!channel || atomic_fetch_sub(&channel->references, 1) != 1)
    return;
  grpc_channel_destroy(channel->channel);
  free(channel);
}

static struct nx_rpc_channel *channel_create(const struct nx_rpc_client_config *config) {
  struct nx_rpc_channel *channel = calloc(1, sizeof *channel);
  if (!channel)
    return NULL;
  atomic_init(&channel->references, 1);
  channel->channel = make_channel(config);
  if (!channel->channel) {
    free(channel);
    return NULL;
  }
  return channel;
}

static struct nx_rpc_channel *newest_channel(struct nx_rpc_client *client) {
  pthread_mutex_lock(&client->lock);
  struct nx_rpc_channel *channel = client->channel;
  atomic_fetch_add(&channel->references, 1);
  pthread_mutex_unlock(&client->lock);
  return channel;
}

int nx_rpc_client_renew(struct nx_rpc_client *client, struct nx_bytes ca,
                        struct nx_bytes certificate, struct nx_bytes key, struct nx_error *err) {
  const struct nx_rpc_client_config config = {.target = client->target,
                                              .server_name = client->server_name,
                                              .ca = ca,
                                              .certificate = certificate,
                                              .key = key,
                                              .proxy = client->proxy_given,
                                              .message_cap = client->message_cap};
  struct nx_rpc_channel *next = channel_create(&config);
  if (!next)
    return nx_fail(err, NX_E_CRYPTO, "certificate, key or CA for %s cannot be used",
                   client->target);
  pthread_mutex_lock(&client->lock);
  struct nx_rpc_channel *before = client->channel;
  client->channel = next;
  pthread_mutex_unlock(&client->lock);
  channel_unref(before);
  return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

static bool copy_config(struct nx_rpc_client *client, const struct nx_rpc_client_config *config) {
  client->queue_cap = config->send_queue_cap;
  client->message_cap = config->message_cap;
  client->target = strdup(config->target);
  client->server_name = config->server_name ? strdup(config->server_name) : NULL;
  const char *proxy = find_proxy(config);
  client->proxy_given = config->proxy ? strdup(config->proxy) : NULL;
  client->proxy = proxy ? strdup(proxy) : NULL;
  return client->target && (client->server_name || !config->server_name) &&
         (client->proxy_given || !config->proxy) && (client->proxy || !proxy);
}

static void free_client(struct nx_rpc_client *client) {
  free(client->calls);
  free(client->target);
  free(client->server_name);
  free(client->proxy_given);
  free(client->proxy);
  free(client);
}

int nx_rpc_client_create(const struct nx_rpc_client_config *config,
                         struct nx_rpc_client **client_out, struct nx_error *err) {
  struct nx_rpc_client *client = calloc(1, sizeof *client);
  if (!client || !copy_config(client, config)) {
    if (client)
      free_client(client);
    return nx_fail(err, NX_E_NOMEM, "out of memory for a connection");
  }
  nx_rpc_library_start();
  pthread_mutex_init(&client->lock, NULL);
  pthread_cond_init(&client->changed, NULL);
  client->meter = config->meter;
  client->queue = grpc_completion_queue_create_for_next(NULL);
  client->channel = channel_create(config);
  if (!client->channel) {
    nx_rpc_client_destroy(client);
    return nx_fail(err, NX_E_CRYPTO, "certificate, key or CA for %s cannot be used",
                   config->target);
  }
  int e = pthread_create(&client->thread, NULL, nx_rpc_queue_run, client->queue);
  if (e) {
    nx_rpc_client_destroy(client);
    return nx_fail_errno(err, e, "start the connection's thread");
  }
  client->running = true;
  *client_out = client;
  return 0;
}

static void forget_call(void *owner, struct nx_rpc_call *call) {
  struct nx_rpc_client *client = owner;
  channel_unref(call->channel);
  pthread_mutex_lock(&client->lock);
  for (size_t i = 0; i < client->n_calls; i++)
    if (client->calls[i] == call) {
      client->calls[i] = client->calls[--client->n_calls];
      break;
    }
  pthread_cond_broadcast(&client->changed);
  pthread_mutex_unlock(&client->lock);
}

static bool remember_call(struct nx_rpc_client *client, struct nx_rpc_call *call) {
  bool done = true;
  pthread_mutex_lock(&client->lock);
  if (client->n_calls == client->room) {
    size_t room = client->room * 2 + 8;
    struct nx_rpc_call **calls = realloc(client->calls, room * sizeof *calls);
    if (calls) {
      client->calls = calls;
      client->room = room;
    }
    done = calls != NULL;
  }
  if (done)
    client->calls[client->n_calls++] = call;
  pthread_mutex_unlock(&client->lock);
  return done;
}

int nx_rpc_client_open(struct nx_rpc_client *client, const char *path,
                       const struct nx_rpc_handlers *handlers, void *context, int64_t deadline,
                       struct nx_rpc_call **call_out, struct nx_error *err) {
  grpc_slice method = grpc_slice_from_copied_string(path);
  struct nx_rpc_channel *channel = newest_channel(client);
  grpc_call *grpc =
      grpc_channel_create_call(channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->queue,
                               method, NULL, nx_rpc_deadline(deadline), NULL);
  grpc_slice_unref(method);
  struct nx_rpc_call *call = grpc ? nx_rpc_call_wrap(grpc, false, client->queue_cap) : NULL;
  if (!call || !remember_call(client, call)) {
    if (call)
      nx_rpc_call_unref(call);
    else if (grpc)
      grpc_call_unref(grpc);
    channel_unref(channel);
    return nx_fail(err, NX_E_NOMEM, "out of memory for a stream to %s", client->target);
  }
  call->handlers = *handlers;
  call->leaving = client->meter.leaving;
  call->leaving_context = client->meter.context;
  call->path = path;
  call->context = context;
  call->channel = channel;
  call->target = client->target;
  call->proxy = client->proxy;
  call->on_gone = forget_call;
  call->owner = client;
  *call_out = nx_rpc_call_ref(call);
  nx_rpc_call_start(call);
  return 0;
}

/* A blocking call waits here for its handlers. */
struct waiting {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct nx_buffer *response;
  uint8_t *spki;
  bool answered, closed, failed;
  enum nx_rpc_status status;
  char text[512];
};

static void on_answer(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct waiting *waiting = context;
  if (waiting->spki && nx_rpc_call_peer_spki(call, waiting->spki, NULL) < 0)
    waiting->failed = true;
  waiting->answered = true;
  if (nx_buffer_append(waiting->response, message.data, message.size, NULL) < 0)
    waiting->failed = true;
}

static void on_over(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                    const char *text) {
  struct waiting *waiting = context;
  (void)call;
  pthread_mutex_lock(&waiting->lock);
  waiting->status = status;
  snprintf(waiting->text, sizeof waiting->text, "%s", text);
  waiting->closed = true;
  pthread_cond_signal(&waiting->changed);
  pthread_mutex_unlock(&waiting->lock);
}

static int outcome(const struct nx_rpc_client *client, const struct waiting *waiting,
                   struct nx_error *err) {
  if (waiting->status != NX_RPC_OK)
    return nx_fail(err, nx_rpc_status_code(waiting->status), "%s", waiting->text);
  if (waiting->failed || !waiting->answered)
    return nx_fail(err, NX_E_PROTOCOL, "%s sent no usable answer", client->target);
  return 0;
}

int nx_rpc_client_call(struct nx_rpc_client *client, const char *path, struct nx_bytes request,
                       int64_t deadline, struct nx_buffer *response_out,
                       uint8_t spki_out[NX_SPKI_HASH_SIZE], struct nx_error *err) {
  static const struct nx_rpc_handlers handlers = {.on_message = on_answer, .on_closed = on_over};
  struct waiting waiting = {.lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER,
                            .response = response_out,
                            .spki = spki_out};
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = NULL;
  int r = nx_buffer_append(&bytes, request.data, request.size, err);
  if (!r)
    r = nx_rpc_client_open(client, path, &handlers, &waiting, deadline, &call, err);
  if (r < 0)
    return r;
  nx_rpc_call_receive(call);
  if (nx_rpc_call_send(call, &bytes, NULL) < 0)
    nx_rpc_call_cancel(call);
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
  pthread_mutex_lock(&waiting.lock);
  while (!waiting.closed)
    pthread_cond_wait(&waiting.changed, &waiting.lock);
  pthread_mutex_unlock(&waiting.lock);
  return outcome(client, &waiting, err);
}

void nx_rpc_client_destroy(struct nx_rpc_client *client) {
  if (!client)
    return;
  if (client->running) {
    pthread_mutex_lock(&client->lock);
    for (size_t i = 0; i < client->n_calls; i++)
      nx_rpc_call_cancel(client->calls[i]);
    while (client->n_calls)
      pthread_cond_wait(&client->changed, &client->lock);
    pthread_mutex_unlock(&client->lock);
  }
  channel_unref(client->channel);
  grpc_completion_queue_shutdown(client->queue);
  if (client->running)
    pthread_join(client->thread, NULL);
  else
    nx_rpc_queue_run(client->queue);
  grpc_completion_queue_destroy(client->queue);
  pthread_cond_destroy(&client->changed);
  pthread_mutex_destroy(&client->lock);
  free_client(client);
  nx_rpc_library_stop();
}

int64_t nx_rpc_backoff(unsigned attempt, int64_t base, int64_t cap, struct nx_rng *rng) {
  int64_t most = attempt < 32 && base < (cap >> attempt) ? base << attempt : cap;
  return most > 0 ? (int64_t)nx_rng_below(rng, (uint64_t)most + 1) : 0;
}
