/* Identity/Renew: a member's next certificate, over its running connection. The key stays, so
 * the manifest that all have pinned stays true; both of the member's keys have to sign. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/coordinator_internal.h"
#include "proto/codec/codec_renew.h"

static int find_member(struct nx_coordinator *c, uint32_t id, struct nx_store_member *out,
                       struct nx_error *err) {
  bool found = false;
  pthread_mutex_lock(&c->directory_lock);
  for (size_t i = 0; i < c->n_members; i++)
    if (c->members[i].id == id) {
      *out = c->members[i];
      found = true;
    }
  pthread_mutex_unlock(&c->directory_lock);
  return found ? 0 : nx_fail(err, NX_E_DENIED, "there is no such member");
}

static int64_t lifetime(const struct nx_coordinator *c) {
  const struct nx_coordinator_config *config = c->federation->config;
  return (config->certificate_seconds ? config->certificate_seconds
                                      : (int64_t)config->certificate_days * 86400) *
         NX_SECOND;
}

/* A node that asks over and over would fill the logs. */
static int check_request(const struct nx_coordinator *c, const struct nx_store_member *member,
                         const struct nx_renew_request *request, struct nx_error *err) {
  struct nx_hash spki;
  int r = nx_verify(&member->identity, "renew", request->csr, &request->signature, err);
  if (r < 0)
    return nx_error_prefix(err, r, "renewal: the identity key did not sign this request");
  if ((r = nx_certificate_check_request(request->csr, &spki, err)) < 0)
    return r;
  if (!nx_hash_equal(&spki, &member->spki))
    return nx_fail(err, NX_E_DENIED,
                   "renewal: the manifest pins another key of this member: a renewed certificate "
                   "keeps the key");
  if (member->ends - nx_clock_unix() > lifetime(c) / 4 * 3)
    return nx_fail(err, NX_E_LIMIT, "this certificate was renewed only just now: keep it");
  return 0;
}

static int issue(struct nx_coordinator *c, struct nx_store_member *member, struct nx_bytes csr,
                 struct nx_buffer *certificate, struct nx_error *err) {
  struct nx_certificate_profile profile = nx_federation_profile(c->federation, member->name);
  int64_t issued, ends;
  profile.client = true;
  int r = nx_federation_issue(c->federation, csr, &profile, certificate, err);
  if (r < 0 ||
      (r = nx_certificate_validity(nx_buffer_view(certificate), &issued, &ends, err)) < 0 ||
      (r = nx_run_store_renew(c->federation->store, member->id, ends * NX_SECOND,
                              nx_buffer_view(certificate), err)) < 0)
    return r;
  member->ends = ends * NX_SECOND;
  struct nx_hash hash = nx_sha256(certificate->data, certificate->size);
  r = NX_AUDIT_APPEND(c->audit, err, "certificate.renewed", NX_AUDIT_UINT("member", member->id),
                      NX_AUDIT_STR("name", member->name), NX_AUDIT_HASH("spki", &member->spki),
                      NX_AUDIT_HASH("certificate", &hash), NX_AUDIT_INT("ends", member->ends));
  NX_LOG(NX_LOG_INFO, "certificate.renewed", NX_U64("member", member->id),
         NX_STR("name", member->name));
  return r < 0 ? r : nx_coordinator_read_members(c, err);
}

static int answer(struct nx_coordinator *c, struct nx_bytes certificate, struct nx_buffer *out,
                  struct nx_error *err) {
  struct nx_federation *f = c->federation;
  pthread_mutex_lock(&f->authority_lock);
  struct nx_renew_response response = {.certificate = certificate,
                                       .roots = nx_buffer_view(&f->ca_certificate),
                                       .crosses = nx_buffer_view(&f->issuer)};
  int r = nx_renew_response_encode(&response, out, err);
  pthread_mutex_unlock(&f->authority_lock);
  return r;
}

/* Files thread. */
static void take_request(struct nx_coordinator *c, struct nx_stream *stream,
                         struct nx_bytes bytes) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer certificate = {0}, out = {0};
  struct nx_renew_request request;
  struct nx_store_member member;
  struct nx_error err = {0};
  if (!nx_stream_is_welcome(stream))
    return;
  int r = nx_arena_create((size_t)1 << 20, &arena, &err);
  if (r < 0 || (r = nx_renew_request_decode(bytes, arena, &request, &err)) < 0 ||
      (r = find_member(c, stream->member, &member, &err)) < 0 ||
      (r = check_request(c, &member, &request, &err)) < 0 ||
      (r = issue(c, &member, request.csr, &certificate, &err)) < 0 ||
      (r = answer(c, nx_buffer_view(&certificate), &out, &err)) < 0) {
    NX_LOG(NX_LOG_WARNING, "renewal.refused", NX_U64("member", stream->member),
           NX_STR("why", err.text));
    nx_stream_refuse(stream, &err);
    return;
  }
  nx_stream_send(stream, &out);
  nx_rpc_call_finish(stream->call, NX_RPC_OK, NULL);
}

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_stream *stream = context;
  (void)call;
  nx_task_post(stream->coordinator->files_box, stream, message, take_request);
}

enum nx_rpc_status nx_renew_open(void *context, struct nx_rpc_call *call,
                                 struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                 const char **text_out) {
  struct nx_stream *stream;
  enum nx_rpc_status status =
      nx_stream_admit(context, call, NX_METHOD_IDENTITY_RENEW, &stream, text_out);
  if (status != NX_RPC_OK)
    return status;
  *handlers_out = (struct nx_rpc_handlers){.on_message = on_message, .on_closed = nx_stream_closed};
  *call_context_out = stream;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}
