/* Enrol/Enrol, on its own port: the one call that needs no client certificate. */
#include <stdio.h>

#include "coordinator/admin/enrolment.h"
#include "coordinator/coordinator_internal.h"
#include "proto/codec/codec_enrol.h"
#include "proto/codec/codec_session.h"

#define REFUSALS_TOLD 20 /* in the logs, while the port is open */

static int check_version(const struct nx_enrol_request *request, struct nx_error *err) {
  if (nx_protocol_agree(request->protocol, 0))
    return 0;
  return nx_fail(err, NX_E_UNSUPPORTED,
                 "%s speaks protocol %u, this coordinator (%s) speaks %u: update the older one",
                 request->software, request->protocol, NX_COORDINATOR_SOFTWARE,
                 NX_PROTOCOL_VERSION);
}

static int admit(struct nx_coordinator *c, struct nx_bytes bytes, struct nx_store_member *member,
                 struct nx_buffer *certificate, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_enrol_request request;
  int r = nx_arena_create((size_t)1 << 20, &arena, err);
  if (r < 0 || (r = nx_enrol_request_decode(bytes, arena, &request, err)) < 0 ||
      (r = check_version(&request, err)) < 0)
    return r;
  struct nx_enrolment_request plain = {
      .federation = nx_bytes(request.federation, sizeof request.federation),
      .token = nx_bytes(request.token, sizeof request.token),
      .csr = request.csr,
      .identity = nx_bytes(request.identity.bytes, sizeof request.identity.bytes),
      .signature = nx_bytes(request.signature.bytes, sizeof request.signature.bytes),
  };
  r = nx_enrolment_admit(c->federation, &plain, member, certificate, err);
  explicit_bzero(request.token, sizeof request.token);
  return r;
}

static int answer(struct nx_coordinator *c, struct nx_stream *stream,
                  const struct nx_store_member *member, struct nx_bytes certificate,
                  struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_enrol_response response = {
      .member = member->id, .certificate = certificate, .coordinator = c->federation->row.identity};
  snprintf(response.name, sizeof response.name, "%s", member->name);
  int r = nx_enrol_response_encode(&response, &bytes, err);
  if (r < 0)
    return r;
  nx_stream_send(stream, &bytes);
  nx_rpc_call_finish(stream->call, NX_RPC_OK, NULL);
  return 0;
}

/* Anybody can be refused as often as he likes, but not fill our disk with it. */
static void note_refusal(struct nx_coordinator *c, const struct nx_error *why) {
  if (atomic_fetch_add(&c->n_refusals, 1) >= REFUSALS_TOLD)
    return;
  NX_LOG(NX_LOG_WARNING, "enrolment.refused", NX_STR("why", why->text));
  NX_AUDIT_APPEND(c->audit, NULL, "enrolment.refused", NX_AUDIT_STR("why", why->text));
}

/* Files thread. */
static void take_request(struct nx_coordinator *c, struct nx_stream *stream,
                         struct nx_bytes bytes) {
  _cleanup_(nx_buffer_finish) struct nx_buffer certificate = {0};
  struct nx_store_member member;
  struct nx_error err = {0};
  int r = admit(c, bytes, &member, &certificate, &err);
  if (r < 0) {
    note_refusal(c, &err);
    nx_stream_refuse(stream, &err);
    return;
  }
  const char *kind = member.readmitted ? "member.readmitted" : "member.enrolled";
  NX_LOG(NX_LOG_INFO, kind, NX_U64("member", member.id), NX_STR("name", member.name));
  r = NX_AUDIT_APPEND(
      c->audit, &err, kind, NX_AUDIT_UINT("member", member.id), NX_AUDIT_STR("name", member.name),
      NX_AUDIT_DATA("identity", member.identity.bytes, sizeof member.identity.bytes),
      NX_AUDIT_HASH("spki", &member.spki));
  if (r < 0 || (r = nx_coordinator_read_members(c, &err)) < 0) {
    nx_stream_refuse(stream, &err);
    nx_coordinator_fail(c, &err);
    return;
  }
  if (answer(c, stream, &member, nx_buffer_view(&certificate), &err) < 0)
    nx_stream_refuse(stream, &err);
}

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct nx_stream *stream = context;
  (void)call;
  nx_task_post(stream->coordinator->files_box, stream, message, take_request);
}

enum nx_rpc_status nx_enrol_open(void *context, struct nx_rpc_call *call,
                                 struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                 const char **text_out) {
  struct nx_stream *stream;
  enum nx_rpc_status status = nx_stream_open_anyone(context, call, &stream, text_out);
  if (status != NX_RPC_OK)
    return status;
  *handlers_out = (struct nx_rpc_handlers){.on_message = on_message, .on_closed = nx_stream_closed};
  *call_context_out = stream;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}
