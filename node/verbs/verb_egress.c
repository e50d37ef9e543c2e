/* Verb egress: what left this building, from the receipts and from what is not in one yet. */
#include <cjson/cJSON.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/node_home.h"
#include "node/policy/egress.h"
#include "node/policy/egress_receipt.h"
#include "node/verbs/verb.h"

#define RECEIPT_CAP ((size_t)16 << 20)
#define OPEN_CAP ((size_t)16 << 20)

struct egress_verb {
  char folder[NX_PATH_SIZE];
  uint64_t round;
  bool has_round, json, any;
  uint64_t bytes, messages;
  cJSON *list; /* --json */
};

/* ---- receipts ------------------------------------------------------------------------------- */

static double number(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static const char *text(const cJSON *object, const char *key) {
  const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
  return value ? value : "?";
}

static void print_what(const cJSON *what) {
  printf("  %-12s %8.0f messages %12.0f bytes  %.16s  %s\n", text(what, "kind"),
         number(what, "messages"), number(what, "bytes"), text(what, "digest"),
         text(what, "purpose"));
}

static void print_receipt(const cJSON *receipt) {
  const cJSON *what, *list = cJSON_GetObjectItemCaseSensitive(receipt, "what");
  double round = number(receipt, "round");
  if (number(receipt, "number") > 0)
    printf("receipt %.0f: ", number(receipt, "number"));
  else
    printf("not in a receipt yet: ");
  if (round > 0)
    printf("round %.0f", round);
  else
    printf("outside of rounds");
  printf(", %.0f bytes in %.0f messages", number(receipt, "bytes"), number(receipt, "messages"));
  if (cJSON_GetObjectItemCaseSensitive(receipt, "destination"))
    printf(", to the holder of key %.16s…", text(receipt, "destination"));
  putchar('\n');
  cJSON_ArrayForEach(what, list) print_what(what);
}

static int take(struct egress_verb *verb, cJSON *receipt) {
  if (verb->has_round && number(receipt, "round") != (double)verb->round) {
    cJSON_Delete(receipt);
    return 0;
  }
  verb->any = true;
  verb->bytes += (uint64_t)number(receipt, "bytes");
  verb->messages += (uint64_t)number(receipt, "messages");
  if (verb->json) {
    cJSON_AddItemToArray(verb->list, receipt);
    return 0;
  }
  print_receipt(receipt);
  cJSON_Delete(receipt);
  return 0;
}

static int show_receipts(struct egress_verb *verb, uint64_t next, struct nx_error *err) {
  bool begun = false; /* before the first one there are those whose time was over */
  for (uint64_t i = 1; i < next; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
    char name[64], path[NX_PATH_SIZE];
    snprintf(name, sizeof name, "receipt-%08" PRIu64 ".json", i);
    int r = nx_path_join(path, verb->folder, name, err);
    if (r == 0)
      r = nx_file_read(path, RECEIPT_CAP, &bytes, err);
    if (r == NX_E_NOT_FOUND && !begun)
      continue;
    if (!begun && i > 1)
      fprintf(stderr,
              "receipts 1 to %" PRIu64 " are not here any more: keep.receipts_days, and "
              "neurox-audit verify --receipts sees that the log says so\n",
              i - 1);
    begun = true;
    if (r == NX_E_NOT_FOUND) {
      fprintf(stderr, "receipt %" PRIu64 " is missing: neurox-audit verify --receipts says more\n",
              i);
      continue;
    }
    cJSON *receipt = r < 0 ? NULL : cJSON_ParseWithLength((char *)bytes.data, bytes.size);
    if (!receipt)
      return r < 0 ? r : nx_fail(err, NX_E_FORMAT, "%s is damaged", path);
    take(verb, receipt);
  }
  return 0;
}

/* ---- what is open --------------------------------------------------------------------------- */

static bool is_counted(const struct nx_egress_row *row) {
  return row->kind[0] != '('; /* hours, for the cap of a day */
}

static void add_row(cJSON *receipt, const struct nx_egress_row *row) {
  cJSON *what = cJSON_CreateObject();
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&row->digest, hex);
  cJSON_AddStringToObject(what, "kind", row->kind);
  cJSON_AddStringToObject(what, "purpose", nx_egress_purpose(row->kind));
  cJSON_AddNumberToObject(what, "attempt", row->attempt);
  cJSON_AddNumberToObject(what, "messages", (double)row->messages);
  cJSON_AddNumberToObject(what, "bytes", (double)row->bytes);
  cJSON_AddStringToObject(what, "digest", hex);
  cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(receipt, "what"), what);
}

static void show_open_round(struct egress_verb *verb, const struct nx_egress_row *rows, size_t n,
                            uint64_t round) {
  cJSON *receipt = cJSON_CreateObject();
  uint64_t bytes = 0, messages = 0;
  cJSON_AddNumberToObject(receipt, "round", (double)round);
  cJSON_AddArrayToObject(receipt, "what");
  for (size_t i = 0; i < n; i++)
    if (is_counted(&rows[i]) && rows[i].round == round) {
      add_row(receipt, &rows[i]);
      bytes += rows[i].bytes;
      messages += rows[i].messages;
    }
  cJSON_AddNumberToObject(receipt, "messages", (double)messages);
  cJSON_AddNumberToObject(receipt, "bytes", (double)bytes);
  take(verb, receipt);
}

static int show_open(struct egress_verb *verb, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, verb->folder, "open", err);
  if (r == 0 && nx_path_exists(path))
    r = nx_file_read(path, OPEN_CAP, &bytes, err);
  if (r < 0)
    return r;
  size_t most = bytes.size / NX_EGRESS_ROW_SIZE, n = 0;
  struct nx_egress_row *rows = calloc(most + 1, sizeof *rows);
  if (!rows)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  for (size_t i = 0; i < most; i++)
    n += nx_egress_row_unpack(bytes.data + i * NX_EGRESS_ROW_SIZE, &rows[n]);
  for (size_t i = 0; i < n; i++) {
    bool first = is_counted(&rows[i]);
    for (size_t k = 0; k < i; k++)
      first &= !is_counted(&rows[k]) || rows[k].round != rows[i].round;
    if (first)
      show_open_round(verb, rows, n, rows[i].round);
  }
  free(rows);
  return 0;
}

static int show(struct egress_verb *verb, struct nx_error *err) {
  uint64_t next;
  int r = nx_egress_receipt_next(verb->folder, &next, err);
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, r, "nothing left yet that was counted: neurox-node run counts (%s)",
                   verb->folder);
  if (r == 0)
    r = show_receipts(verb, next, err);
  if (r == 0)
    r = show_open(verb, err);
  if (r < 0)
    return r;
  if (verb->json) {
    char *out = cJSON_Print(verb->list);
    printf("%s\n", out ? out : "[]");
    free(out);
  } else if (verb->any) {
    printf("in all: %" PRIu64 " bytes in %" PRIu64 " messages\n", verb->bytes, verb->messages);
  } else {
    puts("nothing");
  }
  return 0;
}

static int run_egress(int argc, char *const *argv, struct nx_error *err) {
  const char *home = NX_NODE_HOME, *round = NULL;
  struct egress_verb verb = {0};
  const struct nx_option options[] = {{.name = "home", .value = &home},
                                      {.name = "round", .value = &round},
                                      {.name = "json", .flag = &verb.json}};
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), NULL, 0, &n_words, err) < 0 ||
      (round && nx_option_number("round", round, 0, UINT64_MAX, &verb.round, err) < 0))
    return NX_VERB_USAGE;
  verb.has_round = round != NULL;
  int r = nx_path_join(verb.folder, home, NX_HOME_EGRESS, err);
  if (r < 0)
    return r;
  verb.list = cJSON_CreateArray();
  r = show(&verb, err);
  cJSON_Delete(verb.list);
  return r < 0 ? nx_error_prefix(err, r, "egress") : 0;
}

const struct nx_verb nx_verb_egress = {
    .name = "egress",
    .summary = "what left this building: kinds of messages, bytes, digests, to whom, what for",
    .help =
        "usage: neurox-node egress [--round N] [--json]\n\n"
        "One receipt for each round, and for what was said outside of rounds (--round 0): how "
        "many\n"
        "messages of which kind, their bytes, a running digest, the key of the certificate at the\n"
        "other end, and what each kind is for. Bytes are those of the messages; frames of HTTP/2,\n"
        "records of TLS and packets come on top. The hash of every receipt is in the audit log:\n"
        "  neurox-audit verify HOME/audit --receipts HOME/egress\n"
        "Enrolment (neurox-node init) is before the first receipt: it sends a certificate request\n"
        "and the public identity key.\n\n" NX_HELP_HOME,
    .run = run_egress,
};
