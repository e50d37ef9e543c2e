/* libFuzzer: any bytes as a safetensors file; every view must lie within them. */
#include <stdlib.h>

#include "models/released.h"
#include "models/tensor/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_safetensors_closep) struct nx_safetensors *file = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer room = {0};
  struct nx_bytes sealed;
  if (nx_released_sealed(nx_bytes(data, size), &room, &sealed, NULL) == 0 && sealed.data != data &&
      sealed.size > size)
    abort(); /* taking the participation out never makes a file longer */
  if (nx_safetensors_open(nx_bytes(data, size), &file, NULL))
    return 0;
  nx_safetensors_metadata(file, "format");
  for (size_t i = 0; i < nx_safetensors_count(file); i++) {
    const struct nx_safetensor *t = nx_safetensors_at(file, i);
    if (t->data.data < data || t->data.data + t->data.size > data + size || !*t->name)
      abort();
  }
  return 0;
}
