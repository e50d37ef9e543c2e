#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Control bytes in a text could forge log lines or drive a terminal. */
static void keep_printable(char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f)
      *text = '?';
}

int nx_error_set(struct nx_error *err, const char *origin, int code, const char *format, ...) {
  if (!err)
    return code;
  err->code = code;
  err->origin = origin;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(err->text, sizeof err->text, format, arguments);
  va_end(arguments);
  keep_printable(err->text);
  return code;
}

static int code_of_errno(int errno_value) {
  switch (errno_value) {
  case ENOMEM:
    return NX_E_NOMEM;
  case EACCES:
  case EPERM:
    return NX_E_DENIED;
  case ENOENT:
    return NX_E_NOT_FOUND;
  case EEXIST:
    return NX_E_EXISTS;
  default:
    return NX_E_IO;
  }
}

int nx_error_set_errno(struct nx_error *err, const char *origin, int errno_value,
                       const char *format, ...) {
  char text[NX_ERROR_TEXT_SIZE], words[128];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return nx_error_set(err, origin, code_of_errno(errno_value), "%s: %s", text,
                      strerror_r(errno_value, words, sizeof words));
}

int nx_error_prefix(struct nx_error *err, int code, const char *format, ...) {
  if (!err)
    return code;
  char prefix[NX_ERROR_TEXT_SIZE], rest[NX_ERROR_TEXT_SIZE];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(prefix, sizeof prefix, format, arguments);
  va_end(arguments);
  memcpy(rest, err->text, sizeof rest);
  size_t n = strnlen(prefix, sizeof prefix - 1);
  keep_printable(prefix);
  memcpy(err->text, prefix, n);
  snprintf(err->text + n, sizeof err->text - n, ": %s", rest);
  err->code = code;
  return code;
}

const char *nx_code_name(int code) {
  static const char *const names[] = {
      "ok",        "invalid",    "out of memory", "i/o error",     "bad format", "crypto",
      "protocol",  "peer",       "timeout",       "denied",        "not found",  "exists",
      "bad state", "over limit", "cancelled",     "not supported",
  };
  size_t index = code > 0 ? 0 : (size_t)-code;
  return index < sizeof names / sizeof *names ? names[index] : "unknown";
}
