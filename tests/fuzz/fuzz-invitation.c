/* libFuzzer: any bytes as the invitation file that a steward is sent. */
#include "common/invitation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_invitation_destroyp) struct nx_invitation *invitation = NULL;
  nx_invitation_parse("invitation", nx_bytes(data, size), &invitation, NULL);
  return 0;
}
