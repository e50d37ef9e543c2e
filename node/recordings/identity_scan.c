/* Which fields of which format may say who somebody is. Called after a file opened, in the same
 * sandbox as its reader; what cannot be read is passed over, the reader has judged it already. */
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/gzip_file.h"
#include "node/recordings/identity.h"

#define TEXT_CAP ((size_t)1 << 20)

void nx_identify_edf(struct nx_recording *recording) {
  char main[256];
  if (nx_recording_pread(recording, 0, main, sizeof main, NULL) == 0)
    nx_identity_edf(recording, main + 8, main + 88);
}

static void look_at_lines(struct nx_recording *recording, const char *text, size_t size) {
  for (const char *end = text + size; text < end;) {
    const char *stop = memchr(text, '\n', (size_t)(end - text));
    size_t n = (size_t)((stop ? stop : end) - text);
    nx_identity_line(recording, text, n);
    text += n + 1;
  }
}

/* Comments and user infos of the header. */
void nx_identify_brainvision(struct nx_recording *recording) {
  size_t size = (size_t)NX_MIN(recording->file_size, (uint64_t)TEXT_CAP);
  _cleanup_free_ char *text = malloc(size + 1);
  if (text && nx_recording_pread(recording, 0, text, size, NULL) == 0)
    look_at_lines(recording, text, size);
}

/* The 116 bytes of text that begin a MAT file. */
void nx_identify_matlab(struct nx_recording *recording) {
  char text[116];
  if (nx_recording_pread(recording, 0, text, sizeof text, NULL) < 0)
    return;
  for (size_t from = 0; from < sizeof text;) {
    const char *comma = memchr(text + from, ',', sizeof text - from);
    size_t n = comma ? (size_t)(comma - text) - from : sizeof text - from;
    nx_identity_line(recording, text + from, n);
    from += n + 1;
  }
}

/* ---- NIfTI: descrip, aux_file, db_name ------------------------------------------------------- */

static void look_at_description(struct nx_recording *recording, const char *text, size_t size) {
  size = strnlen(text, size);
  if (memchr(text, '^', size)) /* DICOM writes LAST^FIRST */
    nx_identity_note(recording, "patient name");
  for (size_t from = 0; from < size;) {
    const char *stop = memchr(text + from, ';', size - from);
    size_t n = stop ? (size_t)(stop - text) - from : size - from;
    nx_identity_line(recording, text + from, n);
    from += n + 1;
  }
}

void nx_identify_nifti(struct nx_recording *recording) {
  char header[540] = {0};
  struct nx_gzip_file file;
  bool good = nx_gzip_open(recording->fd, &file, NULL) == 0 &&
              nx_gzip_read(&file, 0, header, 348, NULL) == 0;
  bool second = header[4] == 'n' && header[5] == '+';
  if (good && second)
    good = nx_gzip_read(&file, 348, header + 348, sizeof header - 348, NULL) == 0;
  nx_gzip_finish(&file);
  if (!good)
    return;
  look_at_description(recording, header + (second ? 240 : 148), 80);
  look_at_description(recording, header + (second ? 320 : 228), 24);
  if (!second)
    look_at_description(recording, header + 14, 18);
}

/* ---- FIF: the subject block's tags ----------------------------------------------------------- */

#define TAGS 20000

enum {
  SUBJECT_FIRST_NAME = 401,
  SUBJECT_MIDDLE_NAME = 402,
  SUBJECT_LAST_NAME = 403,
  SUBJECT_BIRTH_DAY = 404,
  SUBJECT_HIS_ID = 410
};

static uint32_t be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void look_at_tag(struct nx_recording *recording, uint32_t kind, uint64_t at, uint32_t size) {
  char text[128];
  size = NX_MIN(size, (uint32_t)sizeof text);
  if (nx_recording_pread(recording, at, text, size, NULL) < 0)
    return;
  if (kind == SUBJECT_BIRTH_DAY) {
    if (size >= 4 && be32((const uint8_t *)text))
      nx_identity_note(recording, "birth date");
  } else if (kind == SUBJECT_HIS_ID) {
    if (nx_looks_like_number(text, size))
      nx_identity_note(recording, "hospital number");
  } else if (nx_looks_like_name(text, size)) {
    nx_identity_note(recording, "patient name");
  }
}

void nx_identify_fif(struct nx_recording *recording) {
  uint64_t at = 0;
  for (int i = 0; i < TAGS; i++) {
    uint8_t tag[16];
    if (at + sizeof tag > recording->file_size ||
        nx_recording_pread(recording, at, tag, sizeof tag, NULL) < 0)
      return;
    uint32_t kind = be32(tag), size = be32(tag + 8), next = be32(tag + 12);
    if ((kind >= SUBJECT_FIRST_NAME && kind <= SUBJECT_BIRTH_DAY) || kind == SUBJECT_HIS_ID)
      look_at_tag(recording, kind, at + sizeof tag, size);
    if (next == UINT32_MAX || (next && next <= at))
      return;
    at = next ? next : at + sizeof tag + size;
  }
}
