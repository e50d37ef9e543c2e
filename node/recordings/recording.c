#include "node/recordings/recording.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/recordings/format.h"
#include "node/recordings/unread.h"

#define FORMATS 32

static const struct nx_format *formats[FORMATS] = {
    &nx_format_edf,    &nx_format_brainvision, &nx_format_npy,    &nx_format_nifti,
    &nx_format_matlab, &nx_format_fif,         &nx_format_trodes,
};

void nx_recording_add_format(const struct nx_format *format) {
  size_t i = 0;
  while (i < FORMATS && formats[i])
    i++;
  assert(i < FORMATS);
  formats[i] = format;
}

int nx_recording_allowed(const char *path, struct nx_error *err) {
  static const char *const folders[] = {"/anat/", "/anatomy/"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(folders); i++)
    if (!strncmp(path, folders[i] + 1, strlen(folders[i]) - 1) || strstr(path, folders[i]))
      return nx_fail(err, NX_E_DENIED, "%s is anatomical: such images are never opened", path);
  return 0;
}

static int open_file(const char *path, int *fd_out, uint64_t *size_out, struct nx_error *err) {
  struct stat status;
  int r = nx_recording_allowed(path, err);
  if (r < 0)
    return r;
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &status))
    return nx_fail_errno(err, errno, "open %s", path);
  if (!S_ISREG(status.st_mode))
    return nx_fail(err, NX_E_INVALID, "%s is not a regular file: name a recording", path);
  *size_out = (uint64_t)status.st_size;
  *fd_out = fd;
  fd = -1;
  return 0;
}

static int choose(const char *path, int fd, uint64_t file_size, const struct nx_format **out,
                  struct nx_error *err) {
  uint8_t head[NX_PROBE_SIZE] = {0};
  size_t size = (size_t)NX_MIN(file_size, sizeof head);
  if (size == 0)
    return nx_fail(err, NX_E_FORMAT, "%s is empty: copy the file again", path);
  ssize_t n = pread(fd, head, size, 0);
  if (n < 0)
    return nx_fail_errno(err, errno, "read %s", path);
  for (size_t i = 0; i < FORMATS && formats[i]; i++)
    if (formats[i]->probe(path, head, (size_t)n)) {
      *out = formats[i];
      return 0;
    }
  return nx_recording_refuse_unread(path, err);
}

uint32_t nx_recording_split_part(const char *path, char file_out[NX_PATH_SIZE]) {
  const char *hash = strrchr(path, '#');
  size_t digits = hash ? strspn(hash + 1, "0123456789") : 0;
  snprintf(file_out, NX_PATH_SIZE, "%s", path);
  if (!digits || digits > 6 || hash[1 + digits] || access(path, F_OK) == 0)
    return 0;
  file_out[NX_MIN((size_t)(hash - path), (size_t)NX_PATH_SIZE - 1)] = 0;
  return (uint32_t)strtoul(hash + 1, NULL, 10);
}

const char *nx_recording_probe(const char *name, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  _cleanup_fd_ int fd = -1;
  uint64_t size;
  const struct nx_format *format;
  nx_recording_split_part(name, path);
  if (open_file(path, &fd, &size, err) < 0 || choose(path, fd, size, &format, err) < 0)
    return NULL;
  return format->name;
}

int nx_recording_open_fd(const char *path, uint32_t part, int fd,
                         int (*sibling)(void *context, const char *name, int *fd_out,
                                        struct nx_error *err),
                         void *sibling_context, struct nx_recording **recording_out,
                         struct nx_error *err) {
  struct stat status;
  _cleanup_(nx_recording_closep) struct nx_recording *recording = calloc(1, sizeof *recording);
  if (!recording) {
    close(fd);
    return nx_fail(err, NX_E_NOMEM, "open %s: out of memory", path);
  }
  recording->fd = fd;
  recording->part = part;
  recording->info.n_parts = 1;
  recording->sibling = sibling;
  recording->sibling_context = sibling_context;
  recording->path = strdup(path);
  if (!recording->path || fstat(fd, &status))
    return nx_fail(err, NX_E_NOMEM, "open %s: out of memory", path);
  recording->file_size = (uint64_t)status.st_size;
  int r = choose(path, fd, recording->file_size, &recording->format, err);
  if (r < 0)
    return r;
  recording->info.format = recording->format->name;
  posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  r = recording->format->open(recording, err);
  if (!r && part >= recording->info.n_parts)
    r = nx_fail(err, NX_E_NOT_FOUND, "has no part %u: its %u parts count from #0", part,
                recording->info.n_parts);
  if (r < 0)
    return nx_error_prefix(err, r, "%s", path);
  if (recording->format->identify)
    recording->format->identify(recording);
  recording->info.channels = recording->channels;
  recording->info.events = recording->events;
  *recording_out = nx_steal(&recording);
  return 0;
}

int nx_recording_open(const char *name, struct nx_recording **recording_out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int fd = -1;
  uint64_t size;
  uint32_t part = nx_recording_split_part(name, path);
  int r = open_file(path, &fd, &size, err);
  return r < 0 ? r : nx_recording_open_fd(path, part, fd, NULL, NULL, recording_out, err);
}

int nx_recording_open_beside(const char *path, const char *name, int *fd_out,
                             struct nx_error *err) {
  char full[NX_PATH_SIZE];
  const char *slash = strrchr(path, '/');
  if (!*name || strchr(name, '/') || strchr(name, '\\') || !strcmp(name, ".."))
    return nx_fail(err, NX_E_FORMAT,
                   "names \"%.64s\": put a plain file name of the same folder there", name);
  if (snprintf(full, sizeof full, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name) >=
      (int)sizeof full)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s", name);
  struct stat status;
  _cleanup_fd_ int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0 || fstat(fd, &status))
    return nx_fail_errno(err, errno, "open %s", full);
  if (!S_ISREG(status.st_mode))
    return nx_fail(err, NX_E_INVALID, "%s is not a regular file", full);
  *fd_out = fd;
  fd = -1;
  return 0;
}

int nx_recording_note_beside(struct nx_recording *recording, const char *name,
                             struct nx_error *err) {
  for (size_t i = 0; i < recording->n_beside; i++)
    if (!strcmp(recording->beside[i], name))
      return 0;
  if (recording->n_beside == NX_RECORDING_BESIDE)
    return nx_fail(err, NX_E_LIMIT, "belongs to more than %d files", NX_RECORDING_BESIDE);
  recording->beside[recording->n_beside] = strdup(name);
  if (!recording->beside[recording->n_beside])
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->n_beside++;
  return 0;
}

const char *nx_recording_beside(const struct nx_recording *recording, size_t index) {
  return index < recording->n_beside ? recording->beside[index] : NULL;
}

int nx_recording_sibling(struct nx_recording *recording, const char *name, int *fd_out,
                         struct nx_error *err) {
  int r = nx_recording_note_beside(recording, name, err);
  if (r < 0)
    return r;
  return recording->sibling ? recording->sibling(recording->sibling_context, name, fd_out, err)
                            : nx_recording_open_beside(recording->path, name, fd_out, err);
}

int nx_recording_slurp(int fd, size_t cap, struct nx_buffer *out, struct nx_error *err) {
  for (size_t total = 0;;) {
    uint8_t chunk[16384];
    ssize_t n = pread(fd, chunk, sizeof chunk, (off_t)total);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read");
    if (n == 0)
      return 0;
    if ((total += (size_t)n) > cap)
      return nx_fail(err, NX_E_LIMIT, "text of more than %zu bytes", cap);
    int r = nx_buffer_append(out, chunk, (size_t)n, err);
    if (r < 0)
      return r;
  }
}

const struct nx_recording_info *nx_recording_info(const struct nx_recording *recording) {
  return &recording->info;
}

int nx_recording_read(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                      uint64_t first, size_t n, float *out, struct nx_error *err) {
  for (size_t i = 0; i < n_channels; i++) {
    if (channels[i] >= recording->info.n_channels)
      return nx_fail(err, NX_E_INVALID, "%s has no channel %u", recording->path, channels[i]);
    const struct nx_channel *channel = &recording->channels[channels[i]];
    if (channel->rate_hz != recording->channels[channels[0]].rate_hz)
      return nx_fail(err, NX_E_INVALID, "%s: channels %s and %s have different rates",
                     recording->path, recording->channels[channels[0]].name, channel->name);
    if (first > channel->n_samples || n > channel->n_samples - first)
      return nx_fail(err, NX_E_INVALID, "%s: channel %s has %llu samples, %llu are wanted",
                     recording->path, channel->name, (unsigned long long)channel->n_samples,
                     (unsigned long long)(first + n));
  }
  if (n_channels == 0 || n == 0)
    return 0;
  int r = recording->format->read(recording, channels, n_channels, first, n, out, err);
  return r < 0 ? nx_error_prefix(err, r, "%s", recording->path) : 0;
}

void nx_recording_close(struct nx_recording *recording) {
  if (!recording)
    return;
  if (recording->format)
    recording->format->close(recording);
  if (recording->fd >= 0)
    close(recording->fd);
  for (size_t i = 0; i < recording->n_beside; i++)
    free(recording->beside[i]);
  free(recording->channels);
  free(recording->events);
  free(recording->path);
  free(recording);
}

int nx_recording_pread(const struct nx_recording *recording, uint64_t offset, void *out,
                       size_t size, struct nx_error *err) {
  for (uint8_t *p = out; size;) {
    ssize_t n = pread(recording->fd, p, size, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read at byte %llu", (unsigned long long)offset);
    if (n == 0)
      return nx_fail(err, NX_E_FORMAT, "the file ends at byte %llu: copy it again",
                     (unsigned long long)offset);
    p += n;
    offset += (uint64_t)n;
    size -= (size_t)n;
  }
  return 0;
}

int nx_recording_add_event(struct nx_recording *recording, double onset_s, double duration_s,
                           const char *text, size_t text_size, struct nx_error *err) {
  size_t n = recording->info.n_events;
  if (n >= NX_RECORDING_EVENTS) {
    recording->info.events_dropped = true;
    return 0;
  }
  if (n == recording->events_allocated) {
    size_t more = NX_MAX((size_t)64, 2 * n);
    struct nx_event *grown = reallocarray(recording->events, more, sizeof *grown);
    if (!grown)
      return nx_fail(err, NX_E_NOMEM, "events: out of memory");
    recording->events = grown;
    recording->events_allocated = more;
  }
  struct nx_event *event = &recording->events[n];
  memset(event, 0, sizeof *event);
  event->onset_s = onset_s;
  event->duration_s = duration_s;
  nx_text_clean(text, text_size, event->text, sizeof event->text);
  recording->info.n_events++;
  return 0;
}

static int by_onset(const void *a, const void *b) {
  const struct nx_event *x = a, *y = b;
  return (x->onset_s > y->onset_s) - (x->onset_s < y->onset_s);
}

/* glibc's qsort is a merge sort at these sizes, so events of one onset keep their order. */
void nx_recording_sort_events(struct nx_recording *recording) {
  if (recording->info.n_events > 1)
    qsort(recording->events, recording->info.n_events, sizeof *recording->events, by_onset);
}
