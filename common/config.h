/* Config: YAML through a libcyaml schema, where a wrong key is an error with its line.
 * The caller's schema names every key; an unknown, missing or out-of-range key fails. */
#pragma once

#include <cyaml/cyaml.h>

#include "common/bytes.h"
#include "common/error.h"

#define NX_CONFIG_CAP ((size_t)1 << 20) /* largest config or plan, bytes */

/* Parses text (named `name` in errors, e.g. the path) into *value_out, a struct laid out
 * by schema; free it with nx_config_free(). Returns 0, NX_E_FORMAT ("plan.yaml:12: …"),
 * NX_E_LIMIT or NX_E_NOMEM. */
int nx_config_parse(const char *name, struct nx_bytes text, const cyaml_schema_value_t *schema,
                    void **value_out, struct nx_error *err);
int nx_config_load(const char *path, const cyaml_schema_value_t *schema, void **value_out,
                   struct nx_error *err);
/* Line, from 1, of a dotted key ("training.rounds") in a text that parsed, for errors about
 * its value; that of its section where the key is not written down; 1 without either. */
int nx_config_line_of(struct nx_bytes text, const char *dotted_key);
/* NX_E_INVALID, "path:12: key: words": the value of a dotted key in the file that was loaded from
 * there; without the line when there is no such file (yet). */
int nx_config_wrong(const char *path, const char *dotted_key, struct nx_error *err,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));
void nx_config_free(const cyaml_schema_value_t *schema, void *value);
