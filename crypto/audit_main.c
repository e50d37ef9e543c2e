/* neurox-audit: what an auditor runs, offline, on the logs of a federation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/file.h"
#include "crypto/audit_format.h"
#include "crypto/audit_members.h"
#include "crypto/audit_receipts.h"
#include "crypto/participation_check.h"
#include "crypto/replay_logs.h"

enum { EXIT_FINE = 0, EXIT_TAMPERED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "neurox-audit verifies the audit logs of a Neuro-X federation. It needs no network.\n"
    "\n"
    "  neurox-audit verify LOG... [--key FILE|HEX] [--json]\n"
    "  neurox-audit verify LOG --seen COUNT:ROOT [...]\n"
    "  neurox-audit verify LOG --receipts FOLDER\n"
    "  neurox-audit show LOG\n"
    "  neurox-audit members LOG...\n"
    "  neurox-audit replay FOLDER [--sum FILE] [--log LOG]...\n"
    "  neurox-audit model FILE [--log LOG]...\n"
    "\n"
    "LOG is a log's folder (for example coordinator/audit) or the entries.log in it.\n"
    "\n"
    "verify reads every entry, rebuilds the Merkle tree (RFC 9162) and compares it with every\n"
    "signed checkpoint. It says VERIFIED or FAILED, one line a log. A changed, missing or added\n"
    "entry changes the root, so the checkpoint's signature no longer fits.\n"
    "\n"
    "Without --key the public key beside the log is believed, which shows only that the log\n"
    "agrees with itself. With --key (a public.key that you copied earlier, or 64 hex digits that\n"
    "somebody read out to you) it also shows whose log it is. To see that nothing was rewritten\n"
    "between two visits, keep the count and the root that verify prints, and give them to --seen\n"
    "the next time.\n"
    "\n"
    "--receipts holds the egress receipts of one site's node (NODE/egress) against its log: every\n"
    "receipt that the log tells of must be there, unchanged, and no other.\n"
    "\n"
    "show prints the entries for people.\n"
    "\n"
    "members verifies a log, then follows the list of members through it: every revision must be\n"
    "signed for by at least t of the members before it. It prints who came and went.\n"
    "\n"
    "replay adds up the masked uploads of a round that a coordinator kept (FOLDER holds them and\n"
    "replay.rec), takes off the masks that were released, and compares with the sum that was\n"
    "given out. With --sum (that sum, from the coordinator's blobs) it names the false tiles; "
    "with\n"
    "--log it sees that the members' logs tell of these uploads and this sum.\n"
    "\n"
    "model reads what an exported model says of its making (or the .participation.json beside\n"
    "it): that it is the model the members signed, that every signature is a member's, and which\n"
    "sites were in each round's sum. With --log it compares with the logs.\n"
    "\n"
    "exit code: 0 every log is fine, 1 a log is not, 2 wrong usage\n";

static int usage(const char *complaint) {
  fprintf(stderr, "neurox-audit: %s: see neurox-audit --help\n", complaint);
  return EXIT_USAGE;
}

/* Control bytes in a log must not drive the terminal. */
static void print_bytes(struct nx_bytes bytes) {
  for (size_t i = 0; i < bytes.size; i++)
    putchar(bytes.data[i] < ' ' || bytes.data[i] == 0x7f ? '?' : bytes.data[i]);
}

static void print_json_string(const char *text) {
  putchar('"');
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      printf("\\%c", c);
    else if (c < ' ')
      printf("\\u%04x", c);
    else
      putchar(c);
  }
  putchar('"');
}

static void print_verdict(const char *log, int r, const struct nx_audit_report *report,
                          const struct nx_error *err) {
  char root[NX_HASH_HEX_SIZE], fingerprint[NX_FINGERPRINT_SIZE];
  if (r < 0) {
    printf("%s: FAILED: %s\n", log, err->text);
    return;
  }
  nx_hash_hex(&report->root, root);
  nx_fingerprint(nx_bytes(report->key.bytes, NX_PUBLIC_KEY_SIZE), fingerprint);
  printf("%s: VERIFIED: \"%s\", %llu entries, %llu signed by %llu checkpoints, root %s, key %s",
         log, report->origin, (unsigned long long)report->entries,
         (unsigned long long)report->signed_entries, (unsigned long long)report->checkpoints, root,
         fingerprint);
  if (report->backward_steps)
    printf("; note: the clock went back %llu times", (unsigned long long)report->backward_steps);
  if (report->torn)
    printf("; note: the last write is unfinished (a crash, or still running)");
  putchar('\n');
}

static void print_json(const char *log, int r, const struct nx_audit_report *report,
                       const struct nx_error *err) {
  char root[NX_HASH_HEX_SIZE], key[2 * NX_PUBLIC_KEY_SIZE + 1];
  nx_hash_hex(&report->root, root);
  nx_hex_encode(report->key.bytes, NX_PUBLIC_KEY_SIZE, key);
  printf("{\"log\": ");
  print_json_string(log);
  printf(", \"verified\": %s, \"error\": ", r < 0 ? "false" : "true");
  if (r < 0)
    print_json_string(err->text);
  else
    printf("null");
  printf(", \"origin\": ");
  print_json_string(report->origin);
  printf(", \"entries\": %llu, \"signed_entries\": %llu, \"checkpoints\": %llu, "
         "\"backward_steps\": %llu, \"torn\": %s, \"root\": \"%s\", \"key\": \"%s\"}",
         (unsigned long long)report->entries, (unsigned long long)report->signed_entries,
         (unsigned long long)report->checkpoints, (unsigned long long)report->backward_steps,
         report->torn ? "true" : "false", root, key);
}

static int read_key(const char *text, struct nx_public_key *key, struct nx_error *err) {
  char origin[NX_AUDIT_NAME_MAX + 1];
  if (!nx_path_exists(text) && strlen(text) == 2 * NX_PUBLIC_KEY_SIZE)
    return nx_hex_decode(text, key->bytes, NX_PUBLIC_KEY_SIZE, err);
  return nx_audit_key_read(text, origin, key, err);
}

#define LOGS_MAX 256

struct options {
  const char *key, *seen, *sum, *receipts;
  const char *logs[LOGS_MAX];
  int n_logs;
  bool json;
};

/* "COUNT:ROOT" as verify printed them; COUNT of 0 when there is no such option. */
static int read_seen(const char *text, uint64_t *n, struct nx_hash *root, struct nx_error *err) {
  char *end = NULL;
  *n = 0;
  if (!text)
    return 0;
  *n = strtoull(text, &end, 10);
  if (*n == 0 || *end != ':')
    return nx_fail(err, NX_E_FORMAT, "give COUNT:ROOT, as verify printed them");
  return nx_hash_from_hex(end + 1, root, err);
}

static int verify(char *const *logs, int n, const struct options *options) {
  struct nx_public_key key;
  struct nx_hash seen_root = {0};
  struct nx_error err = {0};
  uint64_t seen_n, n_receipts = 0, n_deleted = 0;
  bool json = options->json;
  int verdict = EXIT_FINE;
  if (options->key && read_key(options->key, &key, &err) < 0) {
    fprintf(stderr, "neurox-audit: --key: %s\n", err.text);
    return EXIT_USAGE;
  }
  if (read_seen(options->seen, &seen_n, &seen_root, &err) < 0) {
    fprintf(stderr, "neurox-audit: --seen: %s\n", err.text);
    return EXIT_USAGE;
  }
  if (json)
    printf("[");
  for (int i = 0; i < n; i++) {
    struct nx_audit_report report;
    int r = nx_audit_verify_since(logs[i], options->key ? &key : NULL, seen_n, &seen_root, &report,
                                  &err);
    if (json && i)
      printf(",\n ");
    if (r >= 0 && options->receipts)
      r = nx_audit_receipts(logs[i], options->receipts, &n_receipts, &n_deleted, &err);
    (json ? print_json : print_verdict)(logs[i], r, &report, &err);
    if (r >= 0 && options->receipts && !json)
      printf("%s: %llu egress receipts, all of them as the log tells\n", options->receipts,
             (unsigned long long)n_receipts);
    if (r >= 0 && options->receipts && !json && n_deleted)
      printf("%s: %llu of them were deleted when the site's own period was over, as the log tells\n",
             options->receipts, (unsigned long long)n_deleted);
    if (r < 0)
      verdict = EXIT_TAMPERED;
  }
  if (json)
    printf("]\n");
  return verdict;
}

static void print_value(const struct nx_audit_value *value) {
  printf(" ");
  print_bytes(value->name);
  if (value->type == NX_AUDIT_U64)
    printf("=%llu", (unsigned long long)value->number);
  else if (value->type == NX_AUDIT_I64)
    printf("=%lld", (long long)value->number);
  else if (value->type == NX_AUDIT_STRING)
    printf("=\""), print_bytes(value->bytes), printf("\"");
  else
    for (size_t i = 0; i < value->bytes.size; i++)
      printf(i ? "%02x" : "=%02x", value->bytes.data[i]);
}

static int show(const char *log) {
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = NULL;
  static struct nx_audit_entry entry;
  struct nx_error err = {0};
  int r = nx_audit_reader_open(log, &reader, &err);
  while (r == 0 && (r = nx_audit_reader_next(reader, &entry, &err)) == 0) {
    char time[21];
    nx_clock_format(entry.unix_ns, time);
    printf("%6llu %s ", (unsigned long long)entry.sequence, time);
    print_bytes(entry.kind);
    for (size_t i = 0; i < entry.n_fields; i++)
      print_value(&entry.fields[i]);
    putchar('\n');
  }
  if (r == NX_AUDIT_TORN)
    fprintf(stderr, "neurox-audit: %s ends inside an entry: a crash, or still written\n", log);
  if (r < 0)
    fprintf(stderr, "neurox-audit: %s: %s\n", log, err.text);
  return r < 0 ? EXIT_TAMPERED : EXIT_FINE;
}

static bool same_member(const struct nx_audit_member *a, const struct nx_audit_member *b) {
  return !memcmp(&a->identity, &b->identity, sizeof a->identity) &&
         nx_hash_equal(&a->spki, &b->spki);
}

static const struct nx_audit_member *find_member(const struct nx_audit_members *list, uint32_t id) {
  for (size_t i = 0; i < list->n; i++)
    if (list->members[i].id == id)
      return &list->members[i];
  return NULL;
}

static void print_change(const char *what, const struct nx_audit_member *member) {
  printf("    %s %u ", what, member->id);
  print_bytes(nx_bytes(member->name, strlen(member->name)));
  putchar('\n');
}

/* context: the list before, which this one replaces. */
static void print_revision(void *context, const struct nx_audit_members *now, size_t n_approved) {
  struct nx_audit_members *before = context;
  printf("  revision %llu: %zu members", (unsigned long long)now->revision, now->n);
  if (before->known)
    printf(", approved by %zu of %zu", n_approved, before->n);
  else
    printf(now->revision ? ", the first that this log tells of" : ", the founders");
  putchar('\n');
  for (size_t i = 0; i < now->n && before->known; i++) {
    const struct nx_audit_member *was = find_member(before, now->members[i].id);
    if (!was || !same_member(was, &now->members[i]))
      print_change(was ? "new key of" : "adds", &now->members[i]);
  }
  for (size_t i = 0; i < before->n; i++)
    if (!find_member(now, before->members[i].id))
      print_change("removes", &before->members[i]);
  *before = *now;
}

static int members(char *const *logs, int n) {
  static struct nx_audit_members now, before;
  int verdict = EXIT_FINE;
  for (int i = 0; i < n; i++) {
    struct nx_audit_report report;
    struct nx_error err = {0};
    before = (struct nx_audit_members){0};
    printf("%s:\n", logs[i]);
    int r = nx_audit_verify(logs[i], NULL, &report, &err);
    if (r == 0)
      r = nx_audit_members(logs[i], &now, print_revision, &before, &err);
    if (r < 0)
      printf("  FAILED: %s\n", err.text);
    else
      printf(now.known ? "  VERIFIED\n" : "  tells of no list of members\n");
    if (r < 0)
      verdict = EXIT_TAMPERED;
  }
  return verdict;
}

/* Verified first: an entry that is not signed for says nothing. */
static int compare_logs(const struct nx_replay *replay, const struct options *options,
                        struct nx_replay_told *total, struct nx_error *err) {
  int r = 0;
  for (int i = 0; r == 0 && i < options->n_logs; i++) {
    struct nx_audit_report report;
    struct nx_replay_told told = {0};
    r = nx_audit_verify(options->logs[i], NULL, &report, err);
    if (r == 0)
      r = nx_replay_compare_log(replay, options->logs[i], &told, err);
    else
      nx_error_prefix(err, r, "%s", options->logs[i]);
    total->uploads += told.uploads;
    total->sums += told.sums;
  }
  return r;
}

static int replay(const char *folder, const struct options *options) {
  static struct nx_replay round;
  struct nx_replay_tiles tiles;
  struct nx_replay_told told = {0};
  struct nx_error err = {0};
  char sum[NX_HASH_HEX_SIZE];
  int r = nx_replay_verify(folder, options->sum, &round, &tiles, &err);
  if (r == 0)
    r = compare_logs(&round, options, &told, &err);
  if (r < 0) {
    printf("%s: FAILED: %s\n", folder, err.text);
    return EXIT_TAMPERED;
  }
  nx_hash_hex(&round.sum, sum);
  printf("%s: VERIFIED: round %llu attempt %u, %zu uploads of %zu bytes in %zu tiles add up to "
         "sum %s",
         folder, (unsigned long long)round.round, round.attempt, round.n_members,
         nx_upload_bytes(&round.layout), tiles.n, sum);
  if (options->n_logs)
    printf("; %d logs tell of %llu of these uploads and %llu times of this sum", options->n_logs,
           (unsigned long long)told.uploads, (unsigned long long)told.sums);
  putchar('\n');
  return EXIT_FINE;
}

static int model(const char *path, const struct options *options) {
  _cleanup_(nx_participation_closep) struct nx_participation *participation = NULL;
  struct nx_participation_told told = {0};
  struct nx_error err = {0};
  int r = nx_participation_open(path, &participation, &err);
  for (int i = 0; r == 0 && i < options->n_logs; i++)
    r = nx_participation_compare_log(participation, options->logs[i], &told, &err);
  if (r < 0) {
    printf("%s: FAILED: %s\n", path, err.text);
    return EXIT_TAMPERED;
  }
  nx_participation_count(participation, &told);
  nx_participation_print(participation);
  printf("%s: VERIFIED: %llu rounds, %llu signatures of members", path,
         (unsigned long long)told.rounds, (unsigned long long)told.signatures);
  if (options->n_logs)
    printf("; %d logs agree in %llu entries", options->n_logs, (unsigned long long)told.compared);
  putchar('\n');
  return EXIT_FINE;
}

/* Where the value of an option goes; NULL for what is no such option. */
static const char **place_of(const char *name, struct options *options) {
  if (!strcmp(name, "--key"))
    return &options->key;
  if (!strcmp(name, "--seen"))
    return &options->seen;
  if (!strcmp(name, "--receipts"))
    return &options->receipts;
  if (!strcmp(name, "--sum"))
    return &options->sum;
  if (!strcmp(name, "--log") && options->n_logs < LOGS_MAX)
    return &options->logs[options->n_logs++];
  return NULL;
}

/* Takes the options out of the arguments; 0, or the exit code for wrong usage. */
static int take_options(int *argc, char **argv, struct options *options) {
  int n = 0;
  for (int i = 0; i < *argc; i++) {
    const char **place = place_of(argv[i], options);
    if (place && i + 1 == *argc)
      return usage("an option wants a value");
    if (place)
      *place = argv[++i];
    else if (!strcmp(argv[i], "--json"))
      options->json = true;
    else if (argv[i][0] == '-' && argv[i][1])
      return usage("unknown option");
    else
      argv[n++] = argv[i];
  }
  *argc = n;
  return 0;
}

static int run(int argc, char **argv) {
  struct options options = {0};
  int code = take_options(&argc, argv, &options);
  if (code)
    return code;
  const char *verb = argc ? argv[0] : "";
  bool for_verify = options.key || options.seen || options.json;
  bool for_replay = options.sum || options.n_logs;
  if (!strcmp(verb, "verify") && argc >= 2 && !for_replay) {
    if (options.seen && argc > 2)
      return usage("--seen is about one log");
    return verify(argv + 1, argc - 1, &options);
  }
  if (!strcmp(verb, "show") && argc == 2 && !for_verify && !for_replay)
    return show(argv[1]);
  if (!strcmp(verb, "members") && argc >= 2 && !for_verify && !for_replay)
    return members(argv + 1, argc - 1);
  if (!strcmp(verb, "replay") && argc == 2 && !for_verify)
    return replay(argv[1], &options);
  if (!strcmp(verb, "model") && argc == 2 && !for_verify && !options.sum)
    return model(argv[1], &options);
  return usage(!strcmp(verb, "verify")
                   ? "verify wants the logs to look at"
                   : "say verify LOG..., show LOG, members LOG..., replay FOLDER or model FILE");
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") || !strcmp(argv[i], "help")) {
      fputs(help, stdout);
      return EXIT_FINE;
    }
  int code = run(argc - 1, argv + 1);
  if (fflush(stdout) || ferror(stdout)) {
    perror("neurox-audit: write");
    return EXIT_TAMPERED;
  }
  return code;
}
