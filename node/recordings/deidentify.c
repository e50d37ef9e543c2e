#include "node/recordings/deidentify.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/recordings/deidentify_parts.h"
#include "node/recordings/recording.h"

/* ---- texts --------------------------------------------------------------------------------- */

/* Words of tasks and of recorders that tell of nobody; a text stays when all its words do, or are
 * codes of at most four characters with a digit ("T1", "S  5"). */
static const char known[] =
    " eyes open closed eo ec rest resting baseline task start end stop begin onset offset stimulus "
    "response new segment comment sync trigger event trial block run pause break left right hand "
    "foot tongue both fist fists target standard deviant go nogo correct incorrect false button "
    "press arithmetic count counting sleep stage wake movement time lights on off artifact "
    "artefact "
    "bad epoch seizure sz spike boundary calibration impedance recording data hyperventilation "
    "photic stimulation blink r s n w rem ";

static bool is_known(const char *word, size_t n) {
  char needle[48];
  bool digit = false;
  for (size_t i = 0; i < n; i++)
    digit |= isdigit((unsigned char)word[i]) != 0;
  if (digit)
    return n <= 4;
  if (n >= sizeof needle - 2)
    return false;
  needle[0] = ' ';
  for (size_t i = 0; i < n; i++)
    needle[i + 1] = (char)tolower((unsigned char)word[i]);
  needle[n + 1] = ' ';
  needle[n + 2] = 0;
  return strstr(known, needle) != NULL;
}

static bool may_stay(const struct nx_deidentify_options *options, const char *text, size_t size) {
  for (size_t i = 0; i < options->n_keep; i++)
    if (strlen(options->keep[i]) == size && !memcmp(options->keep[i], text, size))
      return true;
  for (size_t at = 0; at < size;) {
    size_t n = 0;
    while (at + n < size &&
           (isalnum((unsigned char)text[at + n]) || (unsigned char)text[at + n] >= 0x80))
      n++;
    if (n && !is_known(text + at, n))
      return false;
    at += n + 1;
  }
  return true;
}

const char *nx_deidentify_text(const struct nx_deidentify_options *options, const char *text,
                               size_t size, struct nx_deidentify_counts *counts) {
  static const char event[] = "event";
  if (options->annotations == NX_ANNOTATIONS_DROP) {
    counts->annotations_changed++;
    return NULL;
  }
  if (options->annotations == NX_ANNOTATIONS_KEEP || may_stay(options, text, size)) {
    counts->annotations_kept++;
    return text;
  }
  counts->annotations_changed++;
  return event;
}

/* ---- files --------------------------------------------------------------------------------- */

int nx_copy_begin(struct nx_copy *copy, const char *path, struct nx_error *err) {
  if (nx_path_exists(path))
    return nx_fail(err, NX_E_EXISTS, "%s is there already: it is not written over", path);
  if (snprintf(copy->path, sizeof copy->path, "%s", path) >= (int)sizeof copy->path ||
      snprintf(copy->temporary, sizeof copy->temporary, "%s.tmp-%ld", path, (long)getpid()) >=
          (int)sizeof copy->temporary)
    return nx_fail(err, NX_E_LIMIT, "too long a path: %.64s…", path);
  copy->fd = open(copy->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (copy->fd < 0) {
    copy->temporary[0] = 0;
    return nx_fail_errno(err, errno, "write %s", path);
  }
  return 0;
}

int nx_copy_write(struct nx_copy *copy, const void *data, size_t size, struct nx_error *err) {
  for (const char *at = data; size;) {
    ssize_t n = write(copy->fd, at, size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "write %s", copy->path);
    at += n;
    size -= (size_t)n;
  }
  return 0;
}

int nx_copy_commit(struct nx_copy *copy, struct nx_error *err) {
  if (fsync(copy->fd))
    return nx_fail_errno(err, errno, "write %s", copy->path);
  if (link(copy->temporary, copy->path)) /* fails where rename() would write over */
    return nx_fail_errno(err, errno, "write %s", copy->path);
  return nx_file_sync_folder_of(copy->path, err);
}

void nx_copy_finish(struct nx_copy *copy) {
  if (copy->temporary[0])
    unlink(copy->temporary);
  if (copy->fd >= 0 && copy->temporary[0])
    close(copy->fd);
  copy->temporary[0] = 0;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static bool ends_in(const char *path, const char *extension) {
  size_t n = strlen(path), k = strlen(extension);
  return n > k && !strcasecmp(path + n - k, extension);
}

static int check_code(const char *code, struct nx_error *err) {
  size_t n = code ? strlen(code) : 1;
  for (size_t i = 0; code && i < n; i++)
    if (!isalnum((unsigned char)code[i]) && !strchr("-_", code[i]))
      n = 0;
  return n && n <= 24 ? 0
                      : nx_fail(err, NX_E_INVALID,
                                "the code is 1 to 24 letters, digits, - and _: not a name");
}

int nx_deidentify(const char *in, const char *out, const struct nx_deidentify_options *options,
                  struct nx_deidentify_counts *counts_out, struct nx_error *err) {
  struct nx_deidentify_counts counts = {0};
  const char *format = nx_recording_probe(in, err);
  if (!format)
    return err ? err->code : NX_E_UNSUPPORTED;
  int r = check_code(options->code, err);
  if (r < 0)
    return r;
  bool brainvision = !strcmp(format, "BrainVision");
  bool edf = !strcmp(format, "EDF") && (ends_in(in, ".edf") || ends_in(in, ".bdf"));
  const char *extension = brainvision ? ".vhdr" : in + strlen(in) - 4;
  if (!brainvision && !edf)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "%s: clean copies are written of EDF, BDF and BrainVision: convert it first",
                   in);
  if (!ends_in(out, extension))
    return nx_fail(err, NX_E_INVALID, "%s: the copy's name must end in %s", out, extension);
  r = brainvision ? nx_deidentify_brainvision(in, out, options, &counts, err)
                  : nx_deidentify_edf(in, out, options, &counts, err);
  if (!r)
    *counts_out = counts;
  return r;
}
