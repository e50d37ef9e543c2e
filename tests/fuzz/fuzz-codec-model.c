/* libFuzzer: any bytes as a blob request and as a chunk, both parsed by hand. */
#include <stdlib.h>

#include "proto/codec/codec_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_buffer_finish) struct nx_buffer again = {0};
  struct nx_blob_request request;
  struct nx_blob_chunk chunk, second;
  if (nx_blob_request_decode(nx_bytes(data, size), &request, NULL) == 0 &&
      nx_blob_request_encode(&request, &again, NULL) < 0)
    abort();
  again.size = 0;
  if (nx_blob_chunk_decode(nx_bytes(data, size), &chunk, NULL) < 0)
    return 0;
  if (nx_blob_chunk_encode(&chunk, &again, NULL) < 0 ||
      nx_blob_chunk_decode(nx_buffer_view(&again), &second, NULL) < 0 ||
      second.total != chunk.total || second.offset != chunk.offset ||
      second.data.size != chunk.data.size)
    abort();
  return 0;
}
