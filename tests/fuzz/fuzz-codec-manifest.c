/* libFuzzer: any bytes as a manifest, as a revision and as a chain of them. */
#include <stdlib.h>

#include "proto/codec/manifest_chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer again = {0};
  struct nx_manifest manifest;
  struct nx_manifest_revision revision, *chain;
  size_t n;
  if (nx_arena_create((size_t)8 << 20, &arena, NULL) == 0 &&
      nx_manifest_decode(nx_bytes(data, size), arena, &manifest, NULL) == 0 &&
      nx_manifest_encode(&manifest, &again, NULL) < 0)
    abort();
  if (arena) {
    nx_arena_reset(arena);
    nx_manifest_revision_decode(nx_bytes(data, size), arena, &revision, NULL);
    nx_arena_reset(arena);
    nx_manifest_chain_decode(nx_bytes(data, size), arena, &chain, &n, NULL);
  }
  return 0;
}
