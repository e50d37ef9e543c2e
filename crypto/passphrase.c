#include "crypto/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ui.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/secret.h"

void nx_unlock_finish(struct nx_unlock *unlock) {
  nx_secret_free(unlock->passphrase);
  unlock->passphrase = NULL;
}

/* ---- from a file ------------------------------------------------------------------------------ */

/* Straight into guarded memory: no copy is left in a buffer. */
static int read_line(int fd, const char *path, struct nx_passphrase *out, struct nx_error *err) {
  for (;;) {
    ssize_t n = read(fd, out->text + out->size, sizeof out->text - out->size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read %s", path);
    if (n == 0)
      break;
    if ((out->size += (size_t)n) == sizeof out->text)
      return nx_fail(err, NX_E_LIMIT, "%s: a passphrase has at most %d bytes", path,
                     NX_PASSPHRASE_CAP);
  }
  if (out->size && out->text[out->size - 1] == '\n')
    out->size--;
  if (!out->size || out->size > NX_PASSPHRASE_CAP || memchr(out->text, '\n', out->size))
    return nx_fail(err, NX_E_FORMAT, "%s: not one line with a passphrase", path);
  return 0;
}

static int from_file(const char *path, bool may_be_shared, struct nx_passphrase *out,
                     struct nx_error *err) {
  struct stat status;
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0 || fstat(fd, &status))
    return nx_fail_errno(err, errno, "open %s", path);
  if (!may_be_shared && status.st_mode & 077)
    return nx_fail(err, NX_E_DENIED, "%s can be read by others (mode %03o): chmod 600 it", path,
                   (unsigned)status.st_mode & 0777);
  return read_line(fd, path, out, err);
}

/* systemd's; its files may show the mask of an access list as group bits. */
static bool credential(char path[NX_PATH_SIZE]) {
  const char *folder = getenv("CREDENTIALS_DIRECTORY");
  return folder && *folder && nx_path_join(path, folder, NX_PASSPHRASE_CREDENTIAL, NULL) == 0 &&
         nx_path_exists(path);
}

/* ---- from a terminal -------------------------------------------------------------------------- */

static bool has_terminal(void) {
  _cleanup_fd_ int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  return fd >= 0;
}

/* OpenSSL's: no echo, the terminal put right again whatever signal comes. */
static int ask(const char *question, const char *again, struct nx_passphrase *out,
               struct nx_error *err) {
  struct nx_passphrase *second = NULL;
  UI *ui = UI_new();
  int r = ui ? 0 : nx_fail(err, NX_E_NOMEM, "ask for the passphrase: out of memory");
  if (r == 0 && again && !(second = nx_secret_alloc_bytes(sizeof *second)))
    r = nx_fail(err, NX_E_NOMEM, "ask for the passphrase: out of guarded memory");
  if (r == 0 && (UI_add_input_string(ui, question, 0, out->text, 0, NX_PASSPHRASE_CAP) < 0 ||
                 (again && UI_add_verify_string(ui, again, 0, second->text, 0, NX_PASSPHRASE_CAP,
                                                out->text) < 0)))
    r = nx_fail(err, NX_E_NOMEM, "ask for the passphrase: out of memory");
  int answered = r == 0 ? UI_process(ui) : 0;
  if (answered == -2)
    r = nx_fail(err, NX_E_CANCELLED, "no passphrase was given");
  else if (answered)
    r = nx_fail(err, NX_E_INVALID, again ? "the two passphrases are not the same"
                                         : "the passphrase cannot be read from the terminal");
  UI_free(ui);
  nx_secret_free(second);
  out->size = r == 0 ? strlen(out->text) : 0;
  return r == 0 && !out->size ? nx_fail(err, NX_E_CANCELLED, "no passphrase was given") : r;
}

static int from_terminal(const char *what, bool chosen, struct nx_passphrase *out,
                         struct nx_error *err) {
  char question[NX_PATH_SIZE + 64];
  if (!has_terminal())
    return nx_fail(err, NX_E_DENIED,
                   "%s is under a passphrase, and there is no terminal to ask for it: name a file "
                   "with it (passphrase_file), or give the service the systemd credential "
                   "%s",
                   what, NX_PASSPHRASE_CREDENTIAL);
  snprintf(question, sizeof question, chosen ? "New passphrase for %s: " : "Passphrase of %s: ",
           what);
  return ask(question, chosen ? "The same again: " : NULL, out, err);
}

static int find(struct nx_unlock *unlock, const char *what, bool chosen, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  if (unlock->passphrase)
    return 0;
  struct nx_passphrase *passphrase = nx_secret_alloc_bytes(sizeof *passphrase);
  if (!passphrase)
    return nx_fail(err, NX_E_NOMEM, "out of guarded memory for a passphrase");
  int r = *unlock->file      ? from_file(unlock->file, false, passphrase, err)
          : credential(path) ? from_file(path, true, passphrase, err)
                             : from_terminal(what, chosen, passphrase, err);
  if (r < 0)
    nx_secret_free(passphrase);
  else
    unlock->passphrase = passphrase;
  return r;
}

int nx_unlock_find(struct nx_unlock *unlock, const char *what, struct nx_error *err) {
  return find(unlock, what, false, err);
}

int nx_unlock_choose(struct nx_unlock *unlock, const char *what, struct nx_error *err) {
  int r = find(unlock, what, true, err);
  if (r < 0 || unlock->passphrase->size >= NX_PASSPHRASE_LEAST)
    return r;
  nx_unlock_finish(unlock);
  return nx_fail(err, NX_E_INVALID, "a new passphrase has at least %d characters",
                 NX_PASSPHRASE_LEAST);
}
