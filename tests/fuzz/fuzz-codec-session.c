/* libFuzzer: any bytes as a session message, up (first byte even) or down. What is taken
 * must be encodable and taken again. */
#include <stdlib.h>

#include "proto/codec/codec_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer again = {0};
  struct nx_session_message message;
  if (!size || nx_arena_create((size_t)8 << 20, &arena, NULL) < 0)
    return 0;
  bool up = !(data[0] & 1);
  if ((up ? nx_session_up_decode : nx_session_down_decode)(nx_bytes(data + 1, size - 1), arena,
                                                           &message, NULL) < 0)
    return 0;
  if ((up ? nx_session_up_encode : nx_session_down_encode)(&message, &again, NULL) < 0 ||
      (up ? nx_session_up_decode : nx_session_down_decode)(nx_buffer_view(&again), arena, &message,
                                                           NULL) < 0)
    abort();
  return 0;
}
