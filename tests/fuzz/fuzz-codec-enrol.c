/* libFuzzer: any bytes as both messages of the enrolment port, which strangers can reach. */
#include <stdlib.h>

#include "proto/codec/codec_enrol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer again = {0};
  struct nx_enrol_request request;
  struct nx_enrol_response response;
  if (nx_arena_create((size_t)8 << 20, &arena, NULL) < 0)
    return 0;
  if (nx_enrol_request_decode(nx_bytes(data, size), arena, &request, NULL) == 0 &&
      request.csr.size && nx_enrol_request_encode(&request, &again, NULL) < 0)
    abort();
  if (nx_enrol_response_decode(nx_bytes(data, size), arena, &response, NULL) == 0 &&
      nx_enrol_response_encode(&response, &again, NULL) < 0)
    abort();
  return 0;
}
