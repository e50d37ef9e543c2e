/* libFuzzer: any bytes as the records of a node's journal. First byte: torn or not; then
 * u16 size | record, one after another. The participant may refuse them, and nothing else. */
#include <stdlib.h>

#include "node/session/participant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fill(void *context, void *out, size_t size, struct nx_error *err) {
  (void)context, (void)err;
  memset(out, 7, size);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct nx_entropy entropy = {.fill = fill};
  static struct nx_identity *identity;
  struct nx_bytes records[64];
  size_t n = 0;
  if (!identity && nx_identity_create(&entropy, &identity, NULL) < 0)
    abort();
  struct nx_reader reader = nx_reader(nx_bytes(data, size));
  struct nx_bytes first = nx_reader_take(&reader, 1);
  while (reader.rest.size >= 2 && n < 64) {
    struct nx_bytes head = nx_reader_take(&reader, 2);
    size_t length = head.data[0] | (size_t)head.data[1] << 8;
    records[n++] = nx_reader_take(&reader, length < reader.rest.size ? length : reader.rest.size);
  }
  struct nx_participant_member members[3];
  for (uint32_t i = 0; i < 3; i++)
    members[i] = (struct nx_participant_member){i + 1, *nx_identity_public(identity), {{0}}};
  struct nx_participant_config cfg = {.id = 1,
                                      .members = members,
                                      .n_members = 3,
                                      .coordinator_key = *nx_identity_public(identity),
                                      .identity = identity,
                                      .entropy = &entropy};
  _cleanup_(nx_participant_destroyp) struct nx_participant *participant = NULL;
  struct nx_participant_actions actions = {0};
  if (nx_participant_create(&cfg, &participant, NULL) < 0)
    abort();
  struct nx_participant_event event = {.type = NX_PARTICIPANT_RESTORE,
                                       .records = records,
                                       .n_records = n,
                                       .torn = first.size && (first.data[0] & 1)};
  if (nx_participant_step(participant, &event, 1, &actions, NULL) == 0) {
    nx_participant_actions_reset(&actions);
    event = (struct nx_participant_event){.type = NX_PARTICIPANT_CONNECTED};
    nx_participant_step(participant, &event, 2, &actions, NULL);
  }
  nx_participant_actions_finish(&actions);
  return 0;
}
