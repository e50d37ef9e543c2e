#include "common/config_numbers.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct check {
  const char *name;
  yaml_document_t *document;
  struct nx_error *err;
};

static bool is_whole(const char *text) {
  const char *digits = text + (*text == '-' || *text == '+');
  size_t n = strlen(digits);
  return n && strspn(digits, "0123456789") == n && (n == 1 || *digits != '0');
}

static bool is_real(const char *text) {
  char *end;
  strtod(text, &end);
  return end != text && !*end;
}

static int check_scalar(const struct check *c, const yaml_node_t *node, const char *key,
                        const cyaml_schema_value_t *schema) {
  const char *text = (const char *)node->data.scalar.value;
  const int line = (int)node->start_mark.line + 1;
  if ((schema->type == CYAML_UINT || schema->type == CYAML_INT) && !is_whole(text))
    return nx_fail(c->err, NX_E_FORMAT, "%s:%d: %s: \"%.40s\" is no whole number: use digits alone",
                   c->name, line, key, text);
  if (schema->type == CYAML_FLOAT && !is_real(text))
    return nx_fail(c->err, NX_E_FORMAT, "%s:%d: %s: \"%.40s\" is no number", c->name, line, key,
                   text);
  return 0;
}

static const cyaml_schema_field_t *field_of(const cyaml_schema_value_t *schema, const char *key) {
  for (const cyaml_schema_field_t *f = schema->mapping.fields; f->key; f++)
    if (!strcmp(f->key, key))
      return f;
  return NULL;
}

/* As deep as the schema is, at most. */
static int check_node(const struct check *c, int index, const char *key,
                      const cyaml_schema_value_t *schema) {
  const yaml_node_t *node = yaml_document_get_node(c->document, index);
  int r = 0;
  if (!node)
    return 0;
  if (node->type == YAML_SCALAR_NODE)
    return check_scalar(c, node, key, schema);
  if (node->type == YAML_SEQUENCE_NODE &&
      (schema->type == CYAML_SEQUENCE || schema->type == CYAML_SEQUENCE_FIXED))
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         r == 0 && item < node->data.sequence.items.top; item++)
      r = check_node(c, *item, key, schema->sequence.entry);
  if (node->type == YAML_MAPPING_NODE && schema->type == CYAML_MAPPING)
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         r == 0 && pair < node->data.mapping.pairs.top; pair++) {
      const yaml_node_t *name = yaml_document_get_node(c->document, pair->key);
      const cyaml_schema_field_t *field =
          name && name->type == YAML_SCALAR_NODE
              ? field_of(schema, (const char *)name->data.scalar.value)
              : NULL;
      if (field)
        r = check_node(c, pair->value, field->key, &field->value);
    }
  return r;
}

int nx_config_check_numbers(const char *name, struct nx_bytes text,
                            const cyaml_schema_value_t *schema, struct nx_error *err) {
  yaml_parser_t parser;
  yaml_document_t document;
  if (!yaml_parser_initialize(&parser))
    return nx_fail(err, NX_E_NOMEM, "%s: out of memory", name);
  yaml_parser_set_input_string(&parser, text.data, text.size);
  int r = 0;
  if (!yaml_parser_load(&parser, &document)) {
    r = nx_fail(err, parser.error == YAML_MEMORY_ERROR ? NX_E_NOMEM : NX_E_FORMAT,
                "%s:%d: this YAML cannot be read again", name, (int)parser.problem_mark.line + 1);
  } else {
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    const struct check check = {name, &document, err};
    if (root)
      r = check_node(&check, (int)(root - document.nodes.start) + 1, "", schema);
    yaml_document_delete(&document);
  }
  yaml_parser_delete(&parser);
  return r;
}
