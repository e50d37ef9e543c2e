/* Enrolment: an invitation admits one site, once, in time, with its own keys. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/invitation.h"
#include "coordinator/admin/enrolment.h"
#include "crypto/certificate.h"
#include "tests/unit/cmocka_shim.h"

static char folder[64], home[96], file[96];
static struct nx_federation *federation;

static int make(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/nx-enrol-XXXXXX");
  assert_non_null(mkdtemp(folder));
  snprintf(home, sizeof home, "%s/home", folder);
  snprintf(file, sizeof file, "%s/site.invitation", folder);
  struct nx_federation_request request = {.home = home, .name = "lab", .address = "127.0.0.1:0"};
  assert_int_equal(nx_federation_create(&request, NULL), 0);
  return nx_federation_open(home, &federation, NULL) || nx_federation_unlock(federation, NULL);
}

static int unmake(void **state) {
  (void)state;
  char command[128];
  nx_federation_close(federation);
  federation = NULL;
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

/* A site with its keys and what it sends. */
struct site {
  struct nx_identity *identity;
  struct nx_buffer key, csr;
  struct nx_signature signature;
  struct nx_invitation *invitation;
  uint8_t federation[16], token[32];
};

static void site_make(struct site *site) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  *site = (struct site){0};
  assert_int_equal(nx_file_read(file, NX_INVITATION_CAP, &text, NULL), 0);
  assert_int_equal(nx_invitation_parse(file, nx_buffer_view(&text), &site->invitation, NULL), 0);
  nx_hex_decode(site->invitation->federation, site->federation, 16, NULL);
  nx_hex_decode(site->invitation->token, site->token, 32, NULL);
  assert_int_equal(nx_identity_create(&nx_entropy_system, &site->identity, NULL), 0);
  assert_int_equal(nx_certificate_make_key(&site->key, NULL), 0);
  assert_int_equal(
      nx_certificate_make_request(nx_buffer_view(&site->key), "any name", &site->csr, NULL), 0);
  assert_int_equal(
      nx_sign(site->identity, "enrol", nx_buffer_view(&site->csr), &site->signature, NULL), 0);
}

static void site_finish(struct site *site) {
  nx_identity_destroy(site->identity);
  nx_buffer_wipe(&site->key);
  nx_buffer_finish(&site->csr);
  nx_invitation_destroy(site->invitation);
}

static int admit(const struct site *site, struct nx_buffer *pem, struct nx_error *err) {
  const struct nx_public_key *key = nx_identity_public(site->identity);
  struct nx_store_member member;
  struct nx_enrolment_request request = {
      .federation = nx_bytes(site->federation, 16),
      .token = nx_bytes(site->token, 32),
      .csr = nx_buffer_view(&site->csr),
      .identity = nx_bytes(key->bytes, 32),
      .signature = nx_bytes(site->signature.bytes, 64),
  };
  return nx_enrolment_admit(federation, &request, &member, pem, err);
}

static struct nx_enrolment_invited invite(const char *name) {
  struct nx_enrolment_invited invited;
  assert_int_equal(nx_enrolment_invite(federation, name, 0, false, file, &invited, NULL), 0);
  return invited;
}

static void invited_site_gets_its_certificate(void **state) {
  (void)state;
  _cleanup_(site_finish) struct site site;
  _cleanup_(nx_buffer_finish) struct nx_buffer pem = {0};
  char name[NX_CERTIFICATE_NAME_SIZE];
  struct nx_hash from_key, from_certificate;
  struct nx_store_member member;
  assert_int_equal(invite("site-0").member, 1);
  site_make(&site);
  assert_int_equal(admit(&site, &pem, NULL), 0);
  assert_int_equal(nx_certificate_verify(nx_buffer_view(&federation->ca_certificate),
                                         nx_buffer_view(&pem), nx_clock_unix() / NX_SECOND, NULL),
                   0);
  nx_certificate_common_name(nx_buffer_view(&pem), name, NULL);
  assert_string_equal(name, "site-0"); /* not what the request asked for */
  nx_certificate_key_spki(nx_buffer_view(&site.key), &from_key, NULL);
  nx_certificate_spki(nx_buffer_view(&pem), &from_certificate, NULL);
  assert_true(nx_hash_equal(&from_key, &from_certificate));
  assert_int_equal(nx_run_store_member_by_spki(federation->store, &from_key, &member, NULL), 0);
  assert_string_equal(member.name, "site-0");
}

static void file_is_private_and_its_fingerprint_is_that_of_its_bytes(void **state) {
  (void)state;
  _cleanup_(nx_buffer_wipe) struct nx_buffer text = {0};
  struct stat status;
  struct nx_enrolment_invited invited = invite("site-0");
  assert_int_equal(stat(file, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  nx_file_read(file, NX_INVITATION_CAP, &text, NULL);
  assert_true(nx_fingerprint_matches(nx_buffer_view(&text), invited.fingerprint));
  text.data[text.size / 2] ^= 1;
  assert_false(nx_fingerprint_matches(nx_buffer_view(&text), invited.fingerprint));
}

static void token_is_nowhere_in_the_store(void **state) {
  (void)state;
  char command[512];
  invite("site-0");
  snprintf(command, sizeof command,
           "t=$(sed -n \"s/^token: '\\(.*\\)'/\\1/p\" '%s'); test ${#t} = 64 && "
           "! cat '%s'/store.sqlite* | od -An -v -tx1 | tr -d ' \\n' | grep -q \"$t\" && "
           "! cat '%s'/store.sqlite* | grep -aq \"$t\"",
           file, home, home);
  assert_int_equal(system(command), 0);
}

static void reused_invitation_is_refused(void **state) {
  (void)state;
  _cleanup_(site_finish) struct site first, second;
  _cleanup_(nx_buffer_finish) struct nx_buffer one = {0}, again = {0}, none = {0};
  struct nx_error err = {0};
  invite("site-0");
  site_make(&first);
  site_make(&second);
  assert_int_equal(admit(&first, &one, NULL), 0);
  assert_int_equal(admit(&second, &none, &err), NX_E_EXISTS);
  assert_non_null(strstr(err.text, "used"));
  assert_int_equal(none.size, 0);
  /* The very same request, byte for byte: named as what it is, and answered with nothing. */
  assert_int_equal(admit(&first, &again, &err), NX_E_EXISTS);
  assert_non_null(strstr(err.text, "the invitation of site-0 was used already, by this very request"));
  assert_int_equal(again.size, 0);
}

static void expired_invitation_is_refused(void **state) {
  (void)state;
  _cleanup_(site_finish) struct site site;
  _cleanup_(nx_buffer_finish) struct nx_buffer pem = {0};
  struct nx_error err = {0};
  char token[] = "an old token of thirty-two bytes";
  struct nx_store_invitation old = {
      .token_hash = nx_sha256(token, 32), .created = 1, .expires = 2, .name = "late"};
  assert_int_equal(nx_run_store_invite(federation->store, &old, NULL), 0);
  invite("site-0");
  site_make(&site);
  memcpy(site.token, token, 32);
  assert_int_equal(admit(&site, &pem, &err), NX_E_TIMEOUT);
  assert_non_null(strstr(err.text, "expired"));
}

static void tampered_requests_are_refused(void **state) {
  (void)state;
  _cleanup_(site_finish) struct site site;
  _cleanup_(nx_buffer_finish) struct nx_buffer pem = {0};
  invite("site-0");
  site_make(&site);
  site.token[3] ^= 1;
  assert_int_equal(admit(&site, &pem, NULL), NX_E_DENIED);
  site.token[3] ^= 1, site.federation[0] ^= 1;
  assert_int_equal(admit(&site, &pem, NULL), NX_E_DENIED);
  site.federation[0] ^= 1, site.signature.bytes[9] ^= 1;
  assert_int_equal(admit(&site, &pem, NULL), NX_E_CRYPTO);
  site.signature.bytes[9] ^= 1;
  site.csr.data[site.csr.size / 2] ^= 1; /* signed no more */
  assert_true(admit(&site, &pem, NULL) < 0);
  nx_sign(site.identity, "enrol", nx_buffer_view(&site.csr), &site.signature, NULL);
  assert_true(admit(&site, &pem, NULL) < 0); /* nor signed by its own TLS key */
  site.csr.data[site.csr.size / 2] ^= 1;
  nx_sign(site.identity, "enrol", nx_buffer_view(&site.csr), &site.signature, NULL);
  assert_int_equal(pem.size, 0);
  assert_int_equal(admit(&site, &pem, NULL), 0); /* none of this spent the invitation */
}

static void failed_file_leaves_no_invitation(void **state) {
  (void)state;
  struct nx_enrolment_invited invited;
  uint32_t pending = 9;
  assert_true(nx_enrolment_invite(federation, "site-0", 0, false, "/nowhere/file", &invited, NULL) <
              0);
  assert_int_equal(
      nx_run_store_pending_invitations(federation->store, nx_clock_unix(), &pending, NULL), 0);
  assert_int_equal(pending, 0);
  assert_int_equal(nx_enrolment_invite(federation, "it's", 0, false, file, &invited, NULL),
                   NX_E_INVALID);
  invite("site-0");
  assert_int_equal(nx_enrolment_invite(federation, "site-1", 0, false, file, &invited, NULL),
                   NX_E_EXISTS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(invited_site_gets_its_certificate),
      TEST(file_is_private_and_its_fingerprint_is_that_of_its_bytes),
      TEST(token_is_nowhere_in_the_store),
      TEST(reused_invitation_is_refused),
      TEST(expired_invitation_is_refused),
      TEST(tampered_requests_are_refused),
      TEST(failed_file_leaves_no_invitation),
  };
  return cmocka_run_group_tests_name("enrolment", tests, NULL, NULL);
}
