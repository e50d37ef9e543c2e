/* Options: the command line of a verb. "--name VALUE", "--name=VALUE", flags, and words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct nx_option {
  const char *name;   /* without the dashes */
  const char **value; /* takes a value, the last one given wins; or NULL */
  bool *flag;         /* takes none */
};

/* Reads argv[0..argc): options in any order, everything else becomes words[0..*n_words);
 * "--" ends the options. NX_E_INVALID: an unknown option, a missing value, too many words. */
int nx_options_parse(int argc, char *const *argv, const struct nx_option *options, size_t n_options,
                     const char **words, size_t words_max, size_t *n_words, struct nx_error *err);
/* A whole decimal number in minimum..maximum; NX_E_INVALID names the option. */
int nx_option_number(const char *name, const char *text, uint64_t minimum, uint64_t maximum,
                     uint64_t *out, struct nx_error *err);
