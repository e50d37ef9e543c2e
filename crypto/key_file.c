#include "crypto/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/size.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

#define MAGIC "neurox-protected-key-1\n"
#define KDF "argon2id "
#define AEAD "xchacha20poly1305 "
#define SEALED "sealed "
#define CHECK "sha256 "
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES

_Static_assert(sizeof((struct nx_key_header *)0)->salt == crypto_pwhash_SALTBYTES, "salt");
_Static_assert(sizeof((struct nx_key_header *)0)->nonce ==
                   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
               "nonce");

const struct nx_key_cost nx_key_cost_usual = {crypto_pwhash_OPSLIMIT_MODERATE,
                                              crypto_pwhash_MEMLIMIT_MODERATE};

void nx_key_finish(struct nx_key *key) {
  nx_secret_free(key->bytes);
  *key = (struct nx_key){0};
}

static int key_alloc(struct nx_key *key, size_t size, struct nx_error *err) {
  key->bytes = nx_secret_alloc_bytes(size);
  key->size = size;
  return key->bytes ? 0 : nx_fail(err, NX_E_NOMEM, "out of guarded memory for a private key");
}

/* ---- the format ------------------------------------------------------------------------------- */

bool nx_key_file_is_protected(struct nx_bytes file) {
  return file.size >= sizeof MAGIC - 1 && !memcmp(file.data, MAGIC, sizeof MAGIC - 1);
}

static int damaged(struct nx_error *err) {
  return nx_fail(err, NX_E_FORMAT,
                 "this protected key file is damaged: put a copy of it in its place");
}

/* Takes the words off the front of *at. */
static bool take(struct nx_bytes *at, const char *words) {
  size_t n = strlen(words);
  if (at->size < n || memcmp(at->data, words, n))
    return false;
  *at = nx_bytes(at->data + n, at->size - n);
  return true;
}

/* Exactly size bytes in lower-case hex, then `end`. */
static bool take_hex(struct nx_bytes *at, uint8_t *out, size_t size, const char *end) {
  char hex[2 * 32 + 1];
  if (at->size < 2 * size || 2 * size >= sizeof hex)
    return false;
  memcpy(hex, at->data, 2 * size);
  hex[2 * size] = 0;
  *at = nx_bytes(at->data + 2 * size, at->size - 2 * size);
  return strspn(hex, "0123456789abcdef") == 2 * size &&
         nx_hex_decode(hex, out, size, NULL) == 0 && take(at, end);
}

/* A decimal number as printf writes it, then a space. */
static bool take_number(struct nx_bytes *at, uint64_t *out) {
  uint64_t value = 0;
  size_t n = 0;
  for (; n < at->size && n < 18 && at->data[n] >= '0' && at->data[n] <= '9'; n++)
    value = 10 * value + (uint64_t)(at->data[n] - '0');
  if (!n || (at->data[0] == '0' && n > 1))
    return false;
  *at = nx_bytes(at->data + n, at->size - n);
  *out = value;
  return take(at, " ");
}

static bool take_check(struct nx_bytes *at, struct nx_bytes before) {
  struct nx_hash said, is = nx_sha256(before.data, before.size);
  return take(at, CHECK) && take_hex(at, said.bytes, sizeof said.bytes, "\n") && !at->size &&
         nx_hash_equal(&said, &is);
}

/* The sealed line, up to its end. */
static bool take_sealed(struct nx_bytes *at, struct nx_bytes *out) {
  const uint8_t *end = take(at, SEALED) ? memchr(at->data, '\n', at->size) : NULL;
  size_t n = end ? (size_t)(end - at->data) : 0;
  if (n % 2 || n < 2 * (TAG + 1) || n > 2 * (TAG + NX_KEY_CAP))
    return false;
  *out = nx_bytes(at->data, n);
  *at = nx_bytes(end + 1, at->size - n - 1);
  return true;
}

int nx_key_file_parse(struct nx_bytes file, struct nx_key_header *header_out,
                      struct nx_error *err) {
  struct nx_key_header header = {0};
  struct nx_bytes at = file;
  uint64_t passes, memory;
  if (file.size > NX_KEY_FILE_CAP || !take(&at, MAGIC) || !take(&at, KDF) ||
      !take_number(&at, &passes) || !take_number(&at, &memory) ||
      !take_hex(&at, header.salt, sizeof header.salt, "\n") || !take(&at, AEAD) ||
      !take_hex(&at, header.nonce, sizeof header.nonce, "\n"))
    return damaged(err);
  header.associated = nx_bytes(file.data, file.size - at.size);
  if (!take_sealed(&at, &header.sealed) ||
      !take_check(&at, nx_bytes(file.data, file.size - at.size)))
    return damaged(err);
  if (passes < crypto_pwhash_OPSLIMIT_MIN || passes > NX_KEY_PASSES_MOST ||
      memory < crypto_pwhash_MEMLIMIT_MIN || memory > NX_KEY_MEMORY_MOST)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "this protected key file asks for %llu passes over %llu bytes of memory: at "
                   "most %d over %zu are done here",
                   (unsigned long long)passes, (unsigned long long)memory, NX_KEY_PASSES_MOST,
                   NX_KEY_MEMORY_MOST);
  header.cost = (struct nx_key_cost){(uint32_t)passes, (size_t)memory};
  *header_out = header;
  return 0;
}

/* ---- sealing and opening ---------------------------------------------------------------------- */

static int derive(const struct nx_key_header *header, const struct nx_passphrase *passphrase,
                  struct nx_secret *out, struct nx_error *err) {
  return crypto_pwhash(out->bytes, sizeof out->bytes, passphrase->text, passphrase->size,
                       header->salt, header->cost.passes, header->cost.memory,
                       crypto_pwhash_ALG_ARGON2ID13)
             ? nx_fail(err, NX_E_NOMEM, "opening a protected key takes %zu MiB for a moment",
                       header->cost.memory >> 20)
             : 0;
}

static int put_line(struct nx_buffer *out, const char *words, const uint8_t *bytes, size_t size,
                    struct nx_error *err) {
  _cleanup_free_ char *hex = malloc(2 * size + 2);
  if (!hex)
    return nx_fail(err, NX_E_NOMEM, "a protected key: out of memory");
  nx_hex_encode(bytes, size, hex);
  memcpy(hex + 2 * size, "\n", 2);
  int r = nx_buffer_append(out, words, strlen(words), err);
  return r < 0 ? r : nx_buffer_append(out, hex, 2 * size + 1, err);
}

static int put_header(struct nx_buffer *out, const struct nx_key_header *header,
                      struct nx_error *err) {
  char kdf[64];
  snprintf(kdf, sizeof kdf, MAGIC KDF "%u %zu ", header->cost.passes, header->cost.memory);
  int r = put_line(out, kdf, header->salt, sizeof header->salt, err);
  return r < 0 ? r : put_line(out, AEAD, header->nonce, sizeof header->nonce, err);
}

static int put_sealed(struct nx_buffer *out, const struct nx_key_header *header,
                      struct nx_bytes key, const struct nx_secret *secret, struct nx_error *err) {
  _cleanup_free_ uint8_t *sealed = malloc(key.size + TAG);
  if (!sealed)
    return nx_fail(err, NX_E_NOMEM, "a protected key: out of memory");
  crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, key.data, key.size, out->data, out->size,
                                             NULL, header->nonce, secret->bytes);
  int r = put_line(out, SEALED, sealed, key.size + TAG, err);
  if (r < 0)
    return r;
  struct nx_hash check = nx_sha256(out->data, out->size);
  return put_line(out, CHECK, check.bytes, sizeof check.bytes, err);
}

int nx_key_file_protect(struct nx_bytes key, const struct nx_passphrase *passphrase,
                        const struct nx_key_cost *cost, const struct nx_entropy *entropy,
                        struct nx_buffer *file_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {.cap = NX_KEY_FILE_CAP};
  _cleanup_(nx_secret_wipe) struct nx_secret secret = {0};
  struct nx_key_header header = {.cost = *cost};
  if (!key.size || key.size > NX_KEY_CAP)
    return nx_fail(err, NX_E_LIMIT, "a private key of %zu bytes cannot be protected", key.size);
  int r = nx_crypto_init(err);
  if (r < 0 ||
      (r = entropy->fill(entropy->context, header.salt, sizeof header.salt, err)) < 0 ||
      (r = entropy->fill(entropy->context, header.nonce, sizeof header.nonce, err)) < 0 ||
      (r = derive(&header, passphrase, &secret, err)) < 0 ||
      (r = put_header(&file, &header, err)) < 0 ||
      (r = put_sealed(&file, &header, key, &secret, err)) < 0)
    return r;
  return nx_buffer_append(file_out, file.data, file.size, err);
}

static int unseal(const struct nx_key_header *header, const struct nx_secret *secret,
                  struct nx_key *key, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer sealed = {0};
  size_t n = header->sealed.size / 2, size;
  int r = nx_buffer_reserve(&sealed, n, err);
  if (r < 0 || (r = key_alloc(key, n - TAG, err)) < 0)
    return r;
  if (sodium_hex2bin(sealed.data, n, (const char *)header->sealed.data, 2 * n, NULL, &size, NULL) ||
      size != n)
    return damaged(err);
  return crypto_aead_xchacha20poly1305_ietf_decrypt(key->bytes, NULL, NULL, sealed.data, n,
                                                    header->associated.data,
                                                    header->associated.size, header->nonce,
                                                    secret->bytes)
             ? nx_fail(err, NX_E_DENIED, "the passphrase is wrong")
             : 0;
}

int nx_key_file_open(struct nx_bytes file, const struct nx_passphrase *passphrase,
                     struct nx_key *key_out, struct nx_error *err) {
  _cleanup_(nx_secret_wipe) struct nx_secret secret = {0};
  _cleanup_(nx_key_finish) struct nx_key key = {0};
  struct nx_key_header header;
  int r = nx_crypto_init(err);
  if (r < 0 || (r = nx_key_file_parse(file, &header, err)) < 0 ||
      (r = derive(&header, passphrase, &secret, err)) < 0 ||
      (r = unseal(&header, &secret, &key, err)) < 0)
    return r;
  *key_out = key;
  key.bytes = NULL;
  return 0;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int open_private(const char *path, int *fd_out, struct nx_error *err) {
  struct stat status;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open %s", path);
  if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_mode & 077) {
    close(fd);
    return nx_fail(err, NX_E_DENIED, "%s can be read by others (mode %03o): chmod 600 it", path,
                   (unsigned)status.st_mode & 0777);
  }
  *fd_out = fd;
  return 0;
}

/* The file's bytes in guarded memory, whatever they are. */
static int read_guarded(const char *path, struct nx_key *file, struct nx_error *err) {
  _cleanup_fd_ int fd = -1;
  int r = open_private(path, &fd, err);
  if (r < 0 || (r = key_alloc(file, NX_KEY_FILE_CAP + 1, err)) < 0)
    return r;
  for (file->size = 0; file->size <= NX_KEY_FILE_CAP;) {
    ssize_t n = read(fd, file->bytes + file->size, NX_KEY_FILE_CAP + 1 - file->size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read %s", path);
    if (n == 0)
      return 0;
    file->size += (size_t)n;
  }
  return nx_fail(err, NX_E_LIMIT, "%s: no private key has more than %zu bytes", path,
                 NX_KEY_FILE_CAP);
}

static int open_read(const char *path, struct nx_bytes file, struct nx_unlock *unlock,
                     struct nx_key *key_out, struct nx_error *err) {
  struct nx_key_header header;
  int r = nx_key_file_parse(file, &header, err); /* before anybody is asked for anything */
  if (r == 0 && !unlock)
    r = nx_fail(err, NX_E_DENIED, "it is under a passphrase");
  if (r < 0 || (r = nx_unlock_find(unlock, path, err)) < 0)
    return r;
  return nx_key_file_open(file, unlock->passphrase, key_out, err);
}

int nx_key_file_read(const char *path, struct nx_unlock *unlock, struct nx_key *key_out,
                     struct nx_error *err) {
  _cleanup_(nx_key_finish) struct nx_key file = {0};
  int r = read_guarded(path, &file, err);
  if (r < 0)
    return r;
  if (nx_key_file_is_protected(nx_bytes(file.bytes, file.size))) {
    r = open_read(path, nx_bytes(file.bytes, file.size), unlock, key_out, err);
    return r < 0 ? nx_error_prefix(err, r, "%s", path) : 0;
  }
  *key_out = file;
  file.bytes = NULL;
  return 0;
}

int nx_key_file_read_buffer(const char *path, struct nx_unlock *unlock, struct nx_buffer *out,
                            struct nx_error *err) {
  _cleanup_(nx_key_finish) struct nx_key key = {0};
  int r = nx_key_file_read(path, unlock, &key, err);
  return r < 0 ? r : nx_buffer_append(out, key.bytes, key.size, err);
}

int nx_key_file_create(const char *path, struct nx_bytes key,
                       const struct nx_passphrase *passphrase, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  if (!passphrase)
    return nx_file_create(path, key, 0600, err);
  int r = nx_key_file_protect(key, passphrase, &nx_key_cost_usual, &nx_entropy_system, &file, err);
  return r < 0 ? r : nx_file_create(path, nx_buffer_view(&file), 0600, err);
}

bool nx_key_file_at_is_protected(const char *path) {
  uint8_t start[sizeof MAGIC - 1];
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  return fd >= 0 && read(fd, start, sizeof start) == (ssize_t)sizeof start &&
         nx_key_file_is_protected(nx_bytes(start, sizeof start));
}
