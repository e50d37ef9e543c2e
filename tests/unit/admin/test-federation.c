/* Federation: init makes a whole home folder or none; what is read back is checked. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "coordinator/address.h"
#include "coordinator/admin/federation.h"
#include "crypto/certificate.h"
#include "tests/unit/cmocka_shim.h"

static char folder[64], home[96];

static int make(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/nx-home-XXXXXX");
  assert_non_null(mkdtemp(folder));
  snprintf(home, sizeof home, "%s/home", folder);
  return 0;
}

static int unmake(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static int create(const char *name, const char *address, struct nx_error *err) {
  return nx_federation_create(
      &(struct nx_federation_request){.home = home, .name = name, .address = address}, err);
}

static int count_entries(void) {
  char command[160];
  int n = 0;
  snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
  FILE *pipe = popen(command, "r");
  assert_int_equal(fscanf(pipe, "%d", &n), 1);
  pclose(pipe);
  return n;
}

static void home_is_whole_and_its_keys_are_private(void **state) {
  (void)state;
  static const char *const keys[] = {
      "root/root.key", "ca/issuer.key", "tls/coordinator.key", "operator/operator.key",
      "identity.key",  "store.sqlite",  "coordinator.yaml"};
  _cleanup_(nx_federation_closep) struct nx_federation *f = NULL;
  assert_int_equal(create("Test lab: #1", "127.0.0.1:0", NULL), 0);
  assert_int_equal(count_entries(), 1);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    struct stat status;
    char path[160];
    snprintf(path, sizeof path, "%s/%s", home, keys[i]);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
  }
  assert_int_equal(nx_federation_open(home, &f, NULL), 0);
  assert_int_equal(nx_federation_unlock(f, NULL), 0);
  assert_string_equal(f->config->name, "Test lab: #1");
  assert_int_equal(nx_certificate_verify(nx_buffer_view(&f->ca_certificate),
                                         nx_buffer_view(&f->tls_certificate),
                                         nx_clock_unix() / NX_SECOND, NULL),
                   0);
  struct nx_hash spki;
  nx_certificate_spki(nx_buffer_view(&f->tls_certificate), &spki, NULL);
  assert_true(nx_hash_equal(&spki, &f->row.spki));
  struct nx_address address;
  assert_int_equal(nx_address_parse(f->config->address, &address, NULL), 0);
  assert_true(address.port > 0);
}

static void bad_requests_leave_nothing(void **state) {
  (void)state;
  static const char *const addresses[] = {"nonsense",     "host:",  ":1",    "host:99999",
                                          "0.0.0.0:7000", "::1:80", "a b:1", "203.0.113.7:0"};
  struct nx_error err = {0};
  for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
    assert_true(create("lab", addresses[i], &err) < 0);
    assert_true(err.text[0]);
  }
  assert_true(create("it's", "127.0.0.1:0", &err) < 0);
  assert_true(create("", "127.0.0.1:0", &err) < 0);
  assert_int_equal(count_entries(), 0);
}

static void existing_folder_is_left_alone(void **state) {
  (void)state;
  char path[128];
  struct nx_error err = {0};
  mkdir(home, 0700);
  snprintf(path, sizeof path, "%s/precious", home);
  fclose(fopen(path, "w"));
  assert_int_equal(create("lab", "127.0.0.1:0", &err), NX_E_EXISTS);
  assert_int_equal(count_entries(), 1);
  assert_int_equal(access(path, F_OK), 0);
  unlink(path);
  assert_int_equal(create("lab", "127.0.0.1:0", &err), 0); /* an empty one will do */
}

static void unwritable_place_is_one_clear_error(void **state) {
  (void)state;
  struct nx_error err = {0};
  snprintf(home, sizeof home, "/proc/neurox-home");
  assert_true(create("lab", "127.0.0.1:0", &err) < 0);
  assert_non_null(strstr(err.text, "/proc/neurox-home"));
}

static void wrong_keys_in_the_config_are_named_with_their_line(void **state) {
  (void)state;
  _cleanup_(nx_federation_closep) struct nx_federation *f = NULL;
  struct nx_error err = {0};
  char command[256];
  assert_int_equal(create("lab", "127.0.0.1:0", NULL), 0);
  snprintf(command, sizeof command, "echo 'surprise: 1' >> '%s/coordinator.yaml'", home);
  assert_int_equal(system(command), 0);
  assert_int_equal(nx_federation_open(home, &f, &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "coordinator.yaml:"));
  assert_non_null(strstr(err.text, "surprise"));
}

static void home_of_nobody_says_to_run_init(void **state) {
  (void)state;
  _cleanup_(nx_federation_closep) struct nx_federation *f = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_federation_open(home, &f, &err), NX_E_NOT_FOUND);
  assert_non_null(strstr(err.text, "init"));
}

static void taken_port_is_told(void **state) {
  (void)state;
  struct nx_address address;
  struct nx_error err = {0};
  assert_int_equal(nx_address_parse("127.0.0.1:0", &address, NULL), 0);
  FILE *pipe = popen("python3 -c 'import socket,time;s=socket.socket();s.bind((\"127.0.0.1\",0));"
                     "s.listen();print(s.getsockname()[1],flush=True);time.sleep(2)'",
                     "r");
  int port = 0;
  if (!pipe || fscanf(pipe, "%d", &port) != 1)
    skip();
  address.port = (uint16_t)port;
  assert_int_equal(nx_address_probe(&address, &err), NX_E_STATE);
  assert_non_null(strstr(err.text, "port taken"));
  pclose(pipe);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(home_is_whole_and_its_keys_are_private),
      TEST(bad_requests_leave_nothing),
      TEST(existing_folder_is_left_alone),
      TEST(unwritable_place_is_one_clear_error),
      TEST(wrong_keys_in_the_config_are_named_with_their_line),
      TEST(home_of_nobody_says_to_run_init),
      TEST(taken_port_is_told),
  };
  return cmocka_run_group_tests_name("federation", tests, NULL, NULL);
}
