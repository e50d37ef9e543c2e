#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "node/session/journal.h"
#include "tests/unit/cmocka_shim.h"

struct fixture {
  char folder[64], path[NX_PATH_SIZE];
  char seen[256]; /* bodies visited, each followed by ';' */
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-journal-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  nx_path_join(f->path, f->folder, "journal", NULL);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  char torn[NX_PATH_SIZE + 8];
  snprintf(torn, sizeof torn, "%s.torn", f->path);
  unlink(torn);
  unlink(f->path);
  rmdir(f->folder);
  free(f);
  return 0;
}

static int note(void *context, struct nx_bytes body, struct nx_error *err) {
  (void)err;
  struct fixture *f = context;
  size_t n = strlen(f->seen);
  snprintf(f->seen + n, sizeof f->seen - n, "%.*s;", (int)body.size, (const char *)body.data);
  return 0;
}

static struct nx_journal *open_journal(struct fixture *f, int expected) {
  struct nx_journal *journal = NULL;
  struct nx_error err = {0};
  f->seen[0] = 0;
  int r = nx_journal_open(f->path, note, f, &journal, &err);
  if (r != expected)
    fail_msg("%d: %s", r, err.text);
  return journal;
}

static void append(struct nx_journal *journal, const char *body) {
  assert_int_equal(nx_journal_append(journal, nx_bytes(body, strlen(body)), NULL), 0);
}

static void two_records(struct fixture *f) {
  struct nx_journal *journal = open_journal(f, 0);
  append(journal, "advert");
  append(journal, "vote");
  nx_journal_close(journal);
}

static void records_come_back_in_order(void **state) {
  struct fixture *f = *state;
  two_records(f);
  struct nx_journal *journal = open_journal(f, 0);
  assert_string_equal(f->seen, "advert;vote;");
  append(journal, "seal");
  nx_journal_close(journal);
  nx_journal_close(open_journal(f, 0));
  assert_string_equal(f->seen, "advert;vote;seal;");
}

static void torn_tail_is_told_at_every_length(void **state) {
  struct fixture *f = *state;
  struct nx_buffer whole = {0};
  two_records(f);
  assert_int_equal(nx_file_read(f->path, 1 << 16, &whole, NULL), 0);
  size_t first = 8 + 4 + strlen("advert") + 32;
  for (size_t n = first + 1; n < whole.size; n++) {
    assert_int_equal(nx_file_replace(f->path, nx_bytes(whole.data, n), 0600, NULL), 0);
    struct nx_journal *journal = open_journal(f, NX_JOURNAL_TORN);
    assert_string_equal(f->seen, "advert;");
    append(journal, "later");
    nx_journal_close(journal);
    nx_journal_close(open_journal(f, 0));
    assert_string_equal(f->seen, "advert;later;");
  }
  nx_buffer_finish(&whole);
}

static void edited_record_is_not_believed(void **state) {
  struct fixture *f = *state;
  struct nx_buffer text = {0};
  two_records(f);
  assert_int_equal(nx_file_read(f->path, 1 << 16, &text, NULL), 0);
  text.data[8 + 4] ^= 1;
  assert_int_equal(nx_file_replace(f->path, nx_buffer_view(&text), 0600, NULL), 0);
  nx_journal_close(open_journal(f, NX_JOURNAL_TORN));
  assert_string_equal(f->seen, "");
  nx_buffer_finish(&text);
}

static void huge_record_size_is_bounded(void **state) {
  struct fixture *f = *state;
  static const char text[] = "NXJRNL1\n\xff\xff\xff\xff";
  assert_int_equal(nx_file_replace(f->path, nx_bytes(text, sizeof text - 1), 0600, NULL), 0);
  nx_journal_close(open_journal(f, NX_JOURNAL_TORN));
}

static void another_file_is_refused(void **state) {
  struct fixture *f = *state;
  assert_int_equal(nx_file_replace(f->path, nx_bytes("hello, this", 11), 0600, NULL), 0);
  assert_null(open_journal(f, NX_E_FORMAT));
}

/* A power cut on a disk that had said "synced": nothing is left, or zeros are. */
static void lost_start_counts_as_torn(void **state) {
  struct fixture *f = *state;
  static const char *const left[] = {"", "NXJ", "\0\0\0\0\0\0\0\0\0\0\0\0"};
  static const size_t sizes[] = {0, 3, 12};
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(nx_file_replace(f->path, nx_bytes(left[i], sizes[i]), 0600, NULL), 0);
    nx_journal_close(open_journal(f, NX_JOURNAL_TORN));
    struct nx_journal *journal = open_journal(f, NX_JOURNAL_TORN); /* until something is written */
    append(journal, "in doubt");
    nx_journal_close(journal);
    nx_journal_close(open_journal(f, 0));
    assert_string_equal(f->seen, "in doubt;");
  }
}

static void restart_leaves_one_record(void **state) {
  struct fixture *f = *state;
  two_records(f);
  struct nx_journal *journal = open_journal(f, 0);
  assert_int_equal(nx_journal_restart(journal, nx_bytes("sealed 7", 8), NULL), 0);
  append(journal, "advert");
  nx_journal_close(journal);
  nx_journal_close(open_journal(f, 0));
  assert_string_equal(f->seen, "sealed 7;advert;");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(records_come_back_in_order),    TEST(torn_tail_is_told_at_every_length),
      TEST(edited_record_is_not_believed), TEST(huge_record_size_is_bounded),
      TEST(another_file_is_refused),       TEST(lost_start_counts_as_torn),
      TEST(restart_leaves_one_record),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
