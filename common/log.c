#include "common/log.h"

#include <pthread.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"

static enum nx_log_level minimum = NX_LOG_INFO;
static FILE *output;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void nx_log_setup(enum nx_log_level level, FILE *stream) {
  minimum = level;
  output = stream;
}

static void put_string(FILE *out, const char *s) {
  if (!s)
    s = "";
  bool quote = !*s || strpbrk(s, " \"=\\") != NULL;
  if (quote)
    putc('"', out);
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\')
      putc('\\', out);
    putc(c < 0x20 || c == 0x7f ? '?' : c, out);
  }
  if (quote)
    putc('"', out);
}

static void put_field(FILE *out, const struct nx_log_field *field) {
  fprintf(out, " %s=", field->key);
  switch (field->type) {
  case NX_FIELD_STRING:
    put_string(out, field->string);
    break;
  case NX_FIELD_U64:
    fprintf(out, "%llu", (unsigned long long)field->u64);
    break;
  case NX_FIELD_I64:
    fprintf(out, "%lld", (long long)field->i64);
    break;
  case NX_FIELD_F64:
    fprintf(out, "%.6g", field->f64);
    break;
  case NX_FIELD_HASH: {
    char hex[13];
    nx_hex_encode(field->hash, 6, hex);
    fputs(hex, out);
    break;
  }
  }
}

void nx_log_write(enum nx_log_level level, const char *event, const struct nx_log_field *fields,
                  size_t n_fields) {
  static const char *const names[] = {"debug", "info", "warning", "error"};
  if (level < minimum || level >= NX_LOG_SILENT)
    return;
  char time[21];
  int64_t now = nx_clock_unix();
  nx_clock_format(now, time);
  pthread_mutex_lock(&lock);
  FILE *out = output ? output : stderr;
  fprintf(out, "%.19s.%03dZ %s %s", time, (int)(now % NX_SECOND / NX_MILLISECOND), names[level],
          event);
  for (size_t i = 0; i < n_fields; i++)
    put_field(out, &fields[i]);
  putc('\n', out);
  fflush(out);
  pthread_mutex_unlock(&lock);
}
