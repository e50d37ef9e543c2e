/* libFuzzer: any bytes as both messages of a renewal. */
#include <stdlib.h>

#include "proto/codec/codec_renew.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer again = {0};
  struct nx_renew_request request;
  struct nx_renew_response response;
  if (nx_arena_create((size_t)8 << 20, &arena, NULL) < 0)
    return 0;
  if (nx_renew_request_decode(nx_bytes(data, size), arena, &request, NULL) == 0 &&
      request.csr.size && nx_renew_request_encode(&request, &again, NULL) < 0)
    abort();
  if (nx_renew_response_decode(nx_bytes(data, size), arena, &response, NULL) == 0 &&
      nx_renew_response_encode(&response, &again, NULL) < 0)
    abort();
  return 0;
}
