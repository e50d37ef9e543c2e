/* What a participant keeps across a crash. A record is u8 version | u8 type | fields,
 * little-endian, as nx_buffers write them; bytes of variable length are u32 size | bytes.
 *
 *   J  joined: summary | T0 | n, ids of U0 | M1        begins the journal anew
 *   U  upload: M5 header                               before the first byte leaves
 *   V  vote:   choice | subject | M7                   before it is sent
 *   R  released                                        before M9 is sent
 *   C  closed: an ABORT certificate was seen
 *   X  unknown: the tail behind the record before was lost. With no joined attempt before it,
 *      the attempt is unknown as well: the first one that is offered is not joined
 *   S  sealed: summary | M11 (empty: caught up)        begins the journal anew
 *
 *   summary = last sealed u64 | model 32 | round u64 | attempt u32 | variant u32 | flags u32
 *   flags: 1 exposed; 2, in S: the attempt under way is as unknown as behind an X */
#include "node/session/participant_internal.h"

#define VERSION 1u
#define FLAG_EXPOSED 1u
#define FLAG_DOUBTFUL 2u

void durable_finish(struct durable *durable) {
  nx_buffer_finish(&durable->advert);
  nx_buffer_finish(&durable->header);
  nx_buffer_finish(&durable->vote);
  nx_buffer_finish(&durable->seal);
}

static int set_bytes(struct nx_buffer *buffer, struct nx_bytes bytes, struct nx_error *err) {
  buffer->size = 0;
  return nx_buffer_append(buffer, bytes.data, bytes.size, err);
}

static void clear_attempt(struct durable *durable) {
  durable->advert.size = durable->header.size = durable->vote.size = 0;
  durable->vote_choice = 0;
  durable->released = durable->exposed = durable->doubtful = false;
  durable->doubted_round = 0;
  memset(durable->u0, 0, sizeof durable->u0);
}

/* --- writing ------------------------------------------------------------------------ */

static void put_bytes(struct nx_buffer *record, struct nx_bytes bytes) {
  nx_buffer_append_u32(record, (uint32_t)bytes.size, NULL);
  nx_buffer_append(record, bytes.data, bytes.size, NULL);
}

static void put_hash(struct nx_buffer *record, const struct nx_hash *hash) {
  nx_buffer_append(record, hash->bytes, sizeof hash->bytes, NULL);
}

/* Room for all that follows, so that the appends need no check. */
static int begin_record(struct nx_buffer *record, char type, size_t room, struct nx_error *err) {
  uint8_t head[2] = {VERSION, (uint8_t)type};
  int r = nx_buffer_reserve(record, sizeof head + room, err);
  return r < 0 ? r : nx_buffer_append(record, head, sizeof head, err);
}

static void put_summary(struct nx_buffer *record, const struct durable *durable) {
  nx_buffer_append_u64(record, durable->last_sealed, NULL);
  put_hash(record, &durable->model);
  nx_buffer_append_u64(record, durable->round, NULL);
  nx_buffer_append_u32(record, durable->attempt, NULL);
  nx_buffer_append_u32(record, durable->variant, NULL);
  nx_buffer_append_u32(record,
                       (durable->exposed ? FLAG_EXPOSED : 0) |
                           (durable->doubtful ? FLAG_DOUBTFUL : 0),
                       NULL);
}
#define SUMMARY_SIZE (8 + 32 + 8 + 4 + 4 + 4)

static int emit(struct turn *t, const struct nx_buffer *record, bool replace) {
  struct nx_bytes copy;
  int r = participant_copy(t, nx_buffer_view(record), &copy);
  struct nx_participant_action *action = r < 0 ? NULL : participant_act(t, NX_PARTICIPANT_PERSIST);
  if (!action)
    return NX_E_NOMEM;
  action->record = copy;
  action->replace = replace;
  return 0;
}

int participant_persist_join(struct turn *t, uint32_t variant, struct nx_bytes advert) {
  struct durable *durable = &t->p->durable;
  const struct attempt *attempt = t->p->attempt;
  _cleanup_(nx_buffer_finish) struct nx_buffer record = {0};
  clear_attempt(durable);
  durable->round = attempt->invite.round;
  durable->attempt = attempt->invite.attempt;
  durable->variant = variant;
  durable->t0 = attempt->t0;
  memcpy(durable->u0, attempt->u0, sizeof durable->u0);
  int r = set_bytes(&durable->advert, advert, t->err);
  if (r < 0 || (r = begin_record(&record, 'J', SUMMARY_SIZE + 2048 + advert.size, t->err)) < 0)
    return r;
  put_summary(&record, durable);
  put_hash(&record, &durable->t0);
  nx_buffer_append_u32(&record, (uint32_t)attempt->invite.n_members, NULL);
  for (size_t i = 0; i < attempt->invite.n_members; i++)
    nx_buffer_append_u32(&record, attempt->invite.members[i], NULL);
  put_bytes(&record, advert);
  return emit(t, &record, true);
}

int participant_persist_upload(struct turn *t, struct nx_bytes header) {
  struct durable *durable = &t->p->durable;
  _cleanup_(nx_buffer_finish) struct nx_buffer record = {0};
  durable->exposed = true;
  int r = set_bytes(&durable->header, header, t->err);
  if (r < 0 || (r = begin_record(&record, 'U', 4 + header.size, t->err)) < 0)
    return r;
  put_bytes(&record, header);
  return emit(t, &record, false);
}

int participant_persist_vote(struct turn *t, uint32_t choice, const struct nx_hash *subject,
                             struct nx_bytes vote) {
  struct durable *durable = &t->p->durable;
  _cleanup_(nx_buffer_finish) struct nx_buffer record = {0};
  durable->vote_choice = choice;
  durable->vote_subject = *subject;
  int r = set_bytes(&durable->vote, vote, t->err);
  if (r < 0 || (r = begin_record(&record, 'V', 64 + vote.size, t->err)) < 0)
    return r;
  nx_buffer_append_u32(&record, choice, NULL);
  put_hash(&record, subject);
  put_bytes(&record, vote);
  return emit(t, &record, false);
}

static int persist_mark(struct turn *t, char type) {
  _cleanup_(nx_buffer_finish) struct nx_buffer record = {0};
  int r = begin_record(&record, type, 0, t->err);
  return r < 0 ? r : emit(t, &record, false);
}

int participant_persist_released(struct turn *t) {
  if (t->p->durable.released)
    return 0;
  t->p->durable.released = true;
  return persist_mark(t, 'R');
}

int participant_persist_closed(struct turn *t) {
  t->p->durable.exposed = false;
  return persist_mark(t, 'C');
}

int participant_persist_sealed(struct turn *t, uint64_t round, const struct nx_hash *model,
                               struct nx_bytes seal) {
  struct durable *durable = &t->p->durable;
  _cleanup_(nx_buffer_finish) struct nx_buffer record = {0};
  /* What was followed to its end is over; what was only told of may be what was joined. */
  bool doubtful = durable->doubtful && !seal.size;
  /* Another plan begins in the same round: what left here for this round may still be opened. */
  bool exposed = durable->exposed && round == durable->last_sealed;
  clear_attempt(durable);
  durable->exposed = exposed;
  durable->doubtful = doubtful; /* in the same record: nothing may come between them */
  durable->last_sealed = round;
  durable->model = *model;
  int r = set_bytes(&durable->seal, seal, t->err);
  if (r < 0 || (r = begin_record(&record, 'S', SUMMARY_SIZE + 4 + seal.size, t->err)) < 0)
    return r;
  put_summary(&record, durable);
  put_bytes(&record, seal);
  return emit(t, &record, true);
}

/* --- reading ------------------------------------------------------------------------ */

static void take(struct nx_reader *reader, void *out, size_t size) {
  struct nx_bytes bytes = nx_reader_take(reader, size);
  if (bytes.data)
    memcpy(out, bytes.data, size);
}

static struct nx_bytes take_bytes(struct nx_reader *reader) {
  return nx_reader_take(reader, nx_reader_u32(reader));
}

static void take_summary(struct nx_reader *reader, struct durable *durable) {
  durable->last_sealed = nx_reader_u64(reader);
  take(reader, &durable->model, sizeof durable->model);
  durable->round = nx_reader_u64(reader);
  durable->attempt = nx_reader_u32(reader);
  durable->variant = nx_reader_u32(reader);
  uint32_t flags = nx_reader_u32(reader);
  durable->exposed = flags & FLAG_EXPOSED;
  durable->doubtful = flags & FLAG_DOUBTFUL;
}

static int read_joined(struct nx_reader *reader, struct durable *durable, struct nx_error *err) {
  clear_attempt(durable);
  take_summary(reader, durable);
  take(reader, &durable->t0, sizeof durable->t0);
  uint32_t n = nx_reader_u32(reader);
  for (uint32_t i = 0; i < n && !reader->failed; i++) {
    uint32_t id = nx_reader_u32(reader);
    if (id < 1 || id > 255)
      return nx_fail(err, NX_E_FORMAT, "journal: member %u of a cohort", id);
    durable->u0[id] = true;
  }
  return set_bytes(&durable->advert, take_bytes(reader), err);
}

/* What was written last is unknown: it may have been a vote, or an upload. */
static void fail_closed(struct durable *durable) {
  durable->exposed = durable->round > durable->last_sealed;
  durable->doubtful = !durable->exposed;
  if (!durable->vote_choice && durable->exposed)
    durable->vote_choice = VOTE_UNKNOWN;
}

static int read_record(struct nx_bytes bytes, struct durable *durable, struct nx_error *err) {
  struct nx_reader reader = nx_reader(bytes);
  struct nx_bytes head = nx_reader_take(&reader, 2);
  if (!head.data || head.data[0] != VERSION)
    return nx_fail(err, NX_E_FORMAT, "journal: a record of another version");
  int r = 0;
  switch (head.data[1]) {
  case 'J':
    r = read_joined(&reader, durable, err);
    break;
  case 'U':
    durable->exposed = true;
    r = set_bytes(&durable->header, take_bytes(&reader), err);
    break;
  case 'V':
    durable->vote_choice = nx_reader_u32(&reader);
    take(&reader, &durable->vote_subject, sizeof durable->vote_subject);
    r = set_bytes(&durable->vote, take_bytes(&reader), err);
    break;
  case 'R':
    durable->released = true;
    break;
  case 'C':
    durable->exposed = false;
    break;
  case 'X':
    fail_closed(durable);
    break;
  case 'S':
    clear_attempt(durable);
    take_summary(&reader, durable);
    r = set_bytes(&durable->seal, take_bytes(&reader), err);
    break;
  default:
    return nx_fail(err, NX_E_FORMAT, "journal: a record of unknown type %d", head.data[1]);
  }
  if (r >= 0 && (reader.failed || reader.rest.size))
    return nx_fail(err, NX_E_FORMAT, "journal: a record of type %c has the wrong length",
                   head.data[1]);
  return r;
}

char nx_participant_record_type(struct nx_bytes record) {
  return record.size > 1 ? (char)record.data[1] : 0;
}

int participant_restore(struct turn *t) {
  for (size_t i = 0; i < t->event->n_records; i++) {
    int r = read_record(t->event->records[i], &t->p->durable, t->err);
    if (r < 0)
      return nx_error_prefix(t->err, r, "record %zu", i);
  }
  if (t->event->torn) {
    fail_closed(&t->p->durable);
    int r = persist_mark(t, 'X'); /* a second restart must know as well */
    if (r < 0)
      return r;
  }
  return t->event->n_records ? participant_note(t, "restored", "the journal was read") : 0;
}
