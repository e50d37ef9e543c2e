/* BrainVision: only what the Core Data Format 1.0 defines is written again; comments, user infos,
 * dates and whatever else a recorder adds are not. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/recordings/deidentify_parts.h"
#include "node/recordings/format.h"

#define TEXT_CAP ((size_t)16 << 20)

struct vision_copy {
  const struct nx_deidentify_options *options;
  struct nx_deidentify_counts *counts;
  const char *in;
  char base[256]; /* of the copy, without .vhdr */
  char data_file[256], marker_file[256];
  struct nx_buffer header, markers;
};

static int put_line(struct nx_buffer *out, const char *text, struct nx_error *err) {
  int r = nx_buffer_append(out, text, strlen(text), err);
  return r < 0 ? r : nx_buffer_append(out, "\r\n", 2, err);
}

/* "$b" stands for the header's base name. */
static void take_name(const struct vision_copy *copy, const char *value, char out[256]) {
  const char *slash = strrchr(copy->in, '/'), *base = slash ? slash + 1 : copy->in;
  const char *dot = strrchr(base, '.'), *mark = strstr(value, "$b");
  if (mark)
    snprintf(out, 256, "%.*s%.*s%s", (int)(mark - value), value, (int)(dot - base), base, mark + 2);
  else
    snprintf(out, 256, "%s", value);
}

static int put_common(struct vision_copy *copy, const char *key, const char *value,
                      struct nx_error *err) {
  static const char *const kept[] = {"DataFormat",       "DataOrientation",  "DataType",
                                     "DataPoints",       "NumberOfChannels", "SamplingInterval",
                                     "SegmentationType", "SegmentDataPoints"};
  char line[512] = "";
  if (!strcasecmp(key, "DataFile")) {
    take_name(copy, value, copy->data_file);
    snprintf(line, sizeof line, "DataFile=%s.eeg", copy->base);
  } else if (!strcasecmp(key, "MarkerFile")) {
    take_name(copy, value, copy->marker_file);
    snprintf(line, sizeof line, "MarkerFile=%s.vmrk", copy->base);
  }
  for (size_t i = 0; i < NX_ARRAY_LENGTH(kept); i++)
    if (!strcasecmp(key, kept[i]))
      snprintf(line, sizeof line, "%s=%s", kept[i], value);
  return line[0] ? put_line(&copy->header, line, err) : 0;
}

static int put_binary(struct vision_copy *copy, const char *key, const char *value,
                      struct nx_error *err) {
  char line[256];
  if (strcasecmp(key, "BinaryFormat") != 0 && strcasecmp(key, "UseBigEndianOrder") != 0)
    return 0;
  snprintf(line, sizeof line, "%s=%s", key, value);
  return put_line(&copy->header, line, err);
}

/* ChN=name,reference,resolution,unit and nothing behind. */
static int put_channel(struct vision_copy *copy, const char *key, const char *value,
                       struct nx_error *err) {
  char line[512], clean[768];
  size_t commas = 0, n = 0;
  if (strncasecmp(key, "Ch", 2) != 0 || !isdigit((unsigned char)key[2]))
    return 0;
  for (; value[n] && !(value[n] == ',' && ++commas == 4); n++)
    continue;
  snprintf(line, sizeof line, "%.16s=%.*s", key, (int)NX_MIN(n, (size_t)400), value);
  nx_text_clean(line, strlen(line), clean, sizeof clean); /* a Latin-1 unit becomes UTF-8 */
  return put_line(&copy->header, clean, err);
}

/* The section of a line, by its first word; 0: one that is not copied. */
static char section_of(const char *line) {
  return !strncasecmp(line, "[Common", 7)    ? 'c'
         : !strncasecmp(line, "[Binary", 7)  ? 'b'
         : !strncasecmp(line, "[Channel", 8) ? 'n'
                                             : 0;
}

static int put_header(struct vision_copy *copy, char *text, struct nx_error *err) {
  static const char title[] = "Brain Vision Data Exchange Header File Version 1.0";
  char section = 0;
  int r = put_line(&copy->header, title, err);
  for (char *line; !r && (line = strsep(&text, "\n"));) {
    line[strcspn(line, "\r")] = 0;
    char *value = strchr(line, '=');
    if (line[0] == '[') {
      if (!strncasecmp(line, "[Comment", 8))
        break;
      section = section_of(line);
      if (section)
        r = put_line(&copy->header,
                     section == 'c'   ? "[Common Infos]\r\nCodepage=UTF-8"
                     : section == 'b' ? "[Binary Infos]"
                                      : "[Channel Infos]",
                     err);
      continue;
    }
    if (line[0] == ';' || !value)
      continue;
    *value++ = 0;
    r = section == 'c'   ? put_common(copy, line, value, err)
        : section == 'b' ? put_binary(copy, line, value, err)
        : section == 'n' ? put_channel(copy, line, value, err)
                         : 0;
  }
  return r;
}

/* MkN=type,description,position,size,channel[,date]: the date goes. */
static int put_marker(struct vision_copy *copy, const char *key, char *value, size_t number,
                      struct nx_error *err) {
  char *fields[5] = {0}, line[512];
  (void)key;
  for (size_t i = 0; i < 5 && value; i++)
    fields[i] = strsep(&value, ",");
  if (!fields[4])
    return 0;
  for (size_t i = 2; i < 5; i++)
    if (!*fields[i] || fields[i][strspn(fields[i], "0123456789")])
      return 0;
  const char *type = fields[0], *text = fields[1];
  type = *type ? nx_deidentify_text(copy->options, type, strlen(type), copy->counts) : type;
  if (type && *text)
    text = nx_deidentify_text(copy->options, text, strlen(text), copy->counts);
  if (!type || !text)
    return 0;
  snprintf(line, sizeof line, "Mk%zu=%.90s,%.90s,%.20s,%.20s,%.20s", number, type, text, fields[2],
           fields[3], fields[4]);
  return put_line(&copy->markers, line, err);
}

static int put_markers(struct vision_copy *copy, char *text, struct nx_error *err) {
  char line_out[320];
  size_t number = 0;
  int r = put_line(&copy->markers, "Brain Vision Data Exchange Marker File, Version 1.0", err);
  if (!r)
    r = put_line(&copy->markers, "[Common Infos]\r\nCodepage=UTF-8", err);
  snprintf(line_out, sizeof line_out, "DataFile=%s.eeg\r\n[Marker Infos]", copy->base);
  if (!r)
    r = put_line(&copy->markers, line_out, err);
  for (char *line; !r && (line = strsep(&text, "\n"));) {
    line[strcspn(line, "\r")] = 0;
    char *value = strchr(line, '=');
    if (strncasecmp(line, "Mk", 2) != 0 || !isdigit((unsigned char)line[2]) || !value)
      continue;
    *value++ = 0;
    r = put_marker(copy, line, value, ++number, err);
  }
  return r;
}

static int read_beside(const struct vision_copy *copy, const char *name, struct nx_buffer *out,
                       struct nx_error *err) {
  _cleanup_fd_ int fd = -1;
  int r = nx_recording_open_beside(copy->in, name, &fd, err);
  if (!r)
    r = nx_recording_slurp(fd, TEXT_CAP, out, err);
  return r < 0 ? r : nx_buffer_append(out, "", 1, err);
}

static int copy_samples(const struct vision_copy *copy, struct nx_copy *out, struct nx_error *err) {
  _cleanup_fd_ int fd = -1;
  _cleanup_free_ char *chunk = malloc(1 << 20);
  int r = chunk ? nx_recording_open_beside(copy->in, copy->data_file, &fd, err)
                : nx_fail(err, NX_E_NOMEM, "out of memory");
  for (ssize_t n = 1; !r && n;) {
    n = read(fd, chunk, 1 << 20);
    if (n < 0 && errno == EINTR)
      n = 1;
    else if (n < 0)
      r = nx_fail_errno(err, errno, "read %s", copy->data_file);
    else if (n)
      r = nx_copy_write(out, chunk, (size_t)n, err);
  }
  return r;
}

/* The three files of the copy; the header, which leads to the others, gets its name last. */
static int write_files(struct vision_copy *copy, const char *out, struct nx_error *err) {
  struct nx_copy files[3] = {{.fd = -1}, {.fd = -1}, {.fd = -1}};
  static const char *const extensions[] = {"eeg", "vmrk", "vhdr"};
  char path[NX_PATH_SIZE];
  size_t committed = 0;
  int r = 0;
  for (int i = 0; !r && i < 3; i++) {
    snprintf(path, sizeof path, "%.*s%s", (int)(strlen(out) - 4), out, extensions[i]);
    r = nx_copy_begin(&files[i], path, err);
  }
  if (!r)
    r = copy_samples(copy, &files[0], err);
  if (!r)
    r = nx_copy_write(&files[1], copy->markers.data, copy->markers.size, err);
  if (!r)
    r = nx_copy_write(&files[2], copy->header.data, copy->header.size, err);
  for (; !r && committed < 3; committed += !r)
    r = nx_copy_commit(&files[committed], err);
  for (size_t i = 0; r < 0 && i < committed; i++)
    unlink(files[i].path);
  for (int i = 0; i < 3; i++)
    nx_copy_finish(&files[i]);
  return r;
}

int nx_deidentify_brainvision(const char *in, const char *out,
                              const struct nx_deidentify_options *options,
                              struct nx_deidentify_counts *counts, struct nx_error *err) {
  struct vision_copy copy = {.options = options, .counts = counts, .in = in};
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0}, marks = {0};
  const char *slash = strrchr(out, '/'), *base = slash ? slash + 1 : out;
  snprintf(copy.base, sizeof copy.base, "%.*s", (int)(strlen(base) - 5), base);
  int r = nx_file_read(in, TEXT_CAP, &text, err);
  if (!r)
    r = nx_buffer_append(&text, "", 1, err);
  if (!r)
    r = put_header(&copy, (char *)text.data, err);
  if (!r && !copy.data_file[0])
    r = nx_fail(err, NX_E_FORMAT, "names no DataFile: correct the header");
  if (!r && copy.marker_file[0])
    r = read_beside(&copy, copy.marker_file, &marks, err);
  if (!r)
    r = put_markers(&copy, marks.data ? (char *)marks.data : NULL, err);
  if (!r)
    r = write_files(&copy, out, err);
  nx_buffer_finish(&copy.header);
  nx_buffer_finish(&copy.markers);
  return r < 0 ? nx_error_prefix(err, r, "%s", in) : 0;
}
