/* PRG: keystream added to lanes; what crypto/mask.c chooses among. Internal.
 *
 * A position is (stream, byte). AES-256-CTR: IV = stream in the high 64 bits, byte / 16 in the
 * low 64 bits, big-endian. AEGIS-256: crypto/prg_aegis.h. Positions and sizes are multiples of the
 * lane width, and of 4. */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "crypto/secret.h"

/* 15 round keys, the first two being the key itself; EVP and AEGIS keep no more than these. */
#define NX_PRG_SCHEDULE_SIZE 240

enum nx_prg_lanes { NX_PRG_U16, NX_PRG_U32, NX_PRG_U64 };

struct nx_prg_call {
  const uint8_t *schedule; /* unaligned */
  uint64_t stream, byte;
  void *lanes; /* unaligned, little-endian */
  size_t size; /* bytes */
  enum nx_prg_lanes width;
  bool subtract;
  /* Wanted in the cache soon: a kernel may fetch it meanwhile, since AES leaves memory idle. */
  const uint8_t *ahead; /* NULL for nothing */
  size_t ahead_size;
};

/* For kernels that keep the key alone. */
static inline void nx_prg_keep_key(const struct nx_secret *key,
                                   uint8_t schedule[NX_PRG_SCHEDULE_SIZE]) {
  memcpy(schedule, key->bytes, NX_SECRET_SIZE);
}

struct nx_prg_kernel {
  const char *name;
  bool (*usable)(void);
  void (*expand)(const struct nx_secret *key, uint8_t schedule[NX_PRG_SCHEDULE_SIZE]);
  /* One thread's workspace, NULL when the kernel needs none (then create is NULL). */
  void *(*create_workspace)(void);
  void (*destroy_workspace)(void *workspace);
  bool (*apply)(void *workspace, const struct nx_prg_call *call);
};

extern const struct nx_prg_kernel nx_prg_evp;
extern const struct nx_prg_kernel nx_prg_vaes256, nx_prg_vaes512; /* x86-64 builds only */
extern const struct nx_prg_kernel nx_prg_aegis_plain;
extern const struct nx_prg_kernel nx_prg_aegis_aesni, nx_prg_aegis_vaes256; /* x86-64 builds only */
