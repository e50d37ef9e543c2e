/* libFuzzer: any bytes as the record from which an auditor recomputes an opened sum. */
#include "crypto/replay_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct nx_replay replay;
  struct nx_mask *mask = NULL;
  nx_replay_record_parse(nx_bytes(data, size), &replay, &mask, NULL);
  nx_mask_destroy(mask);
  return 0;
}
