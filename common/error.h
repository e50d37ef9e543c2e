/* Error: what went wrong, where, and (in the text) what to do about it.
 *
 * Every fallible function returns int: 0, or a negative NX_E_* that the caller
 * forwards, or a documented positive outcome that the caller handles. The last
 * parameter is a struct nx_error, which may be NULL. Each layer adds its words in
 * front: "upload update: read chunk 7: short read".
 * Texts never hold secrets, samples or subject names. */
#pragma once

#include <stddef.h>

enum nx_code {
  NX_E_INVALID = -1,     /* an argument, option or config value is wrong */
  NX_E_NOMEM = -2,       /* allocation failed */
  NX_E_IO = -3,          /* a system call on a file or socket failed */
  NX_E_FORMAT = -4,      /* bytes of a file are not what the format says */
  NX_E_CRYPTO = -5,      /* a signature, tag, key or commitment does not verify */
  NX_E_PROTOCOL = -6,    /* a peer broke the protocol */
  NX_E_PEER = -7,        /* a peer cannot be reached or went away */
  NX_E_TIMEOUT = -8,     /* a deadline passed */
  NX_E_DENIED = -9,      /* refused by policy, role or permission */
  NX_E_NOT_FOUND = -10,  /* there is no such thing */
  NX_E_EXISTS = -11,     /* there is such a thing already */
  NX_E_STATE = -12,      /* not now: the state does not allow it */
  NX_E_LIMIT = -13,      /* a cap would be exceeded */
  NX_E_CANCELLED = -14,  /* the caller or an operator asked to stop */
  NX_E_UNSUPPORTED = -15 /* valid, but not handled here */
};

#define NX_ERROR_TEXT_SIZE 512

struct nx_error {
  int code;                      /* 0 while nothing went wrong */
  const char *origin;            /* "file.c:123" of the first nx_fail() */
  char text[NX_ERROR_TEXT_SIZE]; /* one line, for a person */
};

#define NX_STRING_(x) #x
#define NX_STRING(x) NX_STRING_(x)
#define NX_HERE __FILE__ ":" NX_STRING(__LINE__)

/* Fills err (if any) and returns code: return nx_fail(err, NX_E_IO, "…", …); */
#define nx_fail(err, code, ...) nx_error_set((err), NX_HERE, (code), __VA_ARGS__)

int nx_error_set(struct nx_error *err, const char *origin, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Like nx_fail() with ": " and the words for an errno value behind the text.
 * ENOMEM, EACCES/EPERM, ENOENT and EEXIST choose their own code, all else NX_E_IO. */
#define nx_fail_errno(err, errno_value, ...)                                                       \
  nx_error_set_errno((err), NX_HERE, (errno_value), __VA_ARGS__)

int nx_error_set_errno(struct nx_error *err, const char *origin, int errno_value,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Puts "text: " in front and returns err->code, or code when err is NULL. */
int nx_error_prefix(struct nx_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "denied", "i/o error", …; never NULL. */
const char *nx_code_name(int code);
