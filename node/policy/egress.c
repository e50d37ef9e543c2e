#include "node/policy/egress.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size.h"
#include "node/policy/egress_receipt.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_session.h"

#define HOUR (3600 * NX_SECOND)
#define HOURS_KEPT 25
#define ROWS_MOST 4096u
#define HOUR_KIND "(hour)" /* bytes of one hour, for the cap of a day; in no receipt */

struct nx_egress {
  pthread_mutex_t lock;
  char folder[NX_PATH_SIZE], site[65];
  int fd;
  struct nx_egress_row *rows;
  size_t n;
  uint64_t next_receipt, round_cap, day_cap;
  struct nx_hash destination;
  struct nx_arena *arena;
  bool stopped;
  char stopped_words[NX_ERROR_TEXT_SIZE];
};

static _Thread_local struct {
  uint64_t round;
  uint32_t attempt;
} about;

void nx_egress_about(uint64_t round, uint32_t attempt) {
  about.round = round;
  about.attempt = attempt;
}

/* ---- which message is it ------------------------------------------------------------------ */

static const char *kind_of_session(struct nx_egress *egress, struct nx_bytes bytes) {
  struct nx_session_message message;
  struct nx_signed_message inner;
  nx_arena_reset(egress->arena);
  if (nx_session_up_decode(bytes, egress->arena, &message, NULL) < 0)
    return "other";
  if (message.kind == NX_SESSION_KIND_HELLO)
    return "hello";
  if (message.kind == NX_SESSION_KIND_HEARTBEAT)
    return "heartbeat";
  if (message.kind == NX_SESSION_KIND_SIGNED &&
      nx_signed_message_decode(message.signed_message, egress->arena, &inner, NULL) == 0)
    return nx_message_name(inner.type);
  return "other";
}

static const char *kind_of(struct nx_egress *egress, const char *path, struct nx_bytes message) {
  if (!strcmp(path, NX_METHOD_SESSION_OPEN))
    return kind_of_session(egress, message);
  if (!strcmp(path, NX_METHOD_ROUND_UPLOAD))
    return "upload";
  if (!strcmp(path, NX_METHOD_BLOB_FETCH))
    return "fetch";
  if (!strcmp(path, NX_METHOD_ROUND_FETCH_TILES))
    return "fetch-tiles";
  if (!strcmp(path, NX_METHOD_IDENTITY_RENEW))
    return "renew";
  return "other";
}

const char *nx_egress_purpose(const char *kind) {
  static const struct {
    const char *kind, *purpose;
  } table[] = {{"hello", "who this node is and which model it holds"},
               {"heartbeat", "that this node is alive, and how far its work is"},
               {"M1", "takes part: one-time keys of the round"},
               {"M3", "shares of those keys, sealed for each other member"},
               {"upload", "the masked update: of use only in the sum over the cohort"},
               {"M7", "vote to open or to abort the sum"},
               {"M9", "shares that take masks off the sum, after enough members voted"},
               {"M11", "signature on the next model, or that the sum is false"},
               {"abort", "asks for an abort"},
               {"complaint", "a share that another member dealt is bad"},
               {"refusal", "which rule or trouble keeps this node out"},
               {"fit", "whether this site's data fit a plan: yes or no to each requirement"},
               {"withdrawn", "model versions that stand on somebody who withdrew, as the steward said"},
               {"fetch", "asks for a model, a sum or a plan by its hash"},
               {"fetch-tiles", "asks for pieces of uploads, to check the sum"},
               {"renew", "asks for the next certificate"}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(table); i++)
    if (!strcmp(table[i].kind, kind))
      return table[i].purpose;
  return "a message that this version does not name";
}

/* ---- rows ----------------------------------------------------------------------------------- */

static int write_row(struct nx_egress *egress, size_t i, struct nx_error *err) {
  uint8_t bytes[NX_EGRESS_ROW_SIZE];
  nx_egress_row_pack(&egress->rows[i], bytes);
  ssize_t n = pwrite(egress->fd, bytes, sizeof bytes, (off_t)(i * sizeof bytes));
  if (n != (ssize_t)sizeof bytes)
    return nx_fail_errno(err, n < 0 ? errno : ENOSPC, "egress: count what leaves");
  return 0;
}

static struct nx_egress_row *row_of(struct nx_egress *egress, uint64_t round, uint32_t attempt,
                                    const char *kind, struct nx_error *err) {
  for (size_t i = 0; i < egress->n; i++) {
    struct nx_egress_row *row = &egress->rows[i];
    if (row->round == round && row->attempt == attempt && !strcmp(row->kind, kind))
      return row;
  }
  if (egress->n >= ROWS_MOST) {
    nx_fail(err, NX_E_LIMIT, "egress: more than %u kinds of messages without a receipt", ROWS_MOST);
    return NULL;
  }
  struct nx_egress_row *rows = realloc(egress->rows, (egress->n + 1) * sizeof *rows);
  if (!rows) {
    nx_fail(err, NX_E_NOMEM, "egress: out of memory");
    return NULL;
  }
  egress->rows = rows;
  rows[egress->n] = (struct nx_egress_row){.round = round, .attempt = attempt};
  snprintf(rows[egress->n].kind, sizeof rows->kind, "%s", kind);
  return &rows[egress->n++];
}

static bool is_hour(const struct nx_egress_row *row) {
  return !strcmp(row->kind, HOUR_KIND);
}

static uint64_t day_bytes(const struct nx_egress *egress, int64_t now) {
  uint64_t sum = 0;
  for (size_t i = 0; i < egress->n; i++) /* hours that lie ahead count: the clock went back */
    if (is_hour(&egress->rows[i]) && (int64_t)egress->rows[i].round > now / HOUR - HOURS_KEPT)
      sum += egress->rows[i].bytes;
  return sum;
}

static uint64_t round_bytes(const struct nx_egress *egress, uint64_t round) {
  uint64_t sum = 0;
  for (size_t i = 0; i < egress->n; i++)
    if (!is_hour(&egress->rows[i]) && egress->rows[i].round == round)
      sum += egress->rows[i].bytes;
  return sum;
}

static int check_caps(struct nx_egress *egress, uint64_t size, int64_t now, struct nx_error *err) {
  const char *rule = NULL;
  if (about.round && egress->round_cap &&
      round_bytes(egress, about.round) + size > egress->round_cap)
    rule = "limits.round_mb: as much as this site allows has left in this round";
  else if (egress->day_cap && day_bytes(egress, now) + size > egress->day_cap)
    rule = "limits.day_mb: as much as this site allows has left within 24 hours";
  if (!rule)
    return 0;
  if (strcmp(egress->stopped_words, rule)) {
    snprintf(egress->stopped_words, sizeof egress->stopped_words, "%s", rule);
    egress->stopped = true;
  }
  return nx_fail(err, NX_E_DENIED, "%s", rule);
}

static int add(struct nx_egress *egress, uint64_t round, uint32_t attempt, const char *kind,
               struct nx_bytes message, int64_t now, struct nx_error *err) {
  struct nx_egress_row *row = row_of(egress, round, attempt, kind, err);
  if (!row)
    return err ? err->code : NX_E_LIMIT;
  nx_egress_row_add(row, message, now);
  return write_row(egress, (size_t)(row - egress->rows), err);
}

static int leaving(void *context, const char *path, struct nx_bytes message, struct nx_error *err) {
  struct nx_egress *egress = context;
  struct nx_error why = {0};
  int64_t now = nx_clock_unix();
  pthread_mutex_lock(&egress->lock);
  const char *kind = kind_of(egress, path, message);
  int r = check_caps(egress, message.size, now, &why);
  if (r == 0)
    r = add(egress, about.round, about.attempt, kind, message, now, &why);
  if (r == 0)
    r = add(egress, (uint64_t)(now / HOUR), 0, HOUR_KIND, message, now, &why);
  pthread_mutex_unlock(&egress->lock);
  if (r < 0 && err)
    *err = why;
  return r;
}

struct nx_rpc_meter nx_egress_meter(struct nx_egress *egress) {
  return (struct nx_rpc_meter){leaving, egress};
}

/* ---- receipts ---------------------------------------------------------------------------------
 */

/* Puts the rows that are left in the place of all, at once. */
static int cut_file(struct nx_egress *egress, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, egress->folder, "open", err);
  for (size_t i = 0; r == 0 && i < egress->n; i++) {
    uint8_t row[NX_EGRESS_ROW_SIZE];
    nx_egress_row_pack(&egress->rows[i], row);
    r = nx_buffer_append(&bytes, row, sizeof row, err);
  }
  if (r == 0)
    r = nx_file_replace(path, nx_buffer_view(&bytes), 0600, err);
  if (r < 0)
    return r;
  if (egress->fd >= 0)
    close(egress->fd);
  egress->fd = open(path, O_WRONLY | O_CLOEXEC);
  return egress->fd < 0 ? nx_fail_errno(err, errno, "open %s", path) : 0;
}

static void forget(struct nx_egress *egress, uint64_t round, int64_t now) {
  size_t kept = 0;
  for (size_t i = 0; i < egress->n; i++) {
    const struct nx_egress_row *row = &egress->rows[i];
    bool old = is_hour(row) ? (int64_t)row->round <= now / HOUR - HOURS_KEPT : row->round == round;
    if (!old)
      egress->rows[kept++] = *row;
  }
  egress->n = kept;
}

/* A draft of the receipt, then the log, then the rows go, then the draft gets its name. What a
 * crash leaves between any two of these nx_egress_open() brings to its end, or takes back. */
static int close_round(struct nx_egress *egress, uint64_t round, struct nx_audit_log *log,
                       struct nx_error *err) {
  struct nx_egress_row *rows = calloc(egress->n + 1, sizeof *rows);
  if (!rows)
    return nx_fail(err, NX_E_NOMEM, "egress: out of memory");
  struct nx_egress_receipt receipt = {.number = egress->next_receipt,
                                      .site = egress->site,
                                      .destination = egress->destination,
                                      .round = round,
                                      .rows = rows};
  for (size_t i = 0; i < egress->n; i++)
    if (!is_hour(&egress->rows[i]) && egress->rows[i].round == round)
      rows[receipt.n++] = egress->rows[i];
  int r = nx_egress_receipt_draft(egress->folder, &receipt, log, err);
  free(rows);
  if (r < 0)
    return r;
  forget(egress, round, nx_clock_unix());
  r = cut_file(egress, err);
  return r < 0 ? r : nx_egress_receipt_name(egress->folder, egress->next_receipt++, err);
}

/* The lowest round that has rows and may be closed; false: none. */
static bool next_round(const struct nx_egress *egress, uint64_t up_to, bool outside,
                       uint64_t *round_out) {
  bool found = false;
  for (size_t i = 0; i < egress->n; i++) {
    const struct nx_egress_row *row = &egress->rows[i];
    if (is_hour(row) || row->round > up_to || (!row->round && !outside) ||
        (found && row->round >= *round_out))
      continue;
    *round_out = row->round;
    found = true;
  }
  return found;
}

int nx_egress_close(struct nx_egress *egress, uint64_t up_to_round, bool outside,
                    struct nx_audit_log *log, struct nx_error *err) {
  uint64_t round = 0;
  int r = 0;
  pthread_mutex_lock(&egress->lock);
  while (r == 0 && next_round(egress, up_to_round, outside, &round))
    r = close_round(egress, round, log, err);
  pthread_mutex_unlock(&egress->lock);
  return r;
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

void nx_egress_caps(struct nx_egress *egress, uint64_t round_cap, uint64_t day_cap) {
  pthread_mutex_lock(&egress->lock);
  if (egress->round_cap != round_cap || egress->day_cap != day_cap)
    egress->stopped_words[0] = 0;
  egress->round_cap = round_cap;
  egress->day_cap = day_cap;
  pthread_mutex_unlock(&egress->lock);
}

void nx_egress_destination(struct nx_egress *egress, const struct nx_hash *spki) {
  pthread_mutex_lock(&egress->lock);
  egress->destination = *spki;
  pthread_mutex_unlock(&egress->lock);
}

uint64_t nx_egress_day_bytes(struct nx_egress *egress) {
  pthread_mutex_lock(&egress->lock);
  uint64_t bytes = day_bytes(egress, nx_clock_unix());
  pthread_mutex_unlock(&egress->lock);
  return bytes;
}

bool nx_egress_was_stopped(struct nx_egress *egress, char words[NX_ERROR_TEXT_SIZE]) {
  pthread_mutex_lock(&egress->lock);
  bool stopped = egress->stopped;
  egress->stopped = false;
  memcpy(words, egress->stopped_words, NX_ERROR_TEXT_SIZE);
  pthread_mutex_unlock(&egress->lock);
  return stopped;
}

/* A torn row can only be the last one that a power cut took: it is left out, and told. */
static int take_up(struct nx_egress *egress, const char *path, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  int r = nx_path_exists(path)
              ? nx_file_read(path, (size_t)ROWS_MOST * NX_EGRESS_ROW_SIZE, &bytes, err)
              : 0;
  if (r < 0)
    return r;
  egress->rows = calloc(bytes.size / NX_EGRESS_ROW_SIZE + 1, sizeof *egress->rows);
  if (!egress->rows)
    return nx_fail(err, NX_E_NOMEM, "egress: out of memory");
  for (size_t at = 0; at + NX_EGRESS_ROW_SIZE <= bytes.size; at += NX_EGRESS_ROW_SIZE) {
    if (nx_egress_row_unpack(bytes.data + at, &egress->rows[egress->n]))
      egress->n++;
    else
      NX_LOG(NX_LOG_WARNING, "egress.row_lost", NX_STR("why", "it was torn by a power cut"));
  }
  return 0;
}

/* The receipt that a killed process was writing. */
static int settle(struct nx_egress *egress, const char *audit_folder, struct nx_error *err) {
  uint64_t round;
  int r = nx_egress_receipt_find(egress->folder, egress->next_receipt, audit_folder, &round, err);
  if (r == NX_EGRESS_LOGGED)
    forget(egress, round, nx_clock_unix());
  if (r >= 0) {
    int cut = cut_file(egress, err);
    if (cut < 0)
      return cut;
  }
  return r == NX_EGRESS_LOGGED ? nx_egress_receipt_name(egress->folder, egress->next_receipt++, err)
                               : r;
}

int nx_egress_open(const char *folder, const char *audit_folder, const char *site,
                   struct nx_egress **egress_out, struct nx_error *err) {
  _cleanup_(nx_egress_destroyp) struct nx_egress *egress = calloc(1, sizeof *egress);
  char path[NX_PATH_SIZE];
  if (!egress)
    return nx_fail(err, NX_E_NOMEM, "egress: out of memory");
  egress->fd = -1;
  pthread_mutex_init(&egress->lock, NULL);
  snprintf(egress->folder, sizeof egress->folder, "%s", folder);
  snprintf(egress->site, sizeof egress->site, "%s", site);
  int r = nx_folder_create(folder, 0700, err);
  if (r == 0)
    r = nx_arena_create(NX_SESSION_ARENA, &egress->arena, err);
  if (r == 0)
    r = nx_egress_receipt_next(folder, &egress->next_receipt, err);
  if (r == 0)
    r = nx_path_join(path, folder, "open", err);
  if (r == 0)
    r = take_up(egress, path, err);
  if (r == 0)
    r = settle(egress, audit_folder, err);
  if (r == 0)
    *egress_out = nx_steal(&egress);
  return r;
}

void nx_egress_destroy(struct nx_egress *egress) {
  if (!egress)
    return;
  if (egress->fd >= 0)
    close(egress->fd);
  nx_arena_destroy(egress->arena);
  pthread_mutex_destroy(&egress->lock);
  free(egress->rows);
  free(egress);
}
