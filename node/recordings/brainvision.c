/* BrainVision: name.vhdr (an INI file), name.vmrk (markers), name.eeg (samples). Follows
 * the BrainVision Core Data Format 1.0, and the dialects that recorders really write:
 * byte-order marks, Latin-1 units, missing units (micro-volts), "infos" in lower case,
 * comments after [Comment] that look like keys, SamplingInterval with a decimal comma. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/size.h"
#include "node/recordings/flat.h"
#include "node/recordings/format.h"
#include "node/recordings/identity.h"

#define HEADER_CAP ((size_t)16 << 20)
#define NAME_SIZE 256

struct header {
  char data_file[NAME_SIZE], marker_file[NAME_SIZE];
  size_t n_channels, n_seen;
  uint64_t n_points;
  double interval_us;
  bool vectorized, big_endian, ascii, has_type;
  enum nx_flat_type type;
};

static bool probe_brainvision(const char *path, const uint8_t *head, size_t size) {
  (void)path;
  size_t bom = size >= 3 && !memcmp(head, "\xef\xbb\xbf", 3) ? 3 : 0;
  return size > bom + 12 && !strncasecmp((const char *)head + bom, "Brain Vision", 12) &&
         memmem(head, size, "eader", 5) != NULL;
}

/* "$b" stands for the header's own base name. */
static void copy_name(const struct nx_recording *recording, const char *value, char *out) {
  const char *slash = strrchr(recording->path, '/');
  const char *base = slash ? slash + 1 : recording->path, *dot = strrchr(base, '.');
  const char *mark = strstr(value, "$b");
  if (mark)
    snprintf(out, NAME_SIZE, "%.*s%.*s%s", (int)(mark - value), value,
             (int)(dot ? dot - base : (int)strlen(base)), base, mark + 2);
  else
    snprintf(out, NAME_SIZE, "%s", value);
}

static int parse_common(struct nx_recording *recording, struct header *header, const char *key,
                        char *value, struct nx_error *err) {
  if (!strcasecmp(key, "DataFile")) {
    copy_name(recording, value, header->data_file);
  } else if (!strcasecmp(key, "MarkerFile")) {
    copy_name(recording, value, header->marker_file);
  } else if (!strcasecmp(key, "DataFormat")) {
    header->ascii = strcasecmp(value, "BINARY") != 0;
  } else if (!strcasecmp(key, "DataOrientation")) {
    header->vectorized = !strcasecmp(value, "VECTORIZED");
  } else if (!strcasecmp(key, "DataPoints")) {
    header->n_points = strtoull(value, NULL, 10);
  } else if (!strcasecmp(key, "SamplingInterval")) {
    char *comma = strchr(value, ',');
    if (comma)
      *comma = '.';
    header->interval_us = strtod(value, NULL);
  } else if (!strcasecmp(key, "NumberOfChannels")) {
    unsigned long n = strtoul(value, NULL, 10);
    if (n < 1 || n > NX_RECORDING_CHANNELS || header->n_channels)
      return nx_fail(err, NX_E_FORMAT, "NumberOfChannels=%.16s: 1 to %d are read", value,
                     NX_RECORDING_CHANNELS);
    header->n_channels = n;
    recording->channels = calloc(n, sizeof *recording->channels);
    ((struct nx_flat *)recording->state)->gains = calloc(n, sizeof(double));
    if (!recording->channels || !((struct nx_flat *)recording->state)->gains)
      return nx_fail(err, NX_E_NOMEM, "header: out of memory");
  }
  return 0;
}

static void parse_binary(struct header *header, const char *key, const char *value) {
  static const struct {
    const char *name;
    enum nx_flat_type type;
  } types[] = {{"INT_16", NX_FLAT_I16},
               {"INT_32", NX_FLAT_I32},
               {"IEEE_FLOAT_32", NX_FLAT_F32},
               {"IEEE_FLOAT_64", NX_FLAT_F64},
               {"UINT_16", NX_FLAT_U16}};
  if (!strcasecmp(key, "UseBigEndianOrder"))
    header->big_endian = !strcasecmp(value, "YES");
  for (size_t i = 0; !strcasecmp(key, "BinaryFormat") && i < NX_ARRAY_LENGTH(types); i++)
    if (!strcasecmp(value, types[i].name)) {
      header->type = types[i].type;
      header->has_type = true;
    }
}

/* The next comma-separated field, "\1" turned back into a comma; NULL at the end. */
static char *next_field(char **rest) {
  char *field = strsep(rest, ","), *to = field;
  for (const char *from = field; field && *from; from++)
    if (from[0] == '\\' && from[1] == '1') {
      *to++ = ',';
      from++;
    } else {
      *to++ = *from;
    }
  if (field)
    *to = 0;
  return field;
}

/* ChN=name,reference,resolution,unit */
static int parse_channel(struct nx_recording *recording, struct header *header, const char *key,
                         char *value, struct nx_error *err) {
  unsigned long index = strncasecmp(key, "Ch", 2) ? 0 : strtoul(key + 2, NULL, 10);
  if (index == 0)
    return 0;
  if (index > header->n_channels)
    return nx_fail(err, NX_E_FORMAT, "%.16s where NumberOfChannels is %zu: correct the header", key,
                   header->n_channels);
  struct nx_channel *channel = &recording->channels[index - 1];
  struct nx_flat *flat = recording->state;
  const char *name = next_field(&value);
  next_field(&value); /* reference */
  const char *resolution = next_field(&value), *unit = next_field(&value);
  header->n_seen += channel->name[0] == 0;
  nx_text_clean(name, strlen(name), channel->name, sizeof channel->name);
  if (!channel->name[0])
    snprintf(channel->name, sizeof channel->name, "%lu", index);
  double gain = resolution && *resolution ? strtod(resolution, NULL) : 1;
  if (!isfinite(gain) || gain == 0)
    return nx_fail(err, NX_E_FORMAT, "%.16s has the resolution \"%.16s\": write a number", key,
                   resolution);
  flat->gains[index - 1] = gain;
  strcpy(channel->unit, "uV");
  if (unit && *unit)
    nx_text_clean(unit, strlen(unit), channel->unit, sizeof channel->unit);
  nx_unit_normalise(channel->unit);
  channel->type = nx_channel_guess_type(channel->name, channel->unit);
  return 0;
}

/* Calls one parser a line for the keys of every section up to [Comment]. */
static int parse_header(struct nx_recording *recording, struct header *header, char *text,
                        struct nx_error *err) {
  char section[32] = "";
  for (char *line; (line = strsep(&text, "\n"));) {
    line[strcspn(line, "\r")] = 0;
    if (line[0] == '[')
      snprintf(section, sizeof section, "%.31s", line);
    if (!strncasecmp(section, "[Comment", 8))
      break;
    char *value = strchr(line, '=');
    if (line[0] == ';' || line[0] == '[' || !value)
      continue;
    *value++ = 0;
    int r = 0;
    if (!strncasecmp(section, "[Common", 7))
      r = parse_common(recording, header, line, value, err);
    else if (!strncasecmp(section, "[Binary", 7))
      parse_binary(header, line, value);
    else if (!strncasecmp(section, "[Channel", 8))
      r = parse_channel(recording, header, line, value, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int check_header(const struct header *header, struct nx_error *err) {
  if (!header->n_channels || header->n_seen != header->n_channels)
    return nx_fail(err, NX_E_FORMAT, "describes %zu of %zu channels: correct the header",
                   header->n_seen, header->n_channels);
  if (!(header->interval_us > 1e-3 && header->interval_us < 1e12))
    return nx_fail(err, NX_E_FORMAT, "SamplingInterval is missing or no number of microseconds");
  if (header->ascii || header->big_endian || !header->has_type)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "samples must be BINARY, little-endian, INT_16, INT_32 or IEEE_FLOAT_32: export "
                   "them so");
  return 0;
}

static int read_text(int fd, struct nx_buffer *text, struct nx_error *err) {
  int r = nx_recording_slurp(fd, HEADER_CAP, text, err);
  return r < 0 ? r : nx_buffer_append(text, "", 1, err);
}

/* MkN=type,description,position,size,channel; positions count from 1. */
static int read_markers(struct nx_recording *recording, const struct header *header,
                        struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char label[NX_EVENT_TEXT_SIZE * 2];
  _cleanup_fd_ int fd = -1;
  int r = nx_recording_sibling(recording, header->marker_file, &fd, err);
  if (r == NX_E_NOT_FOUND)
    return 0; /* markers are a convenience: the recording is whole without them */
  if (!r)
    r = read_text(fd, &text, err);
  char *rest = (char *)text.data;
  for (char *line; !r && (line = strsep(&rest, "\n"));) {
    char *value = strchr(line, '=');
    if (strncasecmp(line, "Mk", 2) || !isdigit((unsigned char)line[2]) || !value)
      continue;
    value++;
    const char *type = next_field(&value), *text_of = next_field(&value);
    const char *position = next_field(&value), *size = next_field(&value);
    if (!position)
      continue;
    double seconds = header->interval_us * 1e-6;
    int n = snprintf(label, sizeof label, "%.90s/%.90s", type, text_of);
    r = nx_recording_add_event(recording, fmax(0, strtod(position, NULL) - 1) * seconds,
                               size ? fmax(0, strtod(size, NULL)) * seconds : 0, label, (size_t)n,
                               err);
  }
  nx_recording_sort_events(recording);
  return r;
}

static int open_samples(struct nx_recording *recording, const struct header *header,
                        struct nx_error *err) {
  struct nx_flat *flat = recording->state;
  int fd = -1;
  flat->n_channels = header->n_channels;
  flat->type = header->type;
  flat->by_channel = header->vectorized;
  flat->n_samples = 0;
  int r = nx_recording_sibling(recording, header->data_file, &fd, err);
  if (!r)
    r = nx_flat_open(flat, fd, &recording->info.truncated, err);
  if (r < 0)
    return r;
  recording->info.truncated |= header->n_points > flat->n_samples;
  if (header->n_points && header->n_points < flat->n_samples && !header->vectorized)
    flat->n_samples = header->n_points;
  recording->info.n_channels = header->n_channels;
  recording->info.duration_s = (double)flat->n_samples * header->interval_us * 1e-6;
  for (size_t i = 0; i < header->n_channels; i++) {
    recording->channels[i].rate_hz = 1e6 / header->interval_us;
    recording->channels[i].n_samples = flat->n_samples;
  }
  return nx_recording_unique_names(recording, err);
}

static int open_brainvision(struct nx_recording *recording, struct nx_error *err) {
  struct header header = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  struct nx_flat *flat = calloc(1, sizeof *flat);
  if (!flat)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  flat->fd = -1;
  recording->state = flat;
  int r = read_text(recording->fd, &text, err);
  if (!r)
    r = parse_header(recording, &header, (char *)text.data, err);
  if (!r)
    r = check_header(&header, err);
  if (!r)
    r = open_samples(recording, &header, err);
  if (!r && header.marker_file[0])
    r = read_markers(recording, &header, err);
  return r;
}

static int read_brainvision(struct nx_recording *recording, const uint32_t *channels,
                            size_t n_channels, uint64_t first, size_t n, float *out,
                            struct nx_error *err) {
  return nx_flat_read(recording->state, channels, n_channels, first, n, out, err);
}

static void close_brainvision(struct nx_recording *recording) {
  if (recording->state)
    nx_flat_finish(recording->state);
  free(recording->state);
}

const struct nx_format nx_format_brainvision = {
    .name = "BrainVision",
    .probe = probe_brainvision,
    .open = open_brainvision,
    .read = read_brainvision,
    .close = close_brainvision,
    .identify = nx_identify_brainvision,
};
