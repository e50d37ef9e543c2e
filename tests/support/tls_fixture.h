/* A federation's certificates, made on the spot, and a server and clients that show them:
 * for tests and benches of the transport. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "crypto/certificate.h"
#include "proto/rpc/rpc_client.h"
#include "proto/rpc/rpc_server.h"

struct tls_fixture {
  struct nx_buffer ca_key, ca, server_key, server_certificate, client_key, client_certificate;
};

static inline void tls_must(int r, const struct nx_error *err) {
  if (r < 0) {
    fprintf(stderr, "%s\n", err->text);
    abort();
  }
}

static inline void tls_issue(struct tls_fixture *f, const char *name, bool server,
                             struct nx_buffer *key, struct nx_buffer *certificate) {
  static const char *const places[] = {"127.0.0.1", "localhost"};
  const struct nx_certificate_profile profile = {.common_name = name,
                                                 .server = server,
                                                 .client = !server,
                                                 .alternatives = places,
                                                 .n_alternatives = server ? 2 : 0,
                                                 .not_before = nx_clock_unix() / NX_SECOND,
                                                 .days = 2};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0};
  struct nx_error err = {0};
  tls_must(nx_certificate_make_key(key, &err), &err);
  tls_must(nx_certificate_make_request(nx_buffer_view(key), name, &request, &err), &err);
  tls_must(nx_certificate_issue(nx_buffer_view(&f->ca_key), nx_buffer_view(&f->ca),
                                nx_buffer_view(&request), &profile, certificate, &err),
           &err);
}

static inline void tls_fixture_init(struct tls_fixture *f) {
  struct nx_error err = {0};
  *f = (struct tls_fixture){0};
  tls_must(nx_certificate_make_ca("test", nx_clock_unix() / NX_SECOND, 2, &f->ca_key, &f->ca, &err),
           &err);
  tls_issue(f, "hub", true, &f->server_key, &f->server_certificate);
  tls_issue(f, "site", false, &f->client_key, &f->client_certificate);
}

static inline void tls_fixture_finish(struct tls_fixture *f) {
  nx_buffer_wipe(&f->ca_key);
  nx_buffer_finish(&f->ca);
  nx_buffer_wipe(&f->server_key);
  nx_buffer_finish(&f->server_certificate);
  nx_buffer_wipe(&f->client_key);
  nx_buffer_finish(&f->client_certificate);
}

/* address: "127.0.0.1:0" takes a free port. */
static inline struct nx_rpc_server *tls_serve(const struct tls_fixture *f, const char *address,
                                              const struct nx_rpc_method *methods, size_t n,
                                              void *context) {
  const struct nx_rpc_server_config config = {.address = address,
                                              .certificate = nx_buffer_view(&f->server_certificate),
                                              .key = nx_buffer_view(&f->server_key),
                                              .ca = nx_buffer_view(&f->ca),
                                              .require_client_certificate = true,
                                              .methods = methods,
                                              .n_methods = n,
                                              .context = context};
  struct nx_rpc_server *server = NULL;
  struct nx_error err = {0};
  tls_must(nx_rpc_server_create(&config, &server, &err), &err);
  return server;
}

static inline struct nx_rpc_client *tls_dial(const struct tls_fixture *f, uint16_t port) {
  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%u", port);
  const struct nx_rpc_client_config config = {.target = target,
                                              .ca = nx_buffer_view(&f->ca),
                                              .certificate = nx_buffer_view(&f->client_certificate),
                                              .key = nx_buffer_view(&f->client_key)};
  struct nx_rpc_client *client = NULL;
  struct nx_error err = {0};
  tls_must(nx_rpc_client_create(&config, &client, &err), &err);
  return client;
}
