/* libFuzzer: any bytes as what a site says about its data. */
#include <stdlib.h>

#include "proto/codec/codec_site.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer again = {0};
  struct nx_fit_message fit;
  struct nx_withdrawn_message withdrawn;
  if (nx_arena_create((size_t)2 << 20, &arena, NULL) < 0)
    return 0;
  if (nx_fit_message_decode(nx_bytes(data, size), arena, &fit, NULL) == 0 &&
      nx_fit_message_encode(&fit, &again, NULL) < 0)
    abort();
  if (nx_withdrawn_message_decode(nx_bytes(data, size), arena, &withdrawn, NULL) == 0 &&
      nx_withdrawn_message_encode(&withdrawn, &again, NULL) < 0)
    abort();
  return 0;
}
