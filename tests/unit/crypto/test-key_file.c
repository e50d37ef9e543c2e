/* Keys under a passphrase: the format against a file made elsewhere, every byte of it changed or cut
 * away, where passphrases come from, and a process killed at any system call of a change. */
#include "crypto/key_file.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/hash.h"
#include "crypto/key_change.h"
#include "crypto/secret.h"
#include "crypto/sign.h"
#include "tests/unit/crypto/key_file_vector.h"
#include "tests/unit/crypto/support.h"

static const struct nx_key_cost least = {1, 8192}; /* of Argon2id; for tests alone */
static const struct nx_bytes vector = {(const uint8_t *)VECTOR_KEY_FILE,
                                       sizeof VECTOR_KEY_FILE - 1};
static char folder[32];

static int make(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/dev/shm/nx-test-XXXXXX"); /* syncs that cost nothing */
  return mkdtemp(folder) && nx_crypto_init(NULL) == 0 ? 0 : -1;
}

static int unmake(void **state) {
  char command[64];
  (void)state;
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static void in_folder(const char *name, char path[NX_PATH_SIZE]) {
  nx_path_join(path, folder, name, NULL);
}

static void write_text(const char *name, const char *text, mode_t mode, char path[NX_PATH_SIZE]) {
  in_folder(name, path);
  assert_int_equal(nx_file_replace(path, nx_bytes(text, strlen(text)), mode, NULL), 0);
}

static struct nx_passphrase passphrase_of(const char *text) {
  struct nx_passphrase passphrase = {.size = strlen(text)};
  memcpy(passphrase.text, text, passphrase.size);
  return passphrase;
}

static void a_file_made_elsewhere_opens(void **state) {
  (void)state;
  _cleanup_(nx_key_finish) struct nx_key key = {0};
  const struct nx_passphrase passphrase = passphrase_of(VECTOR_KEY_PASSPHRASE);
  assert_true(nx_key_file_is_protected(vector));
  assert_int_equal(nx_key_file_open(vector, &passphrase, &key, NULL), 0);
  assert_int_equal(key.size, sizeof VECTOR_KEY_KEY - 1);
  assert_memory_equal(key.bytes, VECTOR_KEY_KEY, key.size);
}

static int fill_counting(void *context, void *out, size_t size, struct nx_error *err) {
  (void)err;
  fill_bytes(out, size, *(unsigned *)context);
  *(unsigned *)context += (unsigned)size;
  return 0;
}

static void the_same_file_is_written(void **state) {
  (void)state;
  unsigned next = 0;
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  const struct nx_entropy entropy = {fill_counting, &next};
  const struct nx_key_cost cost = {3, (size_t)1 << 20};
  const struct nx_passphrase passphrase = passphrase_of(VECTOR_KEY_PASSPHRASE);
  assert_int_equal(nx_key_file_protect(nx_bytes(VECTOR_KEY_KEY, sizeof VECTOR_KEY_KEY - 1),
                                       &passphrase, &cost, &entropy, &file, NULL),
                   0);
  assert_int_equal(file.size, vector.size);
  assert_memory_equal(file.data, vector.data, file.size);
}

static void a_wrong_passphrase_is_named(void **state) {
  (void)state;
  _cleanup_(nx_key_finish) struct nx_key key = {0};
  const struct nx_passphrase passphrase = passphrase_of("correct horse battery staple");
  struct nx_error err = {0};
  assert_int_equal(nx_key_file_open(vector, &passphrase, &key, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "passphrase is wrong"));
  assert_null(strstr(err.text, "horse"));
  assert_null(key.bytes);
}

static void damage_is_found_and_named(void **state) {
  (void)state;
  struct nx_key_header header;
  struct nx_error err = {0};
  char copy[sizeof VECTOR_KEY_FILE];
  for (size_t n = 0; n < vector.size; n++)
    assert_int_equal(nx_key_file_parse(nx_bytes(vector.data, n), &header, NULL), NX_E_FORMAT);
  for (size_t bit = 0; bit < 8 * vector.size; bit++) {
    memcpy(copy, vector.data, vector.size);
    copy[bit / 8] ^= (char)(1 << bit % 8);
    assert_int_equal(nx_key_file_parse(nx_bytes(copy, vector.size), &header, &err), NX_E_FORMAT);
    assert_non_null(strstr(err.text, "damaged"));
  }
  memcpy(copy, VECTOR_KEY_FILE, sizeof copy);
  assert_int_equal(nx_key_file_parse(nx_bytes(copy, vector.size + 1), &header, NULL), NX_E_FORMAT);
}

/* Puts the right hash under a text. */
static struct nx_bytes with_check(char *out, size_t size, const char *head) {
  char hex[NX_HASH_HEX_SIZE];
  struct nx_hash hash = nx_sha256(head, strlen(head));
  nx_hash_hex(&hash, hex);
  int n = snprintf(out, size, "%ssha256 %s\n", head, hex);
  return nx_bytes(out, (size_t)n);
}

/* Somebody who can write the file makes its hash right, too: then the tag says no, or the caps. */
static void a_forged_header_is_refused(void **state) {
  (void)state;
  char text[2048], head[1024];
  _cleanup_(nx_key_finish) struct nx_key key = {0};
  const struct nx_passphrase passphrase = passphrase_of(VECTOR_KEY_PASSPHRASE);
  const char *sealed = strstr(VECTOR_KEY_FILE, "xchacha");
  int n = (int)(strstr(VECTOR_KEY_FILE, "sha256 ") - sealed);
  const struct {
    const char *cost;
    int wanted;
  } forged[] = {{"2 1048576", NX_E_DENIED},     {"3 1048577", NX_E_DENIED},
                {"3 8192", NX_E_DENIED},        {"99 1048576", NX_E_UNSUPPORTED},
                {"0 1048576", NX_E_UNSUPPORTED}, {"3 99999999999", NX_E_UNSUPPORTED},
                {"3 1", NX_E_UNSUPPORTED},      {"03 1048576", NX_E_FORMAT},
                {"-3 1048576", NX_E_FORMAT},    {"3 99999999999999999999", NX_E_FORMAT}};
  for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
    snprintf(head, sizeof head,
             "neurox-protected-key-1\nargon2id %s 000102030405060708090a0b0c0d0e0f\n%.*s",
             forged[i].cost, n, sealed);
    assert_int_equal(
        nx_key_file_open(with_check(text, sizeof text, head), &passphrase, &key, NULL),
        forged[i].wanted);
  }
}

static void passphrases_come_from_files(void **state) {
  (void)state;
  char path[NX_PATH_SIZE], key_path[NX_PATH_SIZE];
  _cleanup_(nx_identity_destroyp) struct nx_identity *identity = NULL;
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0}, from_systemd = {0};
  struct nx_error err = {0};
  write_text("identity.key", VECTOR_KEY_FILE, 0600, key_path);
  assert_int_equal(nx_identity_load(key_path, NULL, &identity, &err), NX_E_DENIED);
  write_text("passphrase", VECTOR_KEY_PASSPHRASE "\n", 0644, path);
  snprintf(unlock.file, sizeof unlock.file, "%s", path);
  assert_int_equal(nx_identity_load(key_path, &unlock, &identity, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "chmod 600"));
  for (size_t i = 0; i < 3; i++) {
    static const char *const bad[] = {"", "\n", "two\nlines\n"};
    write_text("passphrase", bad[i], 0600, path);
    assert_int_equal(nx_identity_load(key_path, &unlock, &identity, &err), NX_E_FORMAT);
  }
  write_text("passphrase", VECTOR_KEY_PASSPHRASE "\n", 0600, path);
  assert_int_equal(nx_identity_load(key_path, &unlock, &identity, &err), 0);
  nx_identity_destroy(nx_steal(&identity));
  write_text(NX_PASSPHRASE_CREDENTIAL, VECTOR_KEY_PASSPHRASE, 0440, path); /* as systemd has it */
  setenv("CREDENTIALS_DIRECTORY", folder, 1);
  assert_int_equal(nx_identity_load(key_path, &from_systemd, &identity, &err), 0);
  unsetenv("CREDENTIALS_DIRECTORY");
  chmod(key_path, 0640);
  nx_identity_destroy(nx_steal(&identity));
  assert_int_equal(nx_identity_load(key_path, &unlock, &identity, &err), NX_E_DENIED);
}

static void short_passphrases_are_not_chosen(void **state) {
  (void)state;
  char path[NX_PATH_SIZE];
  _cleanup_(nx_unlock_finish) struct nx_unlock unlock = {0};
  struct nx_error err = {0};
  write_text("passphrase", "elevenchars\n", 0600, path);
  snprintf(unlock.file, sizeof unlock.file, "%s", path);
  assert_int_equal(nx_unlock_choose(&unlock, "it", &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "12"));
}

/* ---- killed anywhere --------------------------------------------------------------------------- */

static const char *const keys[] = {"identity.key", "node.key"};

static void use(struct nx_unlock *unlock, const char *name) {
  *unlock = (struct nx_unlock){0};
  in_folder(name, unlock->file);
}

static int change(enum nx_key_change how, const char *present_file, const char *next_file) {
  _cleanup_(nx_unlock_finish) struct nx_unlock present, next;
  char paths[2][NX_PATH_SIZE];
  use(&present, present_file);
  use(&next, next_file);
  in_folder(keys[0], paths[0]);
  in_folder(keys[1], paths[1]);
  return nx_key_change_files((const char *const[]){paths[0], paths[1]}, 2, how, &present, &next,
                             &least, NULL);
}

/* Whether every key opens, each with one of the two. */
static void every_key_opens(const char *one, const char *other) {
  for (size_t i = 0; i < 2; i++) {
    _cleanup_(nx_unlock_finish) struct nx_unlock a, b;
    _cleanup_(nx_key_finish) struct nx_key key = {0};
    char path[NX_PATH_SIZE];
    use(&a, one);
    use(&b, other);
    in_folder(keys[i], path);
    if (nx_key_file_read(path, &a, &key, NULL) < 0)
      assert_int_equal(nx_key_file_read(path, &b, &key, NULL), 0);
    assert_memory_equal(key.bytes, i ? "the other key\n" : VECTOR_KEY_KEY, key.size);
  }
}

static void plain_keys(void) {
  char path[NX_PATH_SIZE];
  write_text(keys[0], VECTOR_KEY_KEY, 0600, path);
  write_text(keys[1], "the other key\n", 0600, path);
}

/* Runs the change in a process that dies as its n-th system call begins; false: it ended before. */
static bool killed_at(unsigned n, enum nx_key_change how, const char *present, const char *next) {
  pid_t pid = fork();
  if (pid == 0) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
      _exit(9);
    raise(SIGSTOP);
    _exit(change(how, present, next) == 2 ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 9)
    skip(); /* no ptrace here */
  for (unsigned calls = 0; WIFSTOPPED(status); calls++) {
    if (calls == 2 * n) /* it stops as each call begins, and as it ends */
      kill(pid, SIGKILL);
    ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
  }
  if (WIFEXITED(status))
    assert_int_equal(WEXITSTATUS(status), 0);
  return WIFSIGNALED(status);
}

static void no_leftovers(void) {
  char pattern[NX_PATH_SIZE];
  glob_t found;
  in_folder("*.tmp-*", pattern);
  assert_int_equal(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

static void kill_everywhere(enum nx_key_change how, const char *present, const char *next) {
  unsigned n = 1;
  for (bool killed = true; killed; n++) {
    plain_keys();
    if (how != NX_KEY_PROTECT)
      assert_int_equal(change(NX_KEY_PROTECT, present, present), 2);
    killed = killed_at(n, how, present, next);
    every_key_opens(present, next);
    assert_true(change(how, present, next) >= 0); /* and the same command finishes it */
    every_key_opens(next, next);
    no_leftovers();
  }
  print_message("# killed at each of %u system calls\n", n - 2);
  assert_true(n > 20);
}

static void killed_at_any_call_a_usable_key_is_left(void **state) {
  (void)state;
  char path[NX_PATH_SIZE];
  write_text("old", "the old passphrase\n", 0600, path);
  write_text("new", "the new passphrase\n", 0600, path);
  kill_everywhere(NX_KEY_PROTECT, "new", "new");
  kill_everywhere(NX_KEY_RENEW, "old", "new");
  kill_everywhere(NX_KEY_UNPROTECT, "old", "old");
}

static void a_wrong_passphrase_changes_nothing(void **state) {
  (void)state;
  char path[NX_PATH_SIZE];
  write_text("old", "the old passphrase\n", 0600, path);
  write_text("new", "the new passphrase\n", 0600, path);
  write_text("bad", "not the passphrase\n", 0600, path);
  plain_keys();
  assert_int_equal(change(NX_KEY_RENEW, "bad", "new"), NX_E_STATE); /* not protected yet */
  assert_int_equal(change(NX_KEY_PROTECT, "old", "old"), 2);
  assert_int_equal(change(NX_KEY_PROTECT, "old", "old"), 0);
  assert_int_equal(change(NX_KEY_PROTECT, "bad", "bad"), NX_E_DENIED);
  assert_int_equal(change(NX_KEY_RENEW, "bad", "new"), NX_E_DENIED);
  assert_int_equal(change(NX_KEY_UNPROTECT, "bad", "bad"), NX_E_DENIED);
  every_key_opens("old", "old");
  assert_int_equal(change(NX_KEY_UNPROTECT, "old", "old"), 2);
  in_folder(keys[0], path);
  assert_false(nx_key_file_at_is_protected(path));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_file_made_elsewhere_opens),
      TEST(the_same_file_is_written),
      TEST(a_wrong_passphrase_is_named),
      TEST(damage_is_found_and_named),
      TEST(a_forged_header_is_refused),
      TEST(passphrases_come_from_files),
      TEST(short_passphrases_are_not_chosen),
      TEST(killed_at_any_call_a_usable_key_is_left),
      TEST(a_wrong_passphrase_changes_nothing),
  };
  return cmocka_run_group_tests_name("key_file", tests, NULL, NULL);
}
