#include "models/released.h"

#include <string.h>

/* As coordinator/verbs/participation.c writes it: the first key of the metadata. */
#define BEGIN "{\"__metadata__\":{"
#define KEY "\"neurox_participation\":\""

/* Behind the quote that ends a JSON string; `at` is its first character. NULL: it does not end. */
static const uint8_t *end_of_string(const uint8_t *at, const uint8_t *end) {
  for (; at < end; at++)
    if (*at == '\\')
      at++;
    else if (*at == '"')
      return at + 1;
  return NULL;
}

/* What stands in the header behind the participation, or NULL when there is none. */
static const uint8_t *behind_participation(const uint8_t *header, size_t size) {
  const size_t begin = sizeof BEGIN KEY - 1;
  if (size < begin || memcmp(header, BEGIN KEY, begin) != 0)
    return NULL;
  const uint8_t *rest = end_of_string(header + begin, header + size);
  return rest && rest < header + size && *rest == ',' ? rest + 1 : rest;
}

int nx_released_sealed(struct nx_bytes file, struct nx_buffer *room, struct nx_bytes *sealed_out,
                       struct nx_error *err) {
  *sealed_out = file;
  struct nx_reader reader = nx_reader(file);
  uint64_t size = nx_reader_u64(&reader);
  if (reader.failed || size > reader.rest.size)
    return 0;
  const uint8_t *header = reader.rest.data, *end = header + size;
  const uint8_t *rest = behind_participation(header, (size_t)size);
  if (!rest)
    return 0;
  while (end > rest && end[-1] == ' ') /* the padding of a longer header */
    end--;
  size_t kept = sizeof BEGIN - 1 + (size_t)(end - rest), padded = (kept + 7) & ~(size_t)7;
  size_t data = (size_t)(reader.rest.size - size);
  int r = nx_buffer_reserve(room, 8 + padded + data, err);
  if (!r)
    r = nx_buffer_append_u64(room, padded, err);
  if (!r)
    r = nx_buffer_append(room, BEGIN, sizeof BEGIN - 1, err);
  if (!r)
    r = nx_buffer_append(room, rest, (size_t)(end - rest), err);
  for (; !r && kept < padded; kept++)
    r = nx_buffer_append(room, " ", 1, err);
  if (!r)
    r = nx_buffer_append(room, header + size, data, err);
  if (!r)
    *sealed_out = nx_buffer_view(room);
  return r;
}
