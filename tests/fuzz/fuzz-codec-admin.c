/* libFuzzer: any bytes as each of the operator's messages. */
#include <stdlib.h>

#include "proto/codec/codec_admin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRY(type, name)                                                                            \
  do {                                                                                             \
    struct type m;                                                                                 \
    if (name##_decode(nx_bytes(data, size), arena, &m, NULL) == 0 &&                               \
        name##_encode(&m, &again, NULL) < 0)                                                       \
      abort();                                                                                     \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer again = {0};
  if (nx_arena_create(NX_ADMIN_ARENA, &arena, NULL) < 0)
    return 0;
  TRY(nx_admin_start, nx_admin_start);
  TRY(nx_admin_request, nx_admin_request);
  TRY(nx_admin_status, nx_admin_status);
  TRY(nx_admin_members, nx_admin_members);
  TRY(nx_admin_event, nx_admin_event);
  return 0;
}
