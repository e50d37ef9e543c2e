/* libFuzzer: any bytes as each message of a round; the first byte chooses. */
#include <stdlib.h>

#include "proto/codec/codec_round.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRY(number, name)                                                                          \
  case number: {                                                                                   \
    struct nx_##name m;                                                                            \
    if (nx_##name##_decode(body, arena, &m, NULL) == 0 &&                                          \
        nx_##name##_encode(&m, &again, NULL) < 0)                                                  \
      abort();                                                                                     \
    break;                                                                                         \
  }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer again = {0};
  if (!size || nx_arena_create((size_t)8 << 20, &arena, NULL) < 0)
    return 0;
  const struct nx_bytes body = nx_bytes(data + 1, size - 1);
  switch (data[0] % 18) {
    TRY(0, invite)
    TRY(1, advert)
    TRY(2, roster)
    TRY(3, shares) TRY(4, bundle) TRY(5, upload_header) TRY(6, commit_request) TRY(7, vote)
        TRY(8, vote_certificate) TRY(9, release) TRY(10, result) TRY(11, sealed)
            TRY(12, signed_message) TRY(13, complaint) TRY(14, refusal) TRY(15, upload_part)
                TRY(16, tile_request) TRY(17, tile)
  }
  return 0;
}
