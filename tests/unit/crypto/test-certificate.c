#include "crypto/certificate.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "tests/unit/crypto/support.h"

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)

struct authority {
  struct nx_buffer key, certificate;
};

static void finish(struct authority *a) {
  nx_buffer_wipe(&a->key);
  nx_buffer_finish(&a->certificate);
}

static void make(struct authority *a, const char *name) {
  *a = (struct authority){0};
  assert_int_equal(nx_certificate_make_ca(name, NOW, 3650, &a->key, &a->certificate, NULL), 0);
}

static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
static const struct nx_certificate_profile profile = {"Site 3", true, true, names, 3, NOW, 90};

static int issue(const struct authority *a, struct nx_bytes request,
                 const struct nx_certificate_profile *p, struct nx_buffer *out,
                 struct nx_error *err) {
  return nx_certificate_issue(nx_buffer_view(&a->key), nx_buffer_view(&a->certificate), request, p,
                              out, err);
}

static void a_request_becomes_a_certificate_of_this_ca_only(void **state) {
  (void)state;
  _cleanup_(finish) struct authority ca, other;
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0}, certificate = {0};
  struct nx_hash of_key, of_request, of_certificate;
  char name[NX_CERTIFICATE_NAME_SIZE];
  int64_t days;
  make(&ca, "Federation");
  make(&other, "Federation");
  assert_int_equal(nx_certificate_make_key(&key, NULL), 0);
  assert_int_equal(nx_certificate_make_request(nx_buffer_view(&key), "wishes", &request, NULL), 0);
  assert_int_equal(issue(&ca, nx_buffer_view(&request), &profile, &certificate, NULL), 0);
  struct nx_bytes pem = nx_buffer_view(&certificate);
  assert_int_equal(nx_certificate_key_spki(nx_buffer_view(&key), &of_key, NULL), 0);
  assert_int_equal(nx_certificate_check_request(nx_buffer_view(&request), &of_request, NULL), 0);
  assert_int_equal(nx_certificate_spki(pem, &of_certificate, NULL), 0);
  assert_true(nx_hash_equal(&of_key, &of_request) && nx_hash_equal(&of_key, &of_certificate));
  assert_int_equal(nx_certificate_common_name(pem, name, NULL), 0);
  assert_string_equal(name, "Site 3");
  struct nx_bytes ca_pem = nx_buffer_view(&ca.certificate);
  assert_int_equal(nx_certificate_verify(ca_pem, pem, NOW, NULL), 0);
  assert_int_equal(nx_certificate_verify(ca_pem, pem, NOW - 2 * 3600, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_certificate_verify(ca_pem, pem, NOW + 91 * DAY, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_certificate_verify(nx_buffer_view(&other.certificate), pem, NOW, NULL),
                   NX_E_CRYPTO);
  assert_int_equal(nx_certificate_days_left(pem, NOW, &days, NULL), 0);
  assert_int_equal(days, 90);
  assert_int_equal(nx_certificate_days_left(pem, NOW + 90 * DAY + 1, &days, NULL), 0);
  assert_int_equal(days, -1);
}

static void a_certificate_ends_with_its_ca(void **state) {
  (void)state;
  _cleanup_(finish) struct authority ca;
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0}, certificate = {0};
  struct nx_certificate_profile p = profile;
  int64_t days;
  make(&ca, "Federation");
  p.days = 5000;
  assert_int_equal(nx_certificate_make_key(&key, NULL), 0);
  assert_int_equal(nx_certificate_make_request(nx_buffer_view(&key), "x", &request, NULL), 0);
  assert_int_equal(issue(&ca, nx_buffer_view(&request), &p, &certificate, NULL), 0);
  assert_int_equal(nx_certificate_days_left(nx_buffer_view(&certificate), NOW, &days, NULL), 0);
  assert_int_equal(days, 3650);
}

static void bad_names_and_keys_are_refused(void **state) {
  (void)state;
  _cleanup_(finish) struct authority ca, other;
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0}, out = {0};
  struct nx_error err = {0};
  make(&ca, "Federation");
  make(&other, "Other");
  assert_int_equal(nx_certificate_make_key(&key, NULL), 0);
  assert_int_equal(nx_certificate_make_request(nx_buffer_view(&key), "x", &request, NULL), 0);
  struct nx_bytes csr = nx_buffer_view(&request);
  static const char *const smuggled[] = {"a,DNS:evil.example", "", "white space", "1.2.3.4\n"};
  for (size_t i = 0; i < 4; i++) {
    struct nx_certificate_profile p = profile;
    p.alternatives = &smuggled[i];
    p.n_alternatives = 1;
    assert_int_equal(issue(&ca, csr, &p, &out, &err), NX_E_INVALID);
  }
  struct nx_certificate_profile p = profile;
  p.common_name = "two\nlines";
  assert_int_equal(issue(&ca, csr, &p, &out, &err), NX_E_INVALID);
  p.common_name = "";
  assert_int_equal(issue(&ca, csr, &p, &out, &err), NX_E_INVALID);
  p.common_name = "0123456789012345678901234567890123456789012345678901234567890123x";
  assert_int_equal(issue(&ca, csr, &p, &out, &err), NX_E_INVALID);
  p = profile;
  p.server = p.client = false;
  assert_int_equal(issue(&ca, csr, &p, &out, &err), NX_E_INVALID);
  assert_int_equal(nx_certificate_issue(nx_buffer_view(&other.key), nx_buffer_view(&ca.certificate),
                                        csr, &profile, &out, &err),
                   NX_E_CRYPTO);
  assert_int_equal(out.size, 0);
}

static void tampered_requests_and_certificates_are_refused(void **state) {
  (void)state;
  _cleanup_(finish) struct authority ca;
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0}, certificate = {0};
  struct nx_hash spki;
  struct nx_error err = {0};
  make(&ca, "Federation");
  assert_int_equal(nx_certificate_make_key(&key, NULL), 0);
  assert_int_equal(nx_certificate_make_request(nx_buffer_view(&key), "x", &request, NULL), 0);
  assert_int_equal(issue(&ca, nx_buffer_view(&request), &profile, &certificate, NULL), 0);
  size_t refused = 0, tried = 0;
  for (size_t at = 60; at + 60 < request.size; at += 5, tried++) {
    uint8_t before = request.data[at];
    request.data[at] = before == 'A' ? 'B' : 'A';
    refused += nx_certificate_check_request(nx_buffer_view(&request), &spki, &err) < 0;
    request.data[at] = before;
  }
  assert_int_equal(refused, tried);
  size_t middle = certificate.size / 2;
  certificate.data[middle] = certificate.data[middle] == 'A' ? 'B' : 'A';
  assert_true(nx_certificate_verify(nx_buffer_view(&ca.certificate), nx_buffer_view(&certificate),
                                    NOW, &err) < 0);
  assert_int_equal(nx_certificate_spki(nx_bytes("hello", 5), &spki, &err), NX_E_FORMAT);
  assert_int_equal(nx_certificate_spki(nx_bytes("", 0), &spki, &err), NX_E_FORMAT);
  assert_int_equal(nx_certificate_key_spki(nx_bytes("hello", 5), &spki, &err), NX_E_FORMAT);
}

static void private_keys_are_saved_for_the_owner_only_and_once(void **state) {
  (void)state;
  char folder[] = "/tmp/nx-test-XXXXXX", path[NX_PATH_SIZE];
  struct stat status;
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  assert_non_null(mkdtemp(folder));
  nx_path_join(path, folder, "tls.key", NULL);
  assert_int_equal(nx_certificate_make_key(&key, NULL), 0);
  assert_int_equal(nx_certificate_save_key(path, nx_buffer_view(&key), NULL), 0);
  assert_int_equal(nx_certificate_save_key(path, nx_buffer_view(&key), NULL), NX_E_EXISTS);
  assert_int_equal(stat(path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  unlink(path);
  rmdir(folder);
}

/* root ─► issuer ─► leaf: the leaf alone proves nothing, with the issuer behind it it does. */
static void a_chain_leads_to_the_root(void **state) {
  (void)state;
  _cleanup_(finish) struct authority root, issuer = {0};
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0}, leaf = {0};
  make(&root, "root");
  assert_int_equal(nx_certificate_make_key(&issuer.key, NULL), 0);
  assert_int_equal(nx_certificate_issue_ca(nx_buffer_view(&root.key),
                                           nx_buffer_view(&root.certificate),
                                           nx_buffer_view(&issuer.key), "issuer", 0, NOW, 180,
                                           &issuer.certificate, NULL),
                   0);
  assert_int_equal(nx_certificate_make_key(&key, NULL), 0);
  assert_int_equal(nx_certificate_make_request(nx_buffer_view(&key), "x", &request, NULL), 0);
  assert_int_equal(issue(&issuer, nx_buffer_view(&request), &profile, &leaf, NULL), 0);
  struct nx_bytes trusted = nx_buffer_view(&root.certificate);
  assert_int_equal(nx_certificate_verify(trusted, nx_buffer_view(&leaf), NOW, NULL), NX_E_CRYPTO);
  nx_buffer_append(&leaf, issuer.certificate.data, issuer.certificate.size, NULL);
  assert_int_equal(nx_certificate_verify(trusted, nx_buffer_view(&leaf), NOW, NULL), 0);
  assert_int_equal(nx_certificate_verify(trusted, nx_buffer_view(&leaf), NOW + 91 * DAY, NULL),
                   NX_E_CRYPTO);
}

static void a_new_root_needs_the_old_ones_word(void **state) {
  (void)state;
  _cleanup_(finish) struct authority old, next, stranger;
  _cleanup_(nx_buffer_finish) struct nx_buffer cross = {0}, false_cross = {0}, both = {0};
  make(&old, "old");
  make(&next, "next");
  make(&stranger, "stranger");
  nx_buffer_append(&both, next.certificate.data, next.certificate.size, NULL);
  nx_buffer_append(&both, old.certificate.data, old.certificate.size, NULL);
  struct nx_bytes trusted = nx_buffer_view(&old.certificate), announced = nx_buffer_view(&both);
  assert_int_equal(nx_certificate_issue_ca(nx_buffer_view(&old.key), trusted,
                                           nx_buffer_view(&next.key), "next", 1, NOW, 3650, &cross,
                                           NULL),
                   0);
  assert_int_equal(
      nx_certificate_issue_ca(nx_buffer_view(&stranger.key), nx_buffer_view(&stranger.certificate),
                              nx_buffer_view(&next.key), "next", 1, NOW, 3650, &false_cross, NULL),
      0);
  assert_int_equal(
      nx_certificate_check_roots(trusted, announced, nx_buffer_view(&cross), NOW, NULL), 0);
  assert_int_equal(
      nx_certificate_check_roots(trusted, announced, nx_buffer_view(&false_cross), NOW, NULL),
      NX_E_CRYPTO);
  assert_int_equal(nx_certificate_check_roots(trusted, announced, nx_bytes(NULL, 0), NOW, NULL),
                   NX_E_CRYPTO);
  /* The cross is for another root's key: worth nothing for the stranger's. */
  assert_int_equal(nx_certificate_check_roots(trusted, nx_buffer_view(&stranger.certificate),
                                              nx_buffer_view(&cross), NOW, NULL),
                   NX_E_CRYPTO);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_request_becomes_a_certificate_of_this_ca_only),
      cmocka_unit_test(a_certificate_ends_with_its_ca),
      cmocka_unit_test(bad_names_and_keys_are_refused),
      cmocka_unit_test(tampered_requests_and_certificates_are_refused),
      cmocka_unit_test(a_chain_leads_to_the_root),
      cmocka_unit_test(a_new_root_needs_the_old_ones_word),
      cmocka_unit_test(private_keys_are_saved_for_the_owner_only_and_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
