/* What happens when any single allocation, or any single write, sync or rename fails, on the
 * ways that matter: enrolling, the node's journal, the run store, the upload spool, the audit
 * log, plan, invitation and model. It must end in an error with words, leak nothing, and leave
 * what was promised before; the same again, with nothing failing, must then work. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/file.h"
#include "common/invitation.h"
#include "common/plan.h"
#include "coordinator/aggregate/upload_spool.h"
#include "coordinator/store/run_store.h"
#include "crypto/audit_log.h"
#include "models/model.h"
#include "node/session/journal.h"
#include "tests/torture/torture.h"

#define MOST 20000

static char folder[] = "/dev/shm/nx-torture-XXXXXX"; /* syncs that cost nothing */
static bool every;                                   /* call, by --long; else of many every 17th */
static struct nx_identity *identity;

struct work {
  const char *name;
  /* In an empty folder `folder`, or one that an earlier failure left. 0 or NX_E_*. */
  int (*run)(struct nx_error *err);
};

static void path(const char *name, char out[NX_PATH_SIZE]) {
  snprintf(out, NX_PATH_SIZE, "%s/%s", folder, name);
}

/* --- the ways ------------------------------------------------------------------------------ */

static int count(void *context, struct nx_bytes body, struct nx_error *err) {
  (void)body, (void)err;
  ++*(unsigned *)context;
  return 0;
}

static int use_journal(struct nx_error *err) {
  _cleanup_(nx_journal_closep) struct nx_journal *journal = NULL;
  char name[NX_PATH_SIZE];
  unsigned n = 0;
  path("journal", name);
  int r = nx_journal_open(name, count, &n, &journal, err);
  if (r < 0 || (r = nx_journal_restart(journal, nx_bytes("join", 4), err)) < 0 ||
      (r = nx_journal_append(journal, nx_bytes("upload", 6), err)) < 0)
    return r;
  return nx_journal_append(journal, nx_bytes("vote", 4), err);
}

static int enrol_one(struct nx_run_store *store, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer certificate = {0};
  struct nx_store_invitation invitation = {
      .token_hash = nx_sha256("token", 5), .name = "site", .expires = INT64_MAX};
  struct nx_public_key key = {{1}};
  struct nx_hash spki = nx_sha256("spki", 4);
  struct nx_store_member member;
  int r = nx_run_store_invite(store, &invitation, err);
  if (r < 0 && r != NX_E_EXISTS)
    return r;
  r = nx_run_store_enrol(store, &invitation.token_hash, 1, &key, &spki, nx_bytes("pem", 3),
                         INT64_MAX, &member, &certificate, err);
  return r == NX_E_EXISTS ? 0 : r; /* what the life before had done */
}

static int use_store(struct nx_error *err) {
  _cleanup_(nx_run_store_destroyp) struct nx_run_store *store = NULL;
  const struct nx_store_record record = {1, 1, 1, nx_bytes("M0", 2)};
  struct nx_hash hash = nx_sha256("plan", 4);
  char name[NX_PATH_SIZE];
  path("store.db", name);
  int r = nx_path_exists(name) ? nx_run_store_open(name, &store, err)
                               : nx_run_store_create(name, &store, err);
  if (r == NX_E_FORMAT) { /* it never came to be: init takes such a file away */
    unlink(name);
    return r;
  }
  if (r < 0 || (r = enrol_one(store, err)) < 0 ||
      (r = nx_run_store_put_plan(store, &hash, "plan", nx_bytes("text", 4), 1, err)) < 0)
    return r;
  return nx_run_store_append_record(store, &record, err);
}

static int spool_one(struct nx_upload_spool *spool, struct nx_upload_spares *spares,
                     struct nx_bytes bytes, struct nx_error *err) {
  _cleanup_(nx_upload_writer_destroyp) struct nx_upload_writer *writer = NULL;
  struct nx_hash root;
  int r = nx_upload_root(&spool->layout, bytes.data, NULL, &root, err);
  spool->spares = spares;
  if (r < 0 || (r = nx_upload_writer_create(spool, 7, NULL, &writer, err)) == NX_E_EXISTS)
    return r < 0 && r != NX_E_EXISTS ? r : nx_upload_spool_root(spool, 7, &root, err);
  if (r < 0 || (r = nx_upload_writer_write(writer, 0, bytes, err)) < 0)
    return r;
  return nx_upload_writer_commit(writer, &root, err);
}

/* Two attempts: the second's upload goes over the file of the first's. */
static int use_spool(struct nx_error *err) {
  const struct nx_upload_layout layout = {.n_lanes = 100, .ring_bits = 32, .n_aux = 2};
  size_t size = nx_upload_bytes(&layout);
  _cleanup_free_ uint8_t *bytes = calloc(1, size);
  struct nx_upload_spares spares;
  struct nx_upload_spool spool;
  char name[NX_PATH_SIZE];
  path("uploads", name);
  if (!bytes)
    return nx_fail(err, NX_E_NOMEM, "spool: out of memory");
  int r = nx_upload_spares_init(&spares, name, err);
  if (r < 0 || (r = nx_upload_spool_init(&spool, name, 1, 1, &layout, err)) < 0 ||
      (r = spool_one(&spool, &spares, nx_bytes(bytes, size), err)) < 0 ||
      (r = nx_upload_spool_remove(name, 1, 1, &spares, err)) < 0 ||
      (r = nx_upload_spool_init(&spool, name, 1, 2, &layout, err)) < 0)
    return r;
  bytes[0] = 1;
  return spool_one(&spool, &spares, nx_bytes(bytes, size), err);
}

static int use_audit_log(struct nx_error *err) {
  _cleanup_(nx_audit_log_destroyp) struct nx_audit_log *log = NULL;
  char name[NX_PATH_SIZE];
  path("audit", name);
  int r = nx_audit_log_open(name, "Site 3", identity, &log, err);
  if (r < 0 || (r = NX_AUDIT_APPEND(log, err, "round.opened", NX_AUDIT_UINT("round", 3))) < 0)
    return r;
  return nx_audit_log_checkpoint(log, err);
}

static int read_plan(struct nx_plan **plan_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  int r = nx_file_read("configs/plan-eegmat.yaml", 1 << 20, &text, err);
  return r < 0 ? r : nx_plan_parse("plan", nx_buffer_view(&text), plan_out, err);
}

static int load_plan(struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  return read_plan(&plan, err);
}

static int load_invitation(struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  _cleanup_(nx_invitation_destroyp) struct nx_invitation *invitation = NULL;
  int r = nx_file_read("tests/fuzz/corpus-invitation/example", 1 << 20, &text, err);
  return r < 0 ? r : nx_invitation_parse("invitation", nx_buffer_view(&text), &invitation, err);
}

static int load_model(struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL, *again = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  int r = read_plan(&plan, err);
  if (r < 0 || (r = nx_model_create(plan, &model, err)) < 0 ||
      (r = nx_model_save(model, &bytes, err)) < 0)
    return r;
  return nx_model_load(plan, nx_buffer_view(&bytes), &again, err);
}

static const struct work works[] = {
    {"journal", use_journal},    {"run store and enrolment", use_store},
    {"upload spool", use_spool}, {"audit log", use_audit_log},
    {"plan", load_plan},         {"invitation", load_invitation},
    {"model", load_model},
};

/* --- the torture ------------------------------------------------------------------------------ */

static int remove_one(const char *name, const struct stat *status, int type, struct FTW *walk) {
  (void)status, (void)type;
  if (walk->level)
    remove(name);
  return 0;
}

static void empty(void) {
  nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Blocks that are left behind are a leak when they are left behind every time. */
static void torture(const struct work *work, enum torture_kind kind) {
  struct nx_error err = {0};
  unsigned n = 1, refused = 0, leaked = 0, calls = 0;
  if (work->run(&err) < 0)
    fail_msg("%s, nothing failing: %s", work->name, err.text);
  for (bool struck = true; struck && n < MOST; n += every || n < 150 ? 1 : 17) {
    calls++;
    empty();
    long before = torture_live();
    err = (struct nx_error){0};
    torture_arm(kind, n);
    int r = work->run(&err);
    struck = torture_disarm();
    long after = torture_live();
    if (after > before && n != leaked) { /* something a library keeps once, unless it is again */
      leaked = n;
      n -= every || n <= 150 ? 1 : 17;
      continue;
    }
    if (after > before)
      fail_msg("%s: %ld blocks leak when call %u fails", work->name, after - before, n);
    if (r < 0 && !err.text[0])
      fail_msg("%s: no words when call %u fails", work->name, n);
    refused += r < 0;
    if (r < 0 && !struck)
      fail_msg("%s: %s", work->name, err.text);
    r = work->run(&err); /* on what that left; a store that never came to be is made anew */
    if (r == NX_E_FORMAT)
      r = work->run(&err);
    if (r < 0)
      fail_msg("%s, again after call %u failed: %s", work->name, n, err.text);
  }
  empty();
  print_message("# %s: about %u calls that %s, %u of them failed; %u ended in an error\n",
                work->name, n, kind == TORTURE_MEMORY ? "allocate" : "write", calls, refused);
  assert_true(n < MOST);
}

static void any_allocation_may_fail(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof works / sizeof *works; i++)
    torture(&works[i], TORTURE_MEMORY);
}

static void any_write_may_fail(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++) /* the rest write nothing */
    torture(&works[i], TORTURE_WRITES);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(any_allocation_may_fail),
                                     cmocka_unit_test(any_write_may_fail)};
  every = argc > 1 && !strcmp(argv[1], "--long");
  if (!mkdtemp(folder) || nx_identity_create(&nx_entropy_system, &identity, NULL) < 0)
    return 1;
  int r = cmocka_run_group_tests_name("torture", tests, NULL, NULL);
  nx_identity_destroy(identity);
  rmdir(folder);
  return r;
}
