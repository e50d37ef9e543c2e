#include "common/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/config_numbers.h"
#include "common/file.h"

/* What libcyaml said while it gave up: the first error, and the first line number of
 * the backtrace that follows it (the innermost place). */
struct complaint {
  char text[256];
  int line;
};

static void collect(cyaml_log_t level, void *context, const char *format, va_list arguments) {
  struct complaint *complaint = context;
  char text[256];
  if (level < CYAML_LOG_ERROR)
    return;
  vsnprintf(text, sizeof text, format, arguments);
  text[strcspn(text, "\n")] = 0;
  const char *line = strstr(text, "line: ");
  if (line && !complaint->line)
    complaint->line = atoi(line + 6);
  const char *body = strncmp(text, "Load: ", 6) ? text : text + 6;
  if (!complaint->text[0] && strncmp(body, "Backtrace", 9) && *body)
    snprintf(complaint->text, sizeof complaint->text, "%s", body);
}

static cyaml_config_t settings(struct complaint *complaint) {
  return (cyaml_config_t){
      .log_fn = collect,
      .log_ctx = complaint,
      .log_level = CYAML_LOG_ERROR,
      .mem_fn = cyaml_mem,
      .flags = CYAML_CFG_NO_ALIAS,
  };
}

/* libcyaml places an unexpected key where the value before it ended: finds the line, from
 * there on, that the key itself stands on. */
static int line_of_key(struct nx_bytes text, const char *key, int from) {
  const char *at = (const char *)text.data, *end = at + text.size;
  size_t n = strlen(key);
  for (int line = 1; at < end; line++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    while (at < stop && (*at == ' ' || *at == '-'))
      at++;
    if (line >= from && (size_t)(stop - at) > n && !memcmp(at, key, n) && at[n] == ':')
      return line;
    at = stop + 1;
  }
  return from;
}

int nx_config_parse(const char *name, struct nx_bytes text, const cyaml_schema_value_t *schema,
                    void **value_out, struct nx_error *err) {
  struct complaint complaint = {0};
  cyaml_config_t config = settings(&complaint);
  if (text.size > NX_CONFIG_CAP)
    return nx_fail(err, NX_E_LIMIT, "%s: larger than %zu bytes", name, NX_CONFIG_CAP);
  if (!text.size)
    return nx_fail(err, NX_E_FORMAT, "%s: the file is empty", name);
  *value_out = NULL;
  cyaml_err_t e = cyaml_load_data(text.data, text.size, &config, schema, value_out, NULL);
  if (e == CYAML_ERR_OOM)
    return nx_fail(err, NX_E_NOMEM, "%s: out of memory", name);
  static const char unexpected[] = "Unexpected key: ";
  if (!strncmp(complaint.text, unexpected, sizeof unexpected - 1))
    complaint.line = line_of_key(text, complaint.text + sizeof unexpected - 1, complaint.line);
  if (e != CYAML_OK)
    return nx_fail(err, NX_E_FORMAT, "%s:%d: %s", name, complaint.line,
                   complaint.text[0] ? complaint.text : cyaml_strerror(e));
  if (!*value_out)
    return nx_fail(err, NX_E_FORMAT, "%s: no content", name);
  int r = nx_config_check_numbers(name, text, schema, err);
  if (r < 0) {
    nx_config_free(schema, *value_out);
    *value_out = NULL;
  }
  return r;
}

int nx_config_line_of(struct nx_bytes text, const char *dotted_key) {
  int line = 1;
  for (const char *at = dotted_key; *at;) {
    char part[64];
    size_t n = strcspn(at, ".");
    snprintf(part, sizeof part, "%.*s", (int)n, at);
    line = line_of_key(text, part, line);
    at += n + (at[n] == '.');
  }
  return line;
}

int nx_config_wrong(const char *path, const char *dotted_key, struct nx_error *err,
                    const char *format, ...) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char words[NX_ERROR_TEXT_SIZE];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(words, sizeof words, format, arguments);
  va_end(arguments);
  if (nx_file_read(path, NX_CONFIG_CAP, &text, NULL) < 0)
    return nx_fail(err, NX_E_INVALID, "%s: %s: %s", path, dotted_key, words);
  return nx_fail(err, NX_E_INVALID, "%s:%d: %s: %s", path,
                 nx_config_line_of(nx_buffer_view(&text), dotted_key), dotted_key, words);
}

int nx_config_load(const char *path, const cyaml_schema_value_t *schema, void **value_out,
                   struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  int r = nx_file_read(path, NX_CONFIG_CAP, &text, err);
  if (r < 0)
    return r;
  return nx_config_parse(path, nx_buffer_view(&text), schema, value_out, err);
}

void nx_config_free(const cyaml_schema_value_t *schema, void *value) {
  struct complaint complaint = {0};
  cyaml_config_t config = settings(&complaint);
  if (value)
    cyaml_free(&config, schema, value, 0);
}
