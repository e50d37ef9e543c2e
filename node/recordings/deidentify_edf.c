/* EDF, EDF+, BDF: the header is written anew field by field, records are copied, annotation
 * signals are packed again. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/recordings/deidentify_parts.h"
#include "node/recordings/edf.h"
#include "node/recordings/identity.h"

#define MAIN 256
#define SIGNALS_CAP 4096

struct edf_copy {
  const struct nx_deidentify_options *options;
  struct nx_deidentify_counts *counts;
  int in;
  struct nx_copy out;
  size_t n_signals, record_bytes, width;
  size_t *bytes, *offsets; /* of a signal in a record */
  bool *annotations;
  bool plus;
  char *signals; /* the signal headers */
};

static void put(char *field, size_t width, const char *text) {
  size_t n = strlen(text);
  memset(field, ' ', width);
  memcpy(field, text, NX_MIN(n, width));
}

static long number(const char *field, size_t width) {
  char text[16];
  snprintf(text, sizeof text, "%.*s", (int)width, field);
  return strtol(text, NULL, 10);
}

static int read_at(int fd, uint64_t offset, void *out, size_t size, struct nx_error *err) {
  for (char *at = out; size;) {
    ssize_t n = pread(fd, at, size, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read");
    if (n == 0)
      return nx_fail(err, NX_E_FORMAT, "the file ends before its last whole record: copy it again");
    at += n;
    offset += (uint64_t)n;
    size -= (size_t)n;
  }
  return 0;
}

/* Nothing of the two free texts, the date or the reserved field is carried over. */
static void clean_main(struct edf_copy *copy, char main[MAIN]) {
  char patient[81];
  bool bdf = copy->width == 3;
  const char *code = copy->options->code ? copy->options->code : "X";
  char reserved[6] = "";
  if (copy->plus)
    memcpy(reserved, main + 192, 5); /* EDF+C and the like */
  snprintf(patient, sizeof patient, "%s X X X", code);
  put(main + 8, 80, patient);
  put(main + 88, 80, "Startdate X X X X");
  put(main + 168, 16, "01.01.8500.00.00");
  put(main + 192, 44, *reserved || !bdf ? reserved : "24BIT");
}

/* Free text of a signal: a transducer, a filter, the reserved field. Type and filter stay, as long
 * as they do not look like a person. */
static void clean_text(struct edf_copy *copy, char *field, size_t width) {
  bool person = nx_looks_like_date(field, width) || nx_looks_like_number(field, width);
  for (size_t i = 0; i + 4 <= width && !person; i++)
    person = field[i] == '^'; /* DICOM's LAST^FIRST */
  if (!person)
    return;
  put(field, width, "");
  copy->counts->fields_blanked++;
}

static void clean_signals(struct edf_copy *copy) {
  size_t n = copy->n_signals;
  for (size_t i = 0; i < n; i++) {
    clean_text(copy, copy->signals + 16 * n + 80 * i, 80);  /* transducer */
    clean_text(copy, copy->signals + 136 * n + 80 * i, 80); /* prefilter */
    put(copy->signals + 224 * n + 32 * i, 32, "");
  }
}

struct list {
  const char *in;
  size_t n_in;
  char *out; /* room for n_in + 1 */
  size_t n_out;
};

static void append(struct list *list, const char *text, size_t n) {
  n = NX_MIN(n, list->n_in - list->n_out);
  memcpy(list->out + list->n_out, text, n);
  list->n_out += n;
}

/* One list in[0 .. n): "+12.5[\x15" "0.5]\x14" "text\x14" … Its texts are judged; a list of which
 * none stays goes, unless it is the one that keeps the record's time. */
static void clean_list(struct edf_copy *copy, struct list *list, const char *in, size_t n) {
  const char *stamp = memchr(in, 0x14, n), *end = in + n;
  if (!stamp || (*in != '+' && *in != '-'))
    return;
  size_t start = list->n_out, kept = 0;
  bool keeps_time = stamp + 1 < end && stamp[1] == 0x14;
  append(list, in, (size_t)(stamp + 1 - in));
  for (const char *text = stamp + 1; text < end;) {
    const char *stop = memchr(text, 0x14, (size_t)(end - text));
    size_t size = (size_t)((stop ? stop : end) - text);
    const char *stays = size ? nx_deidentify_text(copy->options, text, size, copy->counts) : text;
    if (stays) {
      append(list, stays, stays == text ? size : NX_MIN(strlen(stays), size));
      append(list, "\x14", 1);
      kept++;
    }
    text += size + 1;
  }
  if (!kept && !keeps_time)
    list->n_out = start;
  else
    append(list, "", 1);
}

/* The lists of one annotation signal of one record, packed again; the rest is zeros. Lists only
 * become shorter, so they fit. */
static int clean_lists(struct edf_copy *copy, char *bytes, size_t size, struct nx_error *err) {
  struct list list = {.in = bytes, .n_in = size, .out = calloc(size + 1, 1)};
  if (!list.out)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t from = 0, end; from < size; from = end + 1) {
    const char *stop = memchr(bytes + from, 0, size - from);
    end = stop ? (size_t)(stop - bytes) : size;
    if (end > from)
      clean_list(copy, &list, bytes + from, end - from);
  }
  memset(bytes, 0, size);
  memcpy(bytes, list.out, list.n_out);
  free(list.out);
  return 0;
}

static int copy_records(struct edf_copy *copy, uint64_t offset, uint64_t size,
                        struct nx_error *err) {
  _cleanup_free_ char *record = malloc(copy->record_bytes + 1);
  if (!record)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (uint64_t at = offset; at + copy->record_bytes <= size; at += copy->record_bytes) {
    int r = read_at(copy->in, at, record, copy->record_bytes, err);
    for (size_t s = 0; !r && s < copy->n_signals; s++)
      if (copy->annotations[s])
        r = clean_lists(copy, record + copy->offsets[s], copy->bytes[s], err);
    if (!r)
      r = nx_copy_write(&copy->out, record, copy->record_bytes, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int read_signals(struct edf_copy *copy, struct nx_error *err) {
  size_t n = copy->n_signals;
  copy->signals = malloc(256 * n + 1);
  copy->bytes = calloc(n + 1, sizeof *copy->bytes);
  copy->offsets = calloc(n + 1, sizeof *copy->offsets);
  copy->annotations = calloc(n + 1, sizeof *copy->annotations);
  if (!copy->signals || !copy->bytes || !copy->offsets || !copy->annotations)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  int r = read_at(copy->in, MAIN, copy->signals, 256 * n, err);
  for (size_t i = 0; !r && i < n; i++) {
    const char *label = copy->signals + 16 * i;
    long samples = number(copy->signals + 216 * n + 8 * i, 8);
    copy->annotations[i] =
        !memcmp(label, "EDF Annotations ", 16) || !memcmp(label, "BDF Annotations ", 16);
    copy->bytes[i] = (size_t)samples * copy->width;
    copy->offsets[i] = copy->record_bytes;
    if (samples < 0 || !nx_size_add(copy->record_bytes, copy->bytes[i], &copy->record_bytes) ||
        copy->record_bytes > NX_EDF_RECORD_CAP)
      r = nx_fail(err, NX_E_FORMAT, "signal %zu: no number of samples that is possible", i + 1);
  }
  return r;
}

static int copy_all(struct edf_copy *copy, struct nx_error *err) {
  char main[MAIN];
  struct stat status;
  int r = read_at(copy->in, 0, main, sizeof main, err);
  if (r < 0)
    return r;
  long n = number(main + 252, 4);
  if (fstat(copy->in, &status) || n < 0 || n > SIGNALS_CAP)
    return nx_fail(err, NX_E_FORMAT, "the header is damaged: copy the file again");
  copy->n_signals = (size_t)n;
  copy->width = (unsigned char)main[0] == 0xff ? 3 : 2;
  copy->plus = !memcmp(main + 193, "DF+", 3);
  r = read_signals(copy, err);
  long header = number(main + 184, 8);
  uint64_t offset = MAIN + 256 * copy->n_signals;
  if (header > (long)offset && header <= status.st_size)
    offset = (uint64_t)header; /* as the reader does */
  if (r < 0)
    return r;
  clean_main(copy, main);
  clean_signals(copy);
  char text[16];
  snprintf(text, sizeof text, "%zu", MAIN + 256 * copy->n_signals);
  put(main + 184, 8, text);
  r = nx_copy_write(&copy->out, main, sizeof main, err);
  if (!r)
    r = nx_copy_write(&copy->out, copy->signals, 256 * copy->n_signals, err);
  if (!r && copy->record_bytes)
    r = copy_records(copy, offset, (uint64_t)status.st_size, err);
  return r < 0 ? r : nx_copy_commit(&copy->out, err);
}

int nx_deidentify_edf(const char *in, const char *out, const struct nx_deidentify_options *options,
                      struct nx_deidentify_counts *counts, struct nx_error *err) {
  struct edf_copy copy = {.options = options, .counts = counts, .out = {.fd = -1}};
  _cleanup_fd_ int fd = open(in, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open %s", in);
  copy.in = fd;
  int r = nx_copy_begin(&copy.out, out, err);
  if (!r)
    r = copy_all(&copy, err);
  nx_copy_finish(&copy.out);
  free(copy.signals);
  free(copy.bytes);
  free(copy.offsets);
  free(copy.annotations);
  return r < 0 ? nx_error_prefix(err, r, "%s", in) : 0;
}
