/* Config numbers: libcyaml takes a number up to the first character that does not fit ("4GB" is
 * 4 to it, "20.5" twenty, "010" eight). Internal to common/config.c. */
#pragma once

#include <cyaml/cyaml.h>

#include "common/bytes.h"
#include "common/error.h"

/* A text that libcyaml has loaded by this schema. NX_E_FORMAT ("name:12: memory_mb: …") names the
 * first number in it that is not one from its first character to its last. */
int nx_config_check_numbers(const char *name, struct nx_bytes text,
                            const cyaml_schema_value_t *schema, struct nx_error *err);
