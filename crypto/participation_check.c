#include "crypto/participation_check.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"

#define FILE_CAP ((size_t)4 << 30) /* of a model */
#define KEY "\"neurox_participation\":"

struct nx_participation {
  struct nx_buffer file; /* as read; the JSON text's source */
  cJSON *root;
  uint64_t signatures;
};

static const cJSON *item(const cJSON *object, const char *name) {
  return cJSON_GetObjectItemCaseSensitive(object, name);
}

static uint64_t number(const cJSON *object, const char *name) {
  const cJSON *value = item(object, name);
  return cJSON_IsNumber(value) && value->valuedouble >= 0 && value->valuedouble < 9e15
             ? (uint64_t)value->valuedouble
             : 0;
}

static int read_hex(const cJSON *object, const char *name, void *out, size_t size,
                    struct nx_error *err) {
  const char *text = cJSON_GetStringValue(item(object, name));
  if (!text || strlen(text) != 2 * size || nx_hex_decode(text, out, size, NULL) < 0)
    return nx_fail(err, NX_E_FORMAT, "participation: %s: not %zu bytes in hex", name, size);
  return 0;
}

/* --- taking it out of a model ---------------------------------------------------------------- */

/* The end of a JSON string that begins at `at` (its quote); NULL when there is none. */
static const char *end_of_string(const char *at, const char *end) {
  for (at++; at < end; at++)
    if (*at == '\\')
      at++;
    else if (*at == '"')
      return at + 1;
  return NULL;
}

/* The signed bytes: the header without the participation, cut to its old length. */
static struct nx_hash hash_of_signed(uint64_t old_size, struct nx_bytes before,
                                     struct nx_bytes after, struct nx_bytes data) {
  uint8_t size[8];
  struct nx_sha256 context;
  for (int i = 0; i < 8; i++)
    size[i] = (uint8_t)(old_size >> (8 * i));
  nx_sha256_init(&context);
  nx_sha256_update(&context, size, sizeof size);
  nx_sha256_update(&context, before.data, before.size);
  nx_sha256_update(&context, after.data, (size_t)old_size - before.size);
  nx_sha256_update(&context, data.data, data.size);
  return nx_sha256_final(&context);
}

static int read_text(struct nx_participation *p, const char *text, size_t size,
                     struct nx_error *err) {
  p->root = cJSON_ParseWithLength(text, size);
  if (!p->root || number(p->root, "neurox_participation") != 1)
    return nx_fail(err, NX_E_FORMAT, "not a participation of version 1");
  return 0;
}

static int read_string(struct nx_participation *p, const char *begin, const char *end,
                       struct nx_error *err) {
  cJSON *string = cJSON_ParseWithLength(begin, (size_t)(end - begin));
  const char *text = cJSON_GetStringValue(string);
  int r = text ? read_text(p, text, strlen(text), err)
               : nx_fail(err, NX_E_FORMAT, "the participation is not a text");
  cJSON_Delete(string);
  return r;
}

static int read_model(struct nx_participation *p, struct nx_error *err) {
  struct nx_reader reader = nx_reader(nx_buffer_view(&p->file));
  uint64_t size = nx_reader_u64(&reader);
  if (reader.failed || size > reader.rest.size)
    return nx_fail(err, NX_E_FORMAT, "neither a participation nor a model");
  const char *header = (const char *)reader.rest.data, *end = header + size;
  const char *key = memmem(header, size, KEY, sizeof KEY - 1);
  const char *text = key ? key + sizeof KEY - 1 : NULL;
  const char *rest = text && text < end && *text == '"' ? end_of_string(text, end) : NULL;
  if (!rest)
    return nx_fail(err, NX_E_FORMAT, "this model holds no participation (export made it?)");
  int r = read_string(p, text, rest, err);
  if (r < 0)
    return r;
  if (rest < end && *rest == ',')
    rest++;
  struct nx_hash model;
  uint64_t old = number(p->root, "header_bytes");
  size_t before = (size_t)(key - header), after = (size_t)(end - rest);
  if ((r = read_hex(p->root, "model", &model, sizeof model, err)) < 0)
    return r;
  if (old < before || old - before > after)
    return nx_fail(err, NX_E_FORMAT, "participation: header_bytes does not fit");
  struct nx_hash found = hash_of_signed(old, nx_bytes(header, before), nx_bytes(rest, after),
                                        nx_bytes(end, (size_t)(reader.rest.size - size)));
  return nx_hash_equal(&found, &model)
             ? 0
             : nx_fail(err, NX_E_CRYPTO, "the file is not the model that the members signed");
}

/* --- signatures ------------------------------------------------------------------------------- */

static size_t put_varint(uint8_t *out, uint64_t value) {
  size_t n = 0;
  for (; value > 127; value >>= 7)
    out[n++] = (uint8_t)(value | 128);
  out[n++] = (uint8_t)value;
  return n;
}

/* The body of M11 as round.proto lays it out: what was signed. */
static int body_of(const cJSON *round, uint8_t out[96], size_t *size, struct nx_error *err) {
  size_t n = 0;
  uint64_t attempt = number(round, "attempt");
  out[n++] = 0x08;
  n += put_varint(out + n, number(round, "round"));
  if (attempt) {
    out[n++] = 0x10;
    n += put_varint(out + n, attempt);
  }
  out[n++] = 0x1a, out[n++] = 32;
  int r = read_hex(round, "t3", out + n, 32, err);
  n += 32;
  out[n++] = 0x22, out[n++] = 32;
  *size = n + 32;
  return r < 0 ? r : read_hex(round, "model", out + n, 32, err);
}

static const cJSON *member_of(const struct nx_participation *p, uint64_t id) {
  const cJSON *member;
  cJSON_ArrayForEach(member,
                     item(p->root, "members")) if (number(member, "id") == id) return member;
  return NULL;
}

static int check_signature(struct nx_participation *p, const cJSON *signed_by, struct nx_bytes body,
                           uint64_t round, struct nx_error *err) {
  const cJSON *member = member_of(p, number(signed_by, "member"));
  struct nx_public_key key;
  struct nx_signature signature;
  int r = member ? read_hex(member, "identity", key.bytes, sizeof key.bytes, err)
                 : nx_fail(err, NX_E_FORMAT, "participation: a signature of nobody");
  if (r < 0 ||
      (r = read_hex(signed_by, "signature", signature.bytes, sizeof signature.bytes, err)) < 0)
    return r;
  p->signatures++;
  if ((r = nx_verify(&key, "M11", body, &signature, err)) < 0)
    return nx_error_prefix(err, r, "round %llu, member %llu", (unsigned long long)round,
                           (unsigned long long)number(signed_by, "member"));
  return 0;
}

/* A round begins with what the one before it ended with. Files of before "parent" was told have
 * none anywhere. */
static int check_parent(const struct nx_participation *p, const cJSON *last, const cJSON *round,
                        struct nx_error *err) {
  struct nx_hash parent, before;
  if (!item(p->root, "parent"))
    return item(round, "parent") ? nx_fail(err, NX_E_FORMAT, "participation: parent is missing") : 0;
  int r = read_hex(round, "parent", &parent, sizeof parent, err);
  if (r == 0 && last)
    r = read_hex(last, "model", &before, sizeof before, err);
  if (r == 0 && last && !nx_hash_equal(&parent, &before))
    r = nx_fail(err, NX_E_CRYPTO,
                "participation: round %llu began with another model than the round before it made",
                (unsigned long long)number(round, "round"));
  return r;
}

/* The version's own parent is its last round's. */
static int check_last(const struct nx_participation *p, const cJSON *last, struct nx_error *err) {
  struct nx_hash model, newest, parent, begun;
  int r = read_hex(p->root, "model", &model, sizeof model, err);
  if (r == 0)
    r = read_hex(last, "model", &newest, sizeof newest, err);
  if (r < 0)
    return r;
  if (!cJSON_GetArraySize(item(last, "signatures")))
    return nx_fail(err, NX_E_CRYPTO, "participation: nobody has signed its last round");
  if (!nx_hash_equal(&model, &newest))
    return nx_fail(err, NX_E_CRYPTO, "participation: its last round made another model");
  if (!item(p->root, "parent"))
    return 0;
  r = read_hex(p->root, "parent", &parent, sizeof parent, err);
  if (r == 0)
    r = read_hex(last, "parent", &begun, sizeof begun, err);
  if (r == 0 && !nx_hash_equal(&parent, &begun))
    r = nx_fail(err, NX_E_CRYPTO, "participation: its last round began with another parent");
  return r;
}

static int check_rounds(struct nx_participation *p, struct nx_error *err) {
  const cJSON *round, *signed_by, *last = NULL;
  int r = 0;
  cJSON_ArrayForEach(round, item(p->root, "rounds")) {
    uint8_t body[96];
    size_t size = 0;
    uint64_t n = number(round, "round");
    if (r < 0 || (r = body_of(round, body, &size, err)) < 0)
      return r;
    if (last && n != number(last, "round") + 1)
      return nx_fail(err, NX_E_FORMAT, "participation: round %llu does not follow",
                     (unsigned long long)n);
    r = check_parent(p, last, round, err);
    cJSON_ArrayForEach(signed_by, item(round, "signatures")) if (r == 0) r =
        check_signature(p, signed_by, nx_bytes(body, size), n, err);
    last = round;
  }
  return r < 0 ? r : check_last(p, last, err);
}

/* A member says that a version stands on somebody who withdrew: signed by it, and about one of
 * these rounds. */
static int check_withdrawn(struct nx_participation *p, struct nx_error *err) {
  const cJSON *note, *round;
  cJSON_ArrayForEach(note, item(p->root, "withdrawn")) {
    const cJSON *member = member_of(p, number(note, "member"));
    const char *hex = cJSON_GetStringValue(item(note, "body"));
    size_t size = hex ? strlen(hex) / 2 : 0;
    _cleanup_free_ uint8_t *body = calloc(size + 1, 1);
    struct nx_public_key key;
    struct nx_signature signature;
    bool about = false;
    if (!body)
      return nx_fail(err, NX_E_NOMEM, "out of memory");
    if (!member || !hex || nx_hex_decode(hex, body, size, NULL) < 0)
      return nx_fail(err, NX_E_FORMAT, "participation: a mark of nobody");
    int r = read_hex(member, "identity", key.bytes, sizeof key.bytes, err);
    if (r == 0)
      r = read_hex(note, "signature", signature.bytes, sizeof signature.bytes, err);
    if (r == 0)
      r = nx_verify(&key, "withdrawn", nx_bytes(body, size), &signature, err);
    if (r < 0)
      return nx_error_prefix(err, r, "participation: the mark of member %llu",
                             (unsigned long long)number(note, "member"));
    cJSON_ArrayForEach(round, item(p->root, "rounds")) {
      struct nx_hash model;
      about |= read_hex(round, "model", &model, sizeof model, NULL) == 0 &&
               memmem(body, size, model.bytes, sizeof model.bytes) != NULL;
    }
    if (!about)
      return nx_fail(err, NX_E_CRYPTO, "participation: a mark about other models");
  }
  return 0;
}

int nx_participation_open(const char *path, struct nx_participation **out, struct nx_error *err) {
  _cleanup_(nx_participation_closep) struct nx_participation *p = calloc(1, sizeof *p);
  if (!p)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  p->file.cap = FILE_CAP;
  int r = nx_file_read(path, FILE_CAP, &p->file, err);
  if (r < 0)
    return r;
  bool is_json = p->file.size && p->file.data[0] == '{';
  if ((r = is_json ? read_text(p, (const char *)p->file.data, p->file.size, err)
                   : read_model(p, err)) < 0 ||
      (r = check_rounds(p, err)) < 0 || (r = check_withdrawn(p, err)) < 0)
    return nx_error_prefix(err, r, "%s", path);
  *out = nx_steal(&p);
  return 0;
}

void nx_participation_close(struct nx_participation *p) {
  if (!p)
    return;
  cJSON_Delete(p->root);
  nx_buffer_finish(&p->file);
  free(p);
}

void nx_participation_count(const struct nx_participation *p, struct nx_participation_told *told) {
  told->rounds = (uint64_t)cJSON_GetArraySize(item(p->root, "rounds"));
  told->signatures = p->signatures;
}

/* --- against logs
 * --------------------------------------------------------------------------------- */

static int differ(const struct nx_audit_entry *entry, const char *what, struct nx_error *err) {
  return nx_fail(err, NX_E_CRYPTO, "entry %llu names %s than the participation",
                 (unsigned long long)entry->sequence, what);
}

static const cJSON *round_of(const struct nx_participation *p, const struct nx_audit_entry *entry) {
  const struct nx_audit_value *n = nx_audit_entry_field(entry, "round", NX_AUDIT_U64);
  const struct nx_audit_value *attempt = nx_audit_entry_field(entry, "attempt", NX_AUDIT_U64);
  const cJSON *round;
  cJSON_ArrayForEach(round,
                     item(p->root, "rounds")) if (n && number(round, "round") == n->number &&
                                                  (!attempt || number(round, "attempt") ==
                                                                   attempt->number)) return round;
  return NULL;
}

/* 1: it agrees; 0: it says nothing of it. */
static int compare_hash(const cJSON *object, const char *key, const struct nx_audit_entry *entry,
                        const char *what, struct nx_error *err) {
  const struct nx_audit_value *value = nx_audit_entry_field(entry, key, NX_AUDIT_BYTES);
  uint8_t ours[32];
  if (!value)
    return 0;
  int r = read_hex(object, key, ours, sizeof ours, err);
  if (r < 0)
    return r;
  return value->bytes.size == sizeof ours && !memcmp(value->bytes.data, ours, sizeof ours)
             ? 1
             : differ(entry, what, err);
}

/* 1: it agrees about the plan and the model that the round began with. */
static int compare_began(const struct nx_participation *p, const cJSON *round,
                         const struct nx_audit_entry *entry, struct nx_error *err) {
  const struct nx_audit_value *model = nx_audit_entry_field(entry, "model", NX_AUDIT_BYTES),
                              *plan = nx_audit_entry_field(entry, "plan", NX_AUDIT_BYTES);
  struct nx_hash ours;
  int r = plan ? read_hex(item(p->root, "plan"), "sha256", &ours, sizeof ours, err) : 0;
  if (r < 0)
    return r;
  if (plan && (plan->bytes.size != sizeof ours || memcmp(plan->bytes.data, &ours, sizeof ours)))
    return differ(entry, "another plan", err);
  if (!model || !item(round, "parent"))
    return plan != NULL;
  if ((r = read_hex(round, "parent", &ours, sizeof ours, err)) < 0)
    return r;
  return model->bytes.size == sizeof ours && !memcmp(model->bytes.data, &ours, sizeof ours)
             ? 1
             : differ(entry, "another parent", err);
}

static int compare_sites(const cJSON *round, const struct nx_audit_entry *entry,
                         struct nx_error *err) {
  const struct nx_audit_value *survivors = nx_audit_entry_field(entry, "survivors", NX_AUDIT_BYTES);
  const cJSON *sites = item(round, "sites"), *site;
  size_t i = 0;
  if (!survivors)
    return 0;
  if ((size_t)cJSON_GetArraySize(sites) != survivors->bytes.size)
    return differ(entry, "other sites", err);
  cJSON_ArrayForEach(site, sites) if (site->valuedouble !=
                                      survivors->bytes.data[i++]) return differ(entry,
                                                                                "other sites", err);
  return 1;
}

static int compare_member(const struct nx_participation *p, const struct nx_audit_entry *entry,
                          struct nx_error *err) {
  const struct nx_audit_value *id = nx_audit_entry_field(entry, "member", NX_AUDIT_U64);
  const cJSON *member = id ? member_of(p, id->number) : NULL;
  return member ? compare_hash(member, "identity", entry, "another key", err) : 0;
}

static int compare_entry(const struct nx_participation *p, const struct nx_audit_entry *entry,
                         struct nx_error *err) {
  if (nx_audit_is_named(entry->kind, "member.enrolled"))
    return compare_member(p, entry, err);
  const cJSON *round = round_of(p, entry);
  if (!round)
    return 0;
  if (nx_audit_is_named(entry->kind, "round.committed"))
    return compare_sites(round, entry, err);
  if (nx_audit_is_named(entry->kind, "round.opened") ||
      nx_audit_is_named(entry->kind, "round.joined"))
    return compare_began(p, round, entry, err);
  if (!nx_audit_is_named(entry->kind, "model.sealed"))
    return 0;
  int r = compare_hash(round, "sum", entry, "another sum", err);
  return r < 0 ? r : compare_hash(round, "model", entry, "another model", err);
}

int nx_participation_compare_log(const struct nx_participation *p, const char *log,
                                 struct nx_participation_told *told, struct nx_error *err) {
  _cleanup_free_ struct nx_audit_entry *entry = malloc(sizeof *entry);
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  struct nx_audit_report report;
  if (!entry)
    return nx_fail(err, NX_E_NOMEM, "out of memory to read an audit log");
  int r = nx_audit_verify(log, NULL, &report, err);
  if (r == 0)
    r = nx_audit_reader_open(log, &reader, err);
  while (r == 0 && (r = nx_audit_reader_next(reader, entry, err)) == 0) {
    r = compare_entry(p, entry, err);
    told->compared += r > 0;
    r = r < 0 ? r : 0;
  }
  return r < 0 ? nx_error_prefix(err, r, "%s", log) : 0;
}

/* --- for people
 * --------------------------------------------------------------------------------------- */

static bool is_in(const cJSON *round, uint64_t id) {
  const cJSON *site;
  cJSON_ArrayForEach(site, item(round, "sites")) if (site->valuedouble == (double)id) return true;
  return false;
}

static void print_plain(const char *text) {
  for (; text && *text; text++)
    putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

static void print_sites(const struct nx_participation *p, const cJSON *round, bool in) {
  const cJSON *member;
  const char *comma = "";
  cJSON_ArrayForEach(member, item(p->root, "members")) {
    if (is_in(round, number(member, "id")) != in)
      continue;
    printf("%s", comma);
    print_plain(cJSON_GetStringValue(item(member, "name")));
    comma = ", ";
  }
}

static void print_marks(const struct nx_participation *p) {
  const cJSON *note;
  cJSON_ArrayForEach(note, item(p->root, "withdrawn")) {
    printf("MARKED: this version used data withdrawn later at site ");
    print_plain(cJSON_GetStringValue(item(member_of(p, number(note, "member")), "name")));
    printf(" (its own word, signed); nothing was unlearnt\n");
  }
}

static double fraction(const cJSON *object, const char *name) {
  const cJSON *value = item(object, name);
  return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

static void print_privacy(const cJSON *privacy) {
  printf("privacy: ");
  print_plain(cJSON_GetStringValue(item(privacy, "mechanism")));
  if (cJSON_IsNumber(item(privacy, "epsilon"))) {
    printf(", %llu noisy steps: epsilon %.3f at delta %g of a ",
           (unsigned long long)number(privacy, "noisy_steps"), fraction(privacy, "epsilon"),
           fraction(privacy, "delta"));
    print_plain(cJSON_GetStringValue(item(privacy, "unit")));
    printf(" that was in every one (reckoned by the hub from the plan; over all plans: each site's "
           "ledger)");
  }
  putchar('\n');
}

static void print_origin(const struct nx_participation *p) {
  const char *parent = cJSON_GetStringValue(item(p->root, "parent"));
  printf("plan ");
  print_plain(cJSON_GetStringValue(item(item(p->root, "plan"), "name")));
  printf(", ");
  print_plain(cJSON_GetStringValue(item(item(p->root, "plan"), "sha256")));
  printf("\nparent: ");
  print_plain(parent ? parent : "not told: exported by an older version");
  printf("\nupdates clipped to norm %g\n",
         fraction(item(p->root, "clipping"), "update_clip_norm"));
  print_privacy(item(p->root, "privacy"));
}

void nx_participation_print(const struct nx_participation *p) {
  const cJSON *round;
  print_marks(p);
  print_origin(p);
  cJSON_ArrayForEach(round, item(p->root, "rounds")) {
    int all = cJSON_GetArraySize(item(p->root, "members"));
    int in = cJSON_GetArraySize(item(round, "sites"));
    printf("round %3llu ", (unsigned long long)number(round, "round"));
    print_plain(cJSON_GetStringValue(item(round, "kind")));
    printf(": %d of %d sites: ", in, all);
    print_sites(p, round, true);
    if (in < all) {
      printf("; without ");
      print_sites(p, round, false);
    }
    putchar('\n');
  }
}
