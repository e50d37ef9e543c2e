#include "node/session/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/hash.h"

#define MAGIC "NXJRNL1\n"
#define MAGIC_SIZE 8
#define JOURNAL_CAP ((size_t)256 << 20)

struct nx_journal {
  char path[NX_PATH_SIZE];
  int fd;
  bool broken, torn; /* torn: and nothing was written since */
  struct nx_hash link;
};

static struct nx_hash next_link(const struct nx_hash *link, struct nx_bytes body) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "SA1/journal");
  nx_sha256_update(&sha, link->bytes, sizeof link->bytes);
  nx_sha256_update(&sha, body.data, body.size);
  return nx_sha256_final(&sha);
}

/* Appends the record's bytes to out and moves *link on. */
static int put_record(struct nx_buffer *out, struct nx_bytes body, struct nx_hash *link,
                      struct nx_error *err) {
  if (body.size > NX_JOURNAL_RECORD_CAP)
    return nx_fail(err, NX_E_LIMIT, "journal: a record of %zu bytes", body.size);
  *link = next_link(link, body);
  int r = nx_buffer_append_u32(out, (uint32_t)body.size, err);
  if (r == 0)
    r = nx_buffer_append(out, body.data, body.size, err);
  if (r == 0)
    r = nx_buffer_append(out, link->bytes, sizeof link->bytes, err);
  return r;
}

/* Visits the whole records of `text`; *whole_out: bytes they take. */
static int visit_records(struct nx_journal *journal, struct nx_bytes text, nx_journal_visit visit,
                         void *context, size_t *whole_out, struct nx_error *err) {
  struct nx_reader reader = nx_reader(text);
  nx_reader_take(&reader, MAGIC_SIZE);
  *whole_out = MAGIC_SIZE;
  while (reader.rest.size) {
    uint32_t size = nx_reader_u32(&reader);
    struct nx_bytes body = nx_reader_take(&reader, size);
    struct nx_bytes link = nx_reader_take(&reader, NX_HASH_SIZE);
    if (reader.failed || size > NX_JOURNAL_RECORD_CAP)
      return 0;
    struct nx_hash expected = next_link(&journal->link, body);
    if (memcmp(expected.bytes, link.data, NX_HASH_SIZE))
      return 0;
    int r = visit(context, body, err);
    if (r < 0)
      return nx_error_prefix(err, r, "journal %s", journal->path);
    journal->link = expected;
    *whole_out = text.size - reader.rest.size;
  }
  return 0;
}

static int path_beside(const struct nx_journal *journal, const char *ending, char out[NX_PATH_SIZE],
                       struct nx_error *err) {
  return snprintf(out, NX_PATH_SIZE, "%s%s", journal->path, ending) < NX_PATH_SIZE
             ? 0
             : nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", journal->path);
}

/* Keeps what is not whole beside the journal. While it is there the journal counts as torn. */
static int set_tail_aside(struct nx_journal *journal, struct nx_bytes tail, size_t whole,
                          struct nx_error *err) {
  char aside[NX_PATH_SIZE];
  int r = path_beside(journal, ".torn", aside, err);
  if (r < 0)
    return r;
  r = nx_file_replace(aside, tail, 0600, err);
  if (r < 0)
    return r;
  if (ftruncate(journal->fd, (off_t)whole) || fsync(journal->fd))
    return nx_fail_errno(err, errno, "cut %s", journal->path);
  return NX_JOURNAL_TORN;
}

/* Torn at an earlier opening, whose caller died before it could write that down. */
static int was_torn(const struct nx_journal *journal, struct nx_error *err) {
  char aside[NX_PATH_SIZE];
  int r = path_beside(journal, ".torn", aside, err);
  return r < 0 ? r : nx_path_exists(aside) ? NX_JOURNAL_TORN : 0;
}

/* Whoever opened it has written down what it makes of that: the tail stays for people to see.
 * When this fails the next opening is told once more, which does no harm. */
static void told(struct nx_journal *journal) {
  char aside[NX_PATH_SIZE], kept[NX_PATH_SIZE];
  if (journal->torn && path_beside(journal, ".torn", aside, NULL) == 0 &&
      path_beside(journal, ".lost", kept, NULL) == 0)
    rename(aside, kept);
  journal->torn = false;
}

/* Zeros, or nothing, where the first bytes were: what a power cut leaves on a disk that said
 * "synced" and had not. */
static bool lost_its_start(struct nx_bytes text) {
  for (size_t i = 0; i < text.size && i < MAGIC_SIZE; i++)
    if (text.data[i] && text.data[i] != (uint8_t)MAGIC[i])
      return false;
  return true;
}

/* Torn before its first record. */
static int begin_torn(struct nx_journal *journal, struct nx_bytes text, struct nx_error *err) {
  int r = set_tail_aside(journal, text, 0, err);
  if (r < 0)
    return r;
  int written = nx_file_write_all(journal->fd, nx_bytes(MAGIC, MAGIC_SIZE), journal->path, err);
  if (written == 0 && fsync(journal->fd))
    written = nx_fail_errno(err, errno, "sync %s", journal->path);
  return written < 0 ? written : r;
}

static int read_existing(struct nx_journal *journal, nx_journal_visit visit, void *context,
                         struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {.cap = JOURNAL_CAP};
  size_t whole = 0;
  int r = nx_file_read(journal->path, JOURNAL_CAP, &text, err);
  if (r < 0)
    return r;
  bool is_journal = text.size >= MAGIC_SIZE && !memcmp(text.data, MAGIC, MAGIC_SIZE);
  if (!is_journal && lost_its_start(nx_buffer_view(&text)))
    return begin_torn(journal, nx_buffer_view(&text), err);
  if (!is_journal)
    return nx_fail(err, NX_E_FORMAT, "journal %s: this is no journal of a node", journal->path);
  /* What a process that was killed wrote may be in memory only; from here on it counts. */
  if (fsync(journal->fd))
    return nx_fail_errno(err, errno, "sync %s", journal->path);
  if ((r = nx_file_sync_folder_of(journal->path, err)) < 0)
    return r;
  r = visit_records(journal, nx_buffer_view(&text), visit, context, &whole, err);
  if (r < 0)
    return r;
  if (whole == text.size)
    return was_torn(journal, err);
  return set_tail_aside(journal, nx_bytes(text.data + whole, text.size - whole), whole, err);
}

static int reopen(struct nx_journal *journal, struct nx_error *err) {
  int fd = open(journal->path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open %s", journal->path);
  if (journal->fd >= 0)
    close(journal->fd);
  journal->fd = fd;
  return 0;
}

int nx_journal_open(const char *path, nx_journal_visit visit, void *context,
                    struct nx_journal **journal_out, struct nx_error *err) {
  _cleanup_(nx_journal_closep) struct nx_journal *journal = calloc(1, sizeof *journal);
  if (!journal)
    return nx_fail(err, NX_E_NOMEM, "journal: out of memory");
  journal->fd = -1;
  if (snprintf(journal->path, sizeof journal->path, "%s", path) >= (int)sizeof journal->path)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", path);
  int r = 0;
  if (!nx_path_exists(path))
    r = nx_file_create(path, nx_bytes(MAGIC, MAGIC_SIZE), 0600, err);
  if (r == 0)
    r = reopen(journal, err);
  if (r == 0)
    r = read_existing(journal, visit, context, err);
  if (r < 0)
    return r;
  journal->torn = r == NX_JOURNAL_TORN;
  *journal_out = nx_steal(&journal);
  return r;
}

int nx_journal_append(struct nx_journal *journal, struct nx_bytes body, struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer record = {0};
  struct nx_hash link = journal->link;
  if (journal->broken)
    return nx_fail(err, NX_E_IO, "journal %s: an earlier write failed; restart the node",
                   journal->path);
  int r = put_record(&record, body, &link, err);
  if (r < 0)
    return r;
  r = nx_file_write_all(journal->fd, nx_buffer_view(&record), journal->path, err);
  if (r == 0 && fdatasync(journal->fd))
    r = nx_fail_errno(err, errno, "sync %s", journal->path);
  if (r < 0) {
    journal->broken = true;
    return r;
  }
  journal->link = link;
  told(journal);
  return 0;
}

int nx_journal_restart(struct nx_journal *journal, struct nx_bytes body, struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  struct nx_hash link = {0};
  int r = nx_buffer_append(&text, MAGIC, MAGIC_SIZE, err);
  if (r == 0)
    r = put_record(&text, body, &link, err);
  if (r == 0)
    r = nx_file_replace(journal->path, nx_buffer_view(&text), 0600, err);
  if (r < 0)
    return r;
  r = reopen(journal, err);
  if (r < 0) {
    journal->broken = true;
    return r;
  }
  journal->link = link;
  told(journal);
  return 0;
}

void nx_journal_close(struct nx_journal *journal) {
  if (!journal)
    return;
  if (journal->fd >= 0)
    close(journal->fd);
  free(journal);
}
