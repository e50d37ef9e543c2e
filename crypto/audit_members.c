#include "crypto/audit_members.h"

#include <stdlib.h>

#include "crypto/member_list.h"
#include "crypto/threshold.h"

struct approval {
  uint32_t member;
  struct nx_signature signature;
};

struct follow {
  struct nx_audit_members *now;
  struct nx_audit_members next; /* what is being told */
  struct approval approvals[NX_AUDIT_MEMBERS_MAX];
  size_t n_approvals;
  struct nx_hash *history; /* of revisions first.., for what is told twice (after a crash) */
  size_t n_history;
  nx_audit_members_seen seen;
  void *context;
};

static bool is_text(struct nx_bytes bytes, const char *text) {
  return bytes.size == strlen(text) && !memcmp(bytes.data, text, bytes.size);
}

static const struct nx_audit_value *find(const struct nx_audit_entry *entry, const char *name,
                                         enum nx_audit_type type) {
  for (size_t i = 0; i < entry->n_fields; i++)
    if (is_text(entry->fields[i].name, name) && entry->fields[i].type == type)
      return &entry->fields[i];
  return NULL;
}

static bool take_number(const struct nx_audit_entry *entry, const char *name, uint64_t *out) {
  const struct nx_audit_value *value = find(entry, name, NX_AUDIT_U64);
  if (value)
    *out = value->number;
  return value != NULL;
}

static bool take_bytes(const struct nx_audit_entry *entry, const char *name, void *out,
                       size_t size) {
  const struct nx_audit_value *value = find(entry, name, NX_AUDIT_BYTES);
  if (!value || value->bytes.size != size)
    return false;
  memcpy(out, value->bytes.data, size);
  return true;
}

static int badly_told(const struct nx_audit_entry *entry, struct nx_error *err) {
  return nx_fail(err, NX_E_FORMAT, "entry %llu tells badly of the members",
                 (unsigned long long)entry->sequence);
}

/* Entries of one revision come together; another number begins anew. */
static bool begin(struct follow *f, const struct nx_audit_entry *entry) {
  uint64_t revision;
  if (!take_number(entry, "revision", &revision))
    return false;
  if (f->next.known && f->next.revision == revision)
    return true;
  f->next = (struct nx_audit_members){.known = true, .revision = revision};
  f->n_approvals = 0;
  return true;
}

static int take_member(struct follow *f, const struct nx_audit_entry *entry, struct nx_error *err) {
  const struct nx_audit_value *name = find(entry, "name", NX_AUDIT_STRING);
  uint64_t id = 0;
  if (!begin(f, entry) || f->next.n == NX_AUDIT_MEMBERS_MAX || !name ||
      name->bytes.size > NX_AUDIT_NAME_MAX || !take_number(entry, "id", &id) || id < 1 || id > 255)
    return badly_told(entry, err);
  struct nx_audit_member *member = &f->next.members[f->next.n];
  *member = (struct nx_audit_member){.id = (uint32_t)id};
  memcpy(member->name, name->bytes.data, name->bytes.size);
  if (!take_bytes(entry, "identity", &member->identity, sizeof member->identity) ||
      !take_bytes(entry, "spki", &member->spki, sizeof member->spki) ||
      (f->next.n && id <= f->next.members[f->next.n - 1].id))
    return badly_told(entry, err);
  f->next.n++;
  return 0;
}

static int take_approval(struct follow *f, const struct nx_audit_entry *entry,
                         struct nx_error *err) {
  struct approval *approval = &f->approvals[f->n_approvals];
  uint64_t member = 0;
  if (!begin(f, entry) || f->n_approvals == NX_AUDIT_MEMBERS_MAX ||
      !take_number(entry, "member", &member) || member < 1 || member > 255 ||
      !take_bytes(entry, "signature", &approval->signature, sizeof approval->signature))
    return badly_told(entry, err);
  approval->member = (uint32_t)member;
  f->n_approvals++;
  return 0;
}

static struct nx_hash digest_of(const struct nx_audit_members *list) {
  struct nx_member_digest digest;
  nx_member_digest_begin(&digest, (uint32_t)list->n);
  for (size_t i = 0; i < list->n; i++) {
    const struct nx_audit_member *m = &list->members[i];
    nx_member_digest_add(&digest, m->id, nx_bytes(m->name, strlen(m->name)), &m->identity,
                         &m->spki);
  }
  return nx_member_digest_end(&digest);
}

/* How many members of the list before signed this one, each counted once. */
static size_t count_approvals(const struct follow *f, const uint8_t *statement) {
  bool counted[256] = {false};
  size_t n = 0;
  for (size_t i = 0; i < f->n_approvals; i++)
    for (size_t k = 0; k < f->now->n; k++) {
      const struct nx_audit_member *member = &f->now->members[k];
      if (member->id != f->approvals[i].member || counted[member->id] ||
          nx_verify(&member->identity, NX_MEMBERS_APPROVE,
                    nx_bytes(statement, NX_MEMBERS_STATEMENT_SIZE), &f->approvals[i].signature,
                    NULL) < 0)
        continue;
      counted[member->id] = true;
      n++;
    }
  return n;
}

static int check_approved(const struct follow *f, const struct nx_hash *previous, size_t *n_out,
                          struct nx_error *err) {
  uint8_t statement[NX_MEMBERS_STATEMENT_SIZE];
  struct nx_hash digest = digest_of(&f->next);
  uint32_t needed = nx_threshold_quorum((uint32_t)f->now->n);
  unsigned long long revision = f->next.revision;
  if (f->next.revision != f->now->revision + 1 || !nx_hash_equal(previous, &f->now->manifest))
    return nx_fail(err, NX_E_CRYPTO,
                   "revision %llu of the members' list does not follow from revision %llu",
                   revision, (unsigned long long)f->now->revision);
  nx_members_statement(previous, f->next.revision, &f->next.manifest, &digest, statement);
  *n_out = count_approvals(f, statement);
  return *n_out >= needed
             ? 0
             : nx_fail(err, NX_E_CRYPTO,
                       "revision %llu of the members' list has %zu valid approvals; %u of the %zu "
                       "members before it are needed",
                       revision, *n_out, needed, f->now->n);
}

static bool is_told_again(const struct follow *f) {
  uint64_t at = f->next.revision - f->now->first;
  return f->now->known && f->next.revision >= f->now->first && at < f->n_history &&
         nx_hash_equal(&f->history[at], &f->next.manifest);
}

static int remember(struct follow *f, struct nx_error *err) {
  struct nx_hash *grown = reallocarray(f->history, f->n_history + 1, sizeof *grown);
  if (!grown)
    return nx_fail(err, NX_E_NOMEM, "out of memory for the members' lists");
  f->history = grown;
  f->history[f->n_history++] = f->next.manifest;
  return 0;
}

static int take_revision(struct follow *f, const struct nx_audit_entry *entry,
                         struct nx_error *err) {
  struct nx_hash previous = {0};
  uint64_t n = 0;
  size_t n_approved = 0;
  if (!begin(f, entry) || !take_number(entry, "members", &n) || n != f->next.n ||
      !take_bytes(entry, "manifest", &f->next.manifest, sizeof f->next.manifest) ||
      !take_bytes(entry, "previous", &previous, sizeof previous))
    return badly_told(entry, err);
  if (is_told_again(f)) {
    f->next.known = false;
    return 0;
  }
  int r = f->now->known ? check_approved(f, &previous, &n_approved, err) : 0;
  if (r == 0)
    r = remember(f, err);
  if (r < 0)
    return r;
  uint64_t first = f->now->known ? f->now->first : f->next.revision;
  *f->now = f->next;
  f->now->first = first;
  f->next.known = false;
  if (f->seen)
    f->seen(f->context, f->now, n_approved);
  return 0;
}

static int take(struct follow *f, const struct nx_audit_entry *entry, struct nx_error *err) {
  if (is_text(entry->kind, "member.listed"))
    return take_member(f, entry, err);
  if (is_text(entry->kind, "manifest.approved"))
    return take_approval(f, entry, err);
  return is_text(entry->kind, "manifest.revised") ? take_revision(f, entry, err) : 0;
}

int nx_audit_members(const char *log, struct nx_audit_members *out, nx_audit_members_seen seen,
                     void *context, struct nx_error *err) {
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  _cleanup_free_ struct nx_audit_entry *entry = malloc(sizeof *entry);
  _cleanup_free_ struct follow *f = calloc(1, sizeof *f);
  if (!entry || !f)
    return nx_fail(err, NX_E_NOMEM, "out of memory to read an audit log");
  *out = (struct nx_audit_members){0};
  f->now = out;
  f->seen = seen;
  f->context = context;
  int r = nx_audit_reader_open(log, &reader, err);
  while (r == 0 && (r = nx_audit_reader_next(reader, entry, err)) == 0)
    r = take(f, entry, err);
  free(f->history);
  return r < 0 ? r : 0;
}
