#include "crypto/sign.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/hash.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

static int fill_counting(void *context, void *out, size_t size, struct nx_error *err) {
  (void)err;
  fill_bytes(out, size, *(unsigned *)context);
  return 0;
}

static struct nx_identity *identity_from(unsigned start) {
  struct nx_identity *identity = NULL;
  const struct nx_entropy entropy = {fill_counting, &start};
  assert_int_equal(nx_identity_create(&entropy, &identity, NULL), 0);
  return identity;
}

static void signature_covers_prefix_name_and_body(void **state) {
  (void)state;
  _cleanup_(nx_identity_destroyp) struct nx_identity *identity = identity_from(1);
  const struct nx_public_key *key = nx_identity_public(identity);
  struct nx_signature signature;
  struct nx_bytes body = nx_bytes("the body", 8);
  assert_hex(key->bytes, 32, VECTOR_SIGN_PK);
  assert_int_equal(nx_sign(identity, "M1", body, &signature, NULL), 0);
  assert_hex(signature.bytes, 64, VECTOR_SIGN_M1);
  assert_int_equal(nx_verify(key, "M1", body, &signature, NULL), 0);
  assert_int_equal(nx_verify(key, "M2", body, &signature, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_verify(key, "M1", nx_bytes("the bodY", 8), &signature, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_verify(key, "M1", nx_bytes("the body", 7), &signature, NULL), NX_E_CRYPTO);
}

static void every_flipped_bit_of_a_signature_is_refused(void **state) {
  (void)state;
  _cleanup_(nx_identity_destroyp) struct nx_identity *identity = identity_from(9);
  struct nx_signature signature;
  struct nx_bytes body = nx_bytes("x", 1);
  assert_int_equal(nx_sign(identity, "M7", body, &signature, NULL), 0);
  for (size_t bit = 0; bit < 512; bit++) {
    struct nx_signature bad = signature;
    bad.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(nx_verify(nx_identity_public(identity), "M7", body, &bad, NULL), NX_E_CRYPTO);
  }
}

static void another_key_does_not_verify(void **state) {
  (void)state;
  _cleanup_(nx_identity_destroyp) struct nx_identity *a = identity_from(1);
  _cleanup_(nx_identity_destroyp) struct nx_identity *b = identity_from(2);
  struct nx_signature signature;
  assert_int_equal(nx_sign(a, "M1", nx_bytes("", 0), &signature, NULL), 0);
  assert_int_equal(nx_verify(nx_identity_public(b), "M1", nx_bytes("", 0), &signature, NULL),
                   NX_E_CRYPTO);
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
  chmod(path, 0600);
}

static void identity_file_is_private_and_never_overwritten(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-test-XXXXXX", path[NX_PATH_SIZE];
  struct stat status;
  _cleanup_(nx_identity_destroyp) struct nx_identity *a = identity_from(1);
  _cleanup_(nx_identity_destroyp) struct nx_identity *b = NULL;
  assert_non_null(mkdtemp(folder));
  nx_path_join(path, folder, "identity.key", NULL);
  assert_int_equal(nx_identity_load(path, NULL, &b, NULL), NX_E_NOT_FOUND);
  assert_int_equal(nx_identity_save(a, path, NULL, NULL), 0);
  assert_int_equal(nx_identity_save(a, path, NULL, NULL), NX_E_EXISTS);
  assert_int_equal(stat(path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  assert_int_equal(nx_identity_load(path, NULL, &b, NULL), 0);
  assert_memory_equal(nx_identity_public(a), nx_identity_public(b), NX_PUBLIC_KEY_SIZE);
  chmod(path, 0644);
  struct nx_identity *none = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_identity_load(path, NULL, &none, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "chmod 600"));
  unlink(path);
  rmdir(folder);
}

static void a_damaged_identity_file_is_refused_without_quoting_it(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-test-XXXXXX", path[NX_PATH_SIZE];
  assert_non_null(mkdtemp(folder));
  nx_path_join(path, folder, "identity.key", NULL);
  static const char *const bad[] = {
      "",
      "neurox-identity-1 0102",
      "neurox-identity-2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
      "neurox-identity-1 z00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1\n",
      "neurox-identity-1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\nmore",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct nx_identity *none = NULL;
    struct nx_error err = {0};
    write_text(path, bad[i]);
    assert_true(nx_identity_load(path, NULL, &none, &err) < 0);
    assert_null(none);
    assert_null(strstr(err.text, "0102"));
  }
  unlink(path);
  rmdir(folder);
}

static void fingerprints_forgive_how_people_write(void **state) {
  (void)state;
  _cleanup_(nx_identity_destroyp) struct nx_identity *identity = identity_from(1);
  struct nx_bytes key = nx_bytes(nx_identity_public(identity)->bytes, NX_PUBLIC_KEY_SIZE);
  char text[NX_FINGERPRINT_SIZE];
  nx_fingerprint(key, text);
  assert_int_equal(strlen(text), NX_FINGERPRINT_SIZE - 1);
  assert_true(nx_fingerprint_matches(key, text));
  assert_true(nx_fingerprint_matches(key, VECTOR_FINGERPRINT));
  for (char *c = text; *c; c++)
    *c = *c == ' ' ? '-' : *c >= 'a' ? (char)(*c - 'a' + 'A') : *c;
  assert_true(nx_fingerprint_matches(key, text));
  text[0] = text[0] == '0' ? '1' : '0';
  assert_false(nx_fingerprint_matches(key, text));
  assert_false(nx_fingerprint_matches(key, VECTOR_FINGERPRINT "0"));
  assert_false(nx_fingerprint_matches(key, ""));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(signature_covers_prefix_name_and_body),
      cmocka_unit_test(every_flipped_bit_of_a_signature_is_refused),
      cmocka_unit_test(another_key_does_not_verify),
      cmocka_unit_test(identity_file_is_private_and_never_overwritten),
      cmocka_unit_test(a_damaged_identity_file_is_refused_without_quoting_it),
      cmocka_unit_test(fingerprints_forgive_how_people_write),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
