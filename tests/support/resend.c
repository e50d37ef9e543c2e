/* neurox-resend: somebody who has seen a site's request for enrolment (recording.c keeps it) and
 * sends it again, byte for byte, with no key of its own.
 *
 *     neurox-resend INVITATION RECORDING      INVITATION: where to, and the CA
 *
 * Ends with 0 when a certificate came, with 1 and the refusal on stderr when not. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/invitation.h"
#include "proto/codec/codec_enrol.h"
#include "proto/codec/methods.h"
#include "proto/rpc/rpc_client.h"
#include "tests/support/recorded.h"

static int resend(const char *invitation_path, const char *recording_path, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0}, answer = {0};
  _cleanup_(nx_invitation_destroyp) struct nx_invitation *invitation = NULL;
  _cleanup_(nx_rpc_client_destroyp) struct nx_rpc_client *client = NULL;
  struct recording recording = {0};
  int r = nx_file_read(invitation_path, NX_INVITATION_CAP, &text, err);
  if (r < 0 ||
      (r = nx_invitation_parse(invitation_path, nx_buffer_view(&text), &invitation, err)) < 0 ||
      (r = nx_file_read(recording_path, RECORDED_CAP, &recording.bytes, err)) < 0)
    return r;
  if (!recording_parse(&recording) || !recording.n ||
      recording.messages[0].path.size != strlen(NX_METHOD_ENROL) ||
      memcmp(recording.messages[0].path.data, NX_METHOD_ENROL, strlen(NX_METHOD_ENROL)))
    return nx_fail(err, NX_E_FORMAT, "%s does not begin with an enrolment", recording_path);
  const struct nx_rpc_client_config config = {
      .target = invitation->enrol_address,
      .ca = nx_bytes(invitation->certificate, strlen(invitation->certificate)),
      .message_cap = NX_MESSAGE_CAP_ENROL};
  if ((r = nx_rpc_client_create(&config, &client, err)) < 0 ||
      (r = nx_rpc_client_call(client, NX_METHOD_ENROL, recording.messages[0].message,
                              nx_clock_monotonic() + 60 * NX_SECOND, &answer, NULL, err)) < 0)
    return r;
  printf("answered with %zu bytes\n", answer.size);
  return 0;
}

int main(int argc, char **argv) {
  struct nx_error err = {0};
  if (argc != 3) {
    fprintf(stderr, "usage: neurox-resend INVITATION RECORDING\n");
    return 2;
  }
  if (resend(argv[1], argv[2], &err) == 0)
    return 0;
  fprintf(stderr, "neurox-resend: %s\n", err.text);
  return 1;
}
