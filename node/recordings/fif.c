/* FIF: Neuromag's tagged format for MEG and EEG, as MNE writes and reads it.
 *
 *     tag: kind, type, size, next (big-endian, 4 bytes each), then size bytes of data
 *     blocks nest between BLOCK_START and BLOCK_END; raw data are buffers of
 *     [samples][channels] in one of four number types
 *
 * Values are number * range * cal in V, T or T/m. Projections and compensation are noted in
 * such files, never applied here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/format.h"
#include "node/recordings/identity.h"

#define TAG_SIZE 16
#define CHANNEL_INFO_SIZE 96
#define TEXT_CAP ((size_t)16 << 20)
#define CHUNK ((size_t)1 << 17) /* bytes a read */
#define TILE ((size_t)1 << 14)  /* bytes that stay in the first cache while channels are taken */
#define BUFFERS_CAP ((size_t)1 << 22)

enum kind {
  KIND_FILE_ID = 100,
  KIND_BLOCK_START = 104,
  KIND_BLOCK_END = 105,
  KIND_N_CHANNELS = 200,
  KIND_RATE = 201,
  KIND_CHANNEL_INFO = 203,
  KIND_COMMENT = 206,
  KIND_FIRST_SAMPLE = 208,
  KIND_DATA_BUFFER = 300,
  KIND_DATA_SKIP = 301,
  KIND_ONSETS = 3568,
  KIND_ENDS = 3569
};

#define DEPTH 32 /* of blocks; deeper ones are not looked into */

enum block { BLOCK_MEASUREMENT_INFO = 101, BLOCK_REFERENCE = 118, BLOCK_ANNOTATIONS = 3810 };
enum type { TYPE_SHORT = 2, TYPE_INT = 3, TYPE_FLOAT = 4, TYPE_DOUBLE = 5, TYPE_PACK16 = 16 };

struct tag {
  uint32_t kind, type;
  int32_t size, next;
  uint64_t data; /* offset */
};

struct data_buffer {
  uint64_t offset, first, n;
  uint32_t type;
};

struct fif {
  double *gains; /* [n_channels] */
  size_t n_infos;
  double rate_hz;
  uint64_t n_samples, first_sample;
  struct data_buffer *buffers;
  size_t n_buffers, room;
  uint8_t *bytes;
  size_t bytes_size;
  /* annotations, until they become events */
  double *onsets, *ends;
  char *texts;
  size_t n_onsets, n_ends;
  uint32_t blocks[DEPTH];
  size_t depth;
};

static uint32_t be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static float be_float(const uint8_t *p) {
  uint32_t bits = be32(p);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static double be_double(const uint8_t *p) {
  uint64_t bits = (uint64_t)be32(p) << 32 | be32(p + 4);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static bool probe_fif(const char *path, const uint8_t *head, size_t size) {
  (void)path;
  return size >= TAG_SIZE && be32(head) == KIND_FILE_ID && be32(head + 4) == 31 &&
         be32(head + 8) == 20;
}

static int read_tag(const struct nx_recording *recording, uint64_t at, struct tag *tag,
                    struct nx_error *err) {
  uint8_t head[TAG_SIZE];
  int r = nx_recording_pread(recording, at, head, sizeof head, err);
  if (r < 0)
    return r;
  *tag = (struct tag){be32(head), be32(head + 4), (int32_t)be32(head + 8), (int32_t)be32(head + 12),
                      at + TAG_SIZE};
  if (tag->size < 0 || (uint64_t)tag->size > recording->file_size - tag->data)
    return nx_fail(err, NX_E_FORMAT,
                   "the tag at byte %llu runs beyond the end: copy the file again",
                   (unsigned long long)at);
  return 0;
}

static enum nx_channel_type type_of(uint32_t kind, uint32_t coil) {
  switch (kind) {
  case 1:
    return coil == 3012 || coil == 3013 || coil == 3014 || coil == 2 ? NX_CHANNEL_MEG_GRAD
                                                                     : NX_CHANNEL_MEG_MAG;
  case 2:
    return NX_CHANNEL_EEG;
  case 3:
    return NX_CHANNEL_STIM;
  case 202:
    return NX_CHANNEL_EOG;
  case 302:
    return NX_CHANNEL_EMG;
  case 402:
    return NX_CHANNEL_ECG;
  case 802:
  case 803:
  case 902:
    return NX_CHANNEL_IEEG;
  case 1100:
    return NX_CHANNEL_NIRS;
  default:
    return NX_CHANNEL_MISC;
  }
}

/* scan, log, kind, range, cal, coil, loc[12], unit, multiplier, name[16] */
static int take_channel(struct nx_recording *recording, struct fif *fif, const struct tag *tag,
                        struct nx_error *err) {
  uint8_t info[CHANNEL_INFO_SIZE];
  if (tag->size < CHANNEL_INFO_SIZE || fif->n_infos >= recording->info.n_channels)
    return nx_fail(err, NX_E_FORMAT, "channel description %zu of %zu is damaged", fif->n_infos + 1,
                   recording->info.n_channels);
  int r = nx_recording_pread(recording, tag->data, info, sizeof info, err);
  if (r < 0)
    return r;
  struct nx_channel *channel = &recording->channels[fif->n_infos];
  uint32_t kind = be32(info + 8), unit = be32(info + 72);
  nx_text_clean((const char *)info + 80, strnlen((const char *)info + 80, 16), channel->name,
                sizeof channel->name);
  channel->type = type_of(kind, be32(info + 20));
  strcpy(channel->unit, unit == 107 ? "V" : unit == 112 ? "T" : unit == 201 ? "T/m" : "");
  fif->gains[fif->n_infos++] = (double)be_float(info + 12) * (double)be_float(info + 16);
  bool placed = false;
  for (int i = 0; i < 3; i++) {
    float p = be_float(info + 24 + 4 * i);
    channel->position_m[i] = isfinite(p) && fabsf(p) < 10 ? p : 0;
    placed |= channel->position_m[i] != 0;
  }
  if (placed)
    channel->frame = kind == 1 ? NX_FRAME_DEVICE : kind == 2 ? NX_FRAME_HEAD : NX_FRAME_UNKNOWN;
  return 0;
}

static int take_count(struct nx_recording *recording, struct fif *fif, uint32_t n,
                      struct nx_error *err) {
  if (recording->channels)
    return 0; /* said again inside of a processing history */
  if (n < 1 || n > NX_RECORDING_CHANNELS)
    return nx_fail(err, NX_E_LIMIT, "%u channels: 1 to %d are read", n, NX_RECORDING_CHANNELS);
  recording->channels = calloc(n, sizeof *recording->channels);
  fif->gains = calloc(n, sizeof *fif->gains);
  if (!recording->channels || !fif->gains)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->info.n_channels = n;
  return 0;
}

static size_t width_of(uint32_t type) {
  return type == TYPE_SHORT || type == TYPE_PACK16 ? 2
         : type == TYPE_INT || type == TYPE_FLOAT  ? 4
         : type == TYPE_DOUBLE                     ? 8
                                                   : 0;
}

static int take_buffer(struct nx_recording *recording, struct fif *fif, const struct tag *tag,
                       struct nx_error *err) {
  size_t frame = width_of(tag->type) * recording->info.n_channels;
  if (frame == 0 || tag->size % frame)
    return nx_fail(err, NX_E_UNSUPPORTED, "data of type %u in buffers of %d bytes", tag->type,
                   tag->size);
  if (fif->n_buffers >= BUFFERS_CAP)
    return nx_fail(err, NX_E_LIMIT, "more than %zu data buffers: save the file with longer ones",
                   BUFFERS_CAP);
  if (fif->n_buffers == fif->room) {
    size_t room = NX_MAX((size_t)256, 2 * fif->room);
    struct data_buffer *grown = reallocarray(fif->buffers, room, sizeof *grown);
    if (!grown)
      return nx_fail(err, NX_E_NOMEM, "out of memory");
    fif->buffers = grown;
    fif->room = room;
  }
  uint64_t n = (uint64_t)tag->size / frame;
  fif->buffers[fif->n_buffers++] = (struct data_buffer){tag->data, fif->n_samples, n, tag->type};
  fif->n_samples += n;
  return 0;
}

static int take_text(const struct nx_recording *recording, struct fif *fif, const struct tag *tag,
                     struct nx_error *err) {
  size_t size = (size_t)tag->size;
  if (fif->texts || size > TEXT_CAP)
    return 0;
  fif->texts = calloc(size + 1, 1);
  if (!fif->texts)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  return nx_recording_pread(recording, tag->data, fif->texts, size, err);
}

static int take_times(const struct nx_recording *recording, const struct tag *tag, double **out,
                      size_t *n_out, struct nx_error *err) {
  size_t width = tag->type == TYPE_DOUBLE ? 8 : 4, n = (size_t)tag->size / width;
  if (*out || n > NX_RECORDING_EVENTS || (tag->type != TYPE_DOUBLE && tag->type != TYPE_FLOAT))
    return 0;
  _cleanup_free_ uint8_t *bytes = malloc(n * width + 1);
  *out = calloc(n + 1, sizeof **out);
  if (!bytes || !*out)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  int r = nx_recording_pread(recording, tag->data, bytes, n * width, err);
  for (size_t i = 0; !r && i < n; i++)
    (*out)[i] = width == 8 ? be_double(bytes + 8 * i) : (double)be_float(bytes + 4 * i);
  *n_out = n;
  return r;
}

static int take_number(const struct nx_recording *recording, const struct tag *tag, uint8_t out[4],
                       struct nx_error *err) {
  if (tag->size != 4)
    return nx_fail(err, NX_E_FORMAT, "tag %u has %d bytes where a number belongs", tag->kind,
                   tag->size);
  return nx_recording_pread(recording, tag->data, out, 4, err);
}

/* True when the innermost block is of that kind. */
static bool inside(const struct fif *fif, uint32_t block) {
  return fif->depth > 0 && fif->depth <= DEPTH && fif->blocks[fif->depth - 1] == block;
}

static int take_tag(struct nx_recording *recording, struct fif *fif, const struct tag *tag,
                    struct nx_error *err) {
  uint8_t word[4] = {0};
  int r = 0;
  switch (tag->kind) {
  case KIND_BLOCK_START:
    r = take_number(recording, tag, word, err);
    if (fif->depth < DEPTH)
      fif->blocks[fif->depth] = be32(word);
    fif->depth++;
    if (!r && be32(word) == BLOCK_REFERENCE)
      return nx_fail(err, NX_E_UNSUPPORTED, "is one part of a split recording: join the parts");
    return r;
  case KIND_BLOCK_END:
    fif->depth -= fif->depth > 0;
    return 0;
  case KIND_N_CHANNELS:
    if (!inside(fif, BLOCK_MEASUREMENT_INFO)) /* a processing history repeats it */
      return 0;
    r = take_number(recording, tag, word, err);
    return r < 0 ? r : take_count(recording, fif, be32(word), err);
  case KIND_RATE:
    r = take_number(recording, tag, word, err);
    if (!r && inside(fif, BLOCK_MEASUREMENT_INFO))
      fif->rate_hz = (double)be_float(word);
    return r;
  case KIND_FIRST_SAMPLE:
    r = take_number(recording, tag, word, err);
    fif->first_sample = be32(word);
    return r;
  case KIND_CHANNEL_INFO:
    return inside(fif, BLOCK_MEASUREMENT_INFO) ? take_channel(recording, fif, tag, err) : 0;
  case KIND_DATA_BUFFER:
    return take_buffer(recording, fif, tag, err);
  case KIND_DATA_SKIP:
    recording->info.discontinuous |= fif->n_buffers > 0;
    return 0;
  case KIND_COMMENT:
    return inside(fif, BLOCK_ANNOTATIONS) ? take_text(recording, fif, tag, err) : 0;
  case KIND_ONSETS:
    return inside(fif, BLOCK_ANNOTATIONS)
               ? take_times(recording, tag, &fif->onsets, &fif->n_onsets, err)
               : 0;
  case KIND_ENDS:
    return inside(fif, BLOCK_ANNOTATIONS)
               ? take_times(recording, tag, &fif->ends, &fif->n_ends, err)
               : 0;
  default:
    return 0;
  }
}

static int scan(struct nx_recording *recording, struct fif *fif, struct nx_error *err) {
  uint64_t at = 0;
  while (at + TAG_SIZE <= recording->file_size) {
    struct tag tag;
    int r = read_tag(recording, at, &tag, err);
    if (r < 0 && fif->n_buffers && recording->file_size - at < (uint64_t)INT32_MAX) {
      recording->info.truncated = true; /* cut off behind the first data: read what is there */
      return 0;
    }
    if (!r)
      r = take_tag(recording, fif, &tag, err);
    if (r < 0)
      return r;
    if (tag.next == -1)
      break;
    uint64_t following = tag.next > 0 ? (uint64_t)tag.next : tag.data + (uint64_t)tag.size;
    if (following <= at)
      return nx_fail(err, NX_E_FORMAT, "the tag at byte %llu points backwards",
                     (unsigned long long)at);
    at = following;
  }
  return 0;
}

/* "text:text:…" with onsets that count from the start of the measurement. */
static int make_events(struct nx_recording *recording, struct fif *fif, struct nx_error *err) {
  char *rest = fif->texts;
  double start = (double)fif->first_sample / fif->rate_hz;
  for (size_t i = 0; i < fif->n_onsets && i < fif->n_ends && rest; i++) {
    const char *text = strsep(&rest, ":");
    double onset = fif->onsets[i] - start, duration = fif->ends[i] - fif->onsets[i];
    if (!isfinite(onset) || !isfinite(duration))
      continue;
    int r = nx_recording_add_event(recording, onset, fmax(0, duration), text, strlen(text), err);
    if (r < 0)
      return r;
  }
  nx_recording_sort_events(recording);
  return 0;
}

static int open_fif(struct nx_recording *recording, struct nx_error *err) {
  struct fif *fif = calloc(1, sizeof *fif);
  if (!fif)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->state = fif;
  int r = scan(recording, fif, err);
  if (r < 0)
    return r;
  if (!fif->n_infos || fif->n_infos != recording->info.n_channels || !fif->n_buffers ||
      !(fif->rate_hz > 0))
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "holds no continuous recording (averages, epochs or a head model?)");
  recording->info.duration_s = (double)fif->n_samples / fif->rate_hz;
  for (size_t i = 0; i < recording->info.n_channels; i++) {
    recording->channels[i].rate_hz = fif->rate_hz;
    recording->channels[i].n_samples = fif->n_samples;
  }
  r = nx_recording_unique_names(recording, err);
  return r < 0 ? r : make_events(recording, fif, err);
}

static double number_at(uint32_t type, const uint8_t *p) {
  switch (type) {
  case TYPE_SHORT:
  case TYPE_PACK16:
    return (int16_t)((unsigned)p[0] << 8 | p[1]);
  case TYPE_INT:
    return (int32_t)be32(p);
  case TYPE_FLOAT:
    return (double)be_float(p);
  default:
    return be_double(p);
  }
}

static void decode(uint32_t type, const uint8_t *bytes, size_t stride, size_t n, double gain,
                   float *out) {
  if (type == TYPE_FLOAT && gain == 1) /* what MNE writes */
    for (size_t i = 0; i < n; i++)
      out[i] = be_float(bytes + i * stride);
  else if (type == TYPE_FLOAT) /* nearly always */
    for (size_t i = 0; i < n; i++)
      out[i] = (float)(gain * (double)be_float(bytes + i * stride));
  else
    for (size_t i = 0; i < n; i++)
      out[i] = (float)(gain * number_at(type, bytes + i * stride));
}

/* Samples from .. from + n - 1 of one buffer into out[c][at ..] of rows of `row` samples. */
static int read_part(struct nx_recording *recording, const struct data_buffer *buffer,
                     const uint32_t *channels, size_t n_channels, uint64_t from, size_t n,
                     size_t row, float *out, struct nx_error *err) {
  struct fif *fif = recording->state;
  size_t width = width_of(buffer->type), frame = width * recording->info.n_channels;
  size_t most = NX_MAX(CHUNK / frame, (size_t)1);
  for (size_t done = 0, now; done < n; done += now) {
    now = NX_MIN(most, n - done);
    if (now * frame > fif->bytes_size) {
      uint8_t *grown = realloc(fif->bytes, now * frame);
      if (!grown)
        return nx_fail(err, NX_E_NOMEM, "out of memory");
      fif->bytes = grown;
      fif->bytes_size = now * frame;
    }
    int r = nx_recording_pread(recording, buffer->offset + (from + done) * frame, fif->bytes,
                               now * frame, err);
    if (r < 0)
      return r;
    size_t tile = NX_MAX(TILE / frame, (size_t)16);
    for (size_t i = 0; i < now; i += tile)
      for (size_t c = 0; c < n_channels; c++)
        decode(buffer->type, fif->bytes + i * frame + channels[c] * width, frame,
               NX_MIN(tile, now - i), fif->gains[channels[c]], out + c * row + done + i);
  }
  return 0;
}

static int read_fif(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                    uint64_t first, size_t n, float *out, struct nx_error *err) {
  const struct fif *fif = recording->state;
  size_t low = 0, high = fif->n_buffers;
  while (high - low > 1) { /* the last buffer that starts at or before first */
    size_t middle = (low + high) / 2;
    if (fif->buffers[middle].first <= first)
      low = middle;
    else
      high = middle;
  }
  for (size_t done = 0; done < n; low++) {
    const struct data_buffer *buffer = &fif->buffers[low];
    uint64_t from = first + done - buffer->first;
    size_t now = (size_t)NX_MIN(buffer->n - from, (uint64_t)(n - done));
    int r = read_part(recording, buffer, channels, n_channels, from, now, n, out + done, err);
    if (r < 0)
      return r;
    done += now;
  }
  return 0;
}

static void close_fif(struct nx_recording *recording) {
  struct fif *fif = recording->state;
  if (!fif)
    return;
  free(fif->gains);
  free(fif->buffers);
  free(fif->bytes);
  free(fif->onsets);
  free(fif->ends);
  free(fif->texts);
  free(fif);
}

const struct nx_format nx_format_fif = {
    .name = "FIF",
    .probe = probe_fif,
    .open = open_fif,
    .read = read_fif,
    .close = close_fif,
    .identify = nx_identify_fif,
};
