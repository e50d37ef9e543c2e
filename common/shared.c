#include "common/shared.h"

#include <stdatomic.h>
#include <stdlib.h>

struct nx_shared {
  atomic_uint references;
  struct nx_buffer bytes;
};

int nx_shared_create(struct nx_buffer *bytes, struct nx_shared **shared_out, struct nx_error *err) {
  struct nx_shared *shared = malloc(sizeof *shared);
  if (!shared) {
    nx_buffer_finish(bytes);
    return nx_fail(err, NX_E_NOMEM, "out of memory for shared bytes");
  }
  atomic_init(&shared->references, 1);
  shared->bytes = *bytes;
  *bytes = (struct nx_buffer){.cap = bytes->cap};
  *shared_out = shared;
  return 0;
}

struct nx_shared *nx_shared_ref(struct nx_shared *shared) {
  atomic_fetch_add(&shared->references, 1);
  return shared;
}

void nx_shared_unref(struct nx_shared *shared) {
  if (!shared || atomic_fetch_sub(&shared->references, 1) != 1)
    return;
  nx_buffer_finish(&shared->bytes);
  free(shared);
}

struct nx_bytes nx_shared_view(const struct nx_shared *shared) {
  return nx_buffer_view(&shared->bytes);
}
