#include "node/policy/plan_diff.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/cleanup.h"

#define DEPTH_MOST 16
#define KEYS_MOST 100000u

void nx_plan_keys_finish(struct nx_plan_keys *keys) {
  for (size_t i = 0; i < keys->n; i++) {
    free(keys->items[i].path);
    free(keys->items[i].value);
  }
  free(keys->items);
  *keys = (struct nx_plan_keys){0};
}

static int add(struct nx_plan_keys *keys, const char *path, const char *value,
               struct nx_error *err) {
  if (keys->n >= KEYS_MOST)
    return nx_fail(err, NX_E_LIMIT, "a plan with more than %u keys", KEYS_MOST);
  struct nx_plan_key *items = realloc(keys->items, (keys->n + 1) * sizeof *items);
  if (!items)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  keys->items = items;
  items[keys->n] = (struct nx_plan_key){strdup(path), strdup(value)};
  if (items[keys->n].path && items[keys->n].value) {
    keys->n++;
    return 0;
  }
  free(items[keys->n].path);
  free(items[keys->n].value);
  return nx_fail(err, NX_E_NOMEM, "out of memory");
}

static int walk(yaml_document_t *document, int index, const char *path, int depth,
                struct nx_plan_keys *keys, struct nx_error *err);

static int walk_pair(yaml_document_t *document, const yaml_node_pair_t *pair, const char *path,
                     int depth, struct nx_plan_keys *keys, struct nx_error *err) {
  _cleanup_free_ char *below = NULL;
  const yaml_node_t *key = yaml_document_get_node(document, pair->key);
  if (!key || key->type != YAML_SCALAR_NODE)
    return nx_fail(err, NX_E_FORMAT, "a key of the plan is no word");
  if (asprintf(&below, "%s%s%s", path, *path ? "." : "", (const char *)key->data.scalar.value) < 0)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  return walk(document, pair->value, below, depth + 1, keys, err);
}

static int walk_items(yaml_document_t *document, const yaml_node_t *node, const char *path,
                      int depth, struct nx_plan_keys *keys, struct nx_error *err) {
  int r = 0;
  for (yaml_node_item_t *item = node->data.sequence.items.start;
       r == 0 && item < node->data.sequence.items.top; item++) {
    _cleanup_free_ char *below = NULL;
    if (asprintf(&below, "%s[%td]", path, item - node->data.sequence.items.start) < 0)
      return nx_fail(err, NX_E_NOMEM, "out of memory");
    r = walk(document, *item, below, depth + 1, keys, err);
  }
  return r;
}

static int walk(yaml_document_t *document, int index, const char *path, int depth,
                struct nx_plan_keys *keys, struct nx_error *err) {
  const yaml_node_t *node = yaml_document_get_node(document, index);
  int r = 0;
  if (!node || depth > DEPTH_MOST)
    return nx_fail(err, NX_E_FORMAT, "a plan nested deeper than %d", DEPTH_MOST);
  if (node->type == YAML_SCALAR_NODE)
    return add(keys, path, (const char *)node->data.scalar.value, err);
  if (node->type == YAML_SEQUENCE_NODE)
    return walk_items(document, node, path, depth, keys, err);
  for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
       r == 0 && pair < node->data.mapping.pairs.top; pair++)
    r = walk_pair(document, pair, path, depth, keys, err);
  return r;
}

int nx_plan_keys(struct nx_bytes text, struct nx_plan_keys *out, struct nx_error *err) {
  yaml_parser_t parser;
  yaml_document_t document;
  *out = (struct nx_plan_keys){0};
  if (!yaml_parser_initialize(&parser))
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  yaml_parser_set_input_string(&parser, text.data, text.size);
  int r = 0;
  if (!yaml_parser_load(&parser, &document)) {
    r = nx_fail(err, NX_E_FORMAT, "line %zu: %s", parser.problem_mark.line + 1,
                parser.problem ? parser.problem : "no YAML");
  } else {
    if (yaml_document_get_root_node(&document))
      r = walk(&document, 1, "", 0, out, err);
    yaml_document_delete(&document);
  }
  yaml_parser_delete(&parser);
  if (r < 0)
    nx_plan_keys_finish(out);
  return r;
}

static const char *value_of(const struct nx_plan_keys *keys, const char *path) {
  for (size_t i = 0; i < keys->n; i++)
    if (!strcmp(keys->items[i].path, path))
      return keys->items[i].value;
  return NULL;
}

size_t nx_plan_diff(const struct nx_plan_keys *before, const struct nx_plan_keys *after,
                    FILE *out) {
  size_t n = 0;
  for (size_t i = 0; i < after->n; i++) {
    const char *old = value_of(before, after->items[i].path);
    if (old && !strcmp(old, after->items[i].value))
      continue;
    n++;
    fprintf(out, "  %-36s %s -> %s\n", after->items[i].path, old ? old : "(not there)",
            after->items[i].value);
  }
  for (size_t i = 0; i < before->n; i++)
    if (!value_of(after, before->items[i].path)) {
      n++;
      fprintf(out, "  %-36s %s -> (not there)\n", before->items[i].path, before->items[i].value);
    }
  return n;
}
