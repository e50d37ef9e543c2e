#include "common/options.h"

#include <string.h>

static const struct nx_option *find(const struct nx_option *options, size_t n, const char *name,
                                    size_t size) {
  for (size_t i = 0; i < n; i++)
    if (strlen(options[i].name) == size && !memcmp(options[i].name, name, size))
      return &options[i];
  return NULL;
}

/* argv[*at] is "--something"; moves *at on when the next argument is its value. */
static int parse_one(int argc, char *const *argv, int *at, const struct nx_option *options,
                     size_t n_options, struct nx_error *err) {
  const char *name = argv[*at] + 2, *equals = strchr(name, '=');
  size_t size = equals ? (size_t)(equals - name) : strlen(name);
  const struct nx_option *option = find(options, n_options, name, size);
  if (!option)
    return nx_fail(err, NX_E_INVALID, "there is no option --%.*s; see --help", (int)size, name);
  if (option->flag) {
    if (equals)
      return nx_fail(err, NX_E_INVALID, "--%s takes no value", option->name);
    *option->flag = true;
    return 0;
  }
  if (!equals && ++*at >= argc)
    return nx_fail(err, NX_E_INVALID, "--%s needs a value", option->name);
  *option->value = equals ? equals + 1 : argv[*at];
  return 0;
}

int nx_options_parse(int argc, char *const *argv, const struct nx_option *options, size_t n_options,
                     const char **words, size_t words_max, size_t *n_words, struct nx_error *err) {
  bool only_words = false;
  *n_words = 0;
  for (int i = 0; i < argc; i++) {
    if (!only_words && !strcmp(argv[i], "--")) {
      only_words = true;
    } else if (!only_words && !strncmp(argv[i], "--", 2)) {
      int r = parse_one(argc, argv, &i, options, n_options, err);
      if (r < 0)
        return r;
    } else if (*n_words == words_max) {
      return nx_fail(err, NX_E_INVALID, "'%s' is one word too many; see --help", argv[i]);
    } else {
      words[(*n_words)++] = argv[i];
    }
  }
  return 0;
}

int nx_option_number(const char *name, const char *text, uint64_t minimum, uint64_t maximum,
                     uint64_t *out, struct nx_error *err) {
  uint64_t value = 0;
  for (const char *at = text; *at || at == text; at++)
    if (*at < '0' || *at > '9' || __builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
      return nx_fail(err, NX_E_INVALID, "--%s: '%s' is not a whole number", name, text);
  if (value < minimum || value > maximum)
    return nx_fail(err, NX_E_INVALID, "--%s: %s is outside %llu..%llu", name, text,
                   (unsigned long long)minimum, (unsigned long long)maximum);
  *out = value;
  return 0;
}
