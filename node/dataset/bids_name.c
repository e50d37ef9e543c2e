#include "node/dataset/bids_name.h"

#include <ctype.h>
#include <string.h>

static bool copy_word(const char *text, size_t n, char *out, size_t size) {
  if (n == 0 || n >= size)
    return false;
  for (size_t i = 0; i < n; i++)
    if (!isalnum((unsigned char)text[i]) && text[i] != '+')
      return false;
  memcpy(out, text, n);
  out[n] = 0;
  return true;
}

static bool take_entity(struct nx_bids_name *name, const char *part, size_t n) {
  const char *dash = memchr(part, '-', n);
  struct nx_bids_entity entity;
  if (!dash || name->n >= NX_BIDS_ENTITIES ||
      !copy_word(part, (size_t)(dash - part), entity.key, sizeof entity.key) ||
      !copy_word(dash + 1, n - 1 - (size_t)(dash - part), entity.label, sizeof entity.label) ||
      nx_bids_entity(name, entity.key))
    return false;
  name->entities[name->n++] = entity;
  return true;
}

bool nx_bids_name_parse(const char *file, struct nx_bids_name *name_out) {
  struct nx_bids_name name = {0};
  size_t stem = strcspn(file, ".");
  const char *part = file, *end = file + stem;
  for (const char *stop; (stop = memchr(part, '_', (size_t)(end - part))); part = stop + 1)
    if (!take_entity(&name, part, (size_t)(stop - part)))
      return false;
  if (!copy_word(part, (size_t)(end - part), name.suffix, sizeof name.suffix) ||
      strlen(end) >= sizeof name.extension)
    return false;
  strcpy(name.extension, end);
  *name_out = name;
  return true;
}

const char *nx_bids_entity(const struct nx_bids_name *name, const char *key) {
  for (size_t i = 0; i < name->n; i++)
    if (!strcmp(name->entities[i].key, key))
      return name->entities[i].label;
  return NULL;
}

bool nx_bids_applies(const struct nx_bids_name *general, const struct nx_bids_name *special,
                     const char *except) {
  for (size_t i = 0; i < general->n; i++) {
    const char *label = nx_bids_entity(special, general->entities[i].key);
    if (except && !strcmp(general->entities[i].key, except))
      continue;
    if (!label || strcmp(label, general->entities[i].label))
      return false;
  }
  return true;
}
