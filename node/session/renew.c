#include "node/session/renew.h"

#include <stdlib.h>

#include "common/clock.h"
#include "crypto/certificate.h"
#include "proto/codec/codec_renew.h"

#define PATIENCE (60 * NX_SECOND)

/* One question in progress; freed when its call has closed. */
struct question {
  nx_renew_told told;
  void *context;
  struct nx_buffer response;
};

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct question *question = context;
  (void)call;
  nx_buffer_append(&question->response, message.data, message.size, NULL);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct question *question = context;
  int code = nx_rpc_status_code(status);
  (void)call;
  question->told(question->context, code, text ? text : "", nx_buffer_view(&question->response));
  nx_buffer_finish(&question->response);
  free(question);
}

static int make_request(const struct nx_renew_keys *keys, const char *name, struct nx_buffer *out,
                        struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer csr = {0};
  struct nx_renew_request request;
  int r = nx_certificate_make_request(keys->key_pem, name, &csr, err);
  if (r == 0)
    r = nx_sign(keys->identity, "renew", nx_buffer_view(&csr), &request.signature, err);
  request.csr = nx_buffer_view(&csr);
  return r < 0 ? r : nx_renew_request_encode(&request, out, err);
}

int nx_renew_ask(struct nx_rpc_client *client, const struct nx_renew_keys *keys, const char *name,
                 nx_renew_told told, void *context, struct nx_error *err) {
  static const struct nx_rpc_handlers handlers = {.on_message = on_message, .on_closed = on_closed};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = NULL;
  int r = make_request(keys, name, &request, err);
  if (r < 0)
    return r;
  struct question *question = calloc(1, sizeof *question);
  if (!question)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a renewal");
  question->told = told;
  question->context = context;
  question->response.cap = NX_RENEW_MESSAGE_CAP;
  r = nx_rpc_client_open(client, NX_METHOD_IDENTITY_RENEW, &handlers, question,
                         nx_clock_monotonic() + PATIENCE, &call, err);
  if (r < 0) {
    free(question);
    return r;
  }
  nx_rpc_call_receive(call);
  if (nx_rpc_call_send(call, &request, NULL) < 0)
    nx_rpc_call_cancel(call);
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
  return 0;
}

static int check(const struct nx_renew_keys *keys, const struct nx_renew_response *response,
                 int64_t now, struct nx_error *err) {
  struct nx_hash ours, theirs;
  int r = nx_certificate_check_roots(keys->roots, response->roots, response->crosses, now, err);
  if (r < 0 || (r = nx_certificate_verify(response->roots, response->certificate, now, err)) < 0 ||
      (r = nx_certificate_key_spki(keys->key_pem, &ours, err)) < 0 ||
      (r = nx_certificate_spki(response->certificate, &theirs, err)) < 0)
    return r;
  return nx_hash_equal(&ours, &theirs)
             ? 0
             : nx_fail(err, NX_E_CRYPTO, "the certificate is for another key");
}

int nx_renew_read(const struct nx_renew_keys *keys, struct nx_bytes bytes, int64_t now,
                  struct nx_buffer *certificate_out, struct nx_buffer *roots_out,
                  struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_renew_response response;
  int r = nx_arena_create((size_t)1 << 20, &arena, err);
  if (r < 0 || (r = nx_renew_response_decode(bytes, arena, &response, err)) < 0 ||
      (r = check(keys, &response, now, err)) < 0)
    return r < 0 ? nx_error_prefix(err, r, "what the coordinator sent") : 0;
  r = nx_buffer_append(certificate_out, response.certificate.data, response.certificate.size, err);
  return r < 0 ? r : nx_buffer_append(roots_out, response.roots.data, response.roots.size, err);
}
