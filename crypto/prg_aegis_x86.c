/* AEGIS-256 keystream and the addition in one pass, with AES instructions. Two registers hold
 * one block of two keystreams (AES-NI) or of four (VAES): their states fill twelve of the sixteen
 * registers and cover the latency of the AES units. Compiled once for each, with its own
 * flags, and called only where the processor has them. */
#include <immintrin.h>
#include <string.h>

#include "crypto/aegis256.h"
#include "crypto/prg_aegis.h"
#include "crypto/prg_cpu.h"

#define INLINE __attribute__((always_inline)) static inline

#ifdef NX_AEGIS_VAES
#define WIDE 2 /* blocks a register */
typedef __m256i reg;
#define AES(a, b) _mm256_aesenc_epi128(a, b)
#define XOR(a, b) _mm256_xor_si256(a, b)
#define AND(a, b) _mm256_and_si256(a, b)
#define ADD(bits, a, b) _mm256_add_epi##bits(a, b)
#define SUB(bits, a, b) _mm256_sub_epi##bits(a, b)
#define LOAD(p) _mm256_loadu_si256((const reg *)(const void *)(p))
#define STORE(p, a) _mm256_storeu_si256((reg *)(void *)(p), a)
#define ALL(p) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define CLEAR() _mm256_zeroall()
#else
#define WIDE 1
typedef __m128i reg;
#define AES(a, b) _mm_aesenc_si128(a, b)
#define XOR(a, b) _mm_xor_si128(a, b)
#define AND(a, b) _mm_and_si128(a, b)
#define ADD(bits, a, b) _mm_add_epi##bits(a, b)
#define SUB(bits, a, b) _mm_sub_epi##bits(a, b)
#define LOAD(p) _mm_loadu_si128((const reg *)(const void *)(p))
#define STORE(p, a) _mm_storeu_si128((reg *)(void *)(p), a)
#define ALL(p) LOAD(p)
#define CLEAR() ((void)0)
#endif

struct state { /* of WIDE keystreams */
  reg s[NX_AEGIS_STATES];
};

/* Without a message, as here, S'0 is AESRound(S5, S0). */
INLINE void update(struct state *a) {
  const reg last = a->s[5];
#pragma GCC unroll 5
  for (int i = 5; i > 0; i--)
    a->s[i] = AES(a->s[i - 1], a->s[i]);
  a->s[0] = AES(last, a->s[0]);
}

INLINE void absorb(struct state *a, reg message) {
  update(a);
  a->s[0] = XOR(a->s[0], message); /* AESRound(S5, S0 ^ M) is AESRound(S5, S0) ^ M */
}

INLINE reg keystream_of(const struct state *a) {
  return XOR(XOR(a->s[1], a->s[4]), XOR(a->s[5], AND(a->s[2], a->s[3])));
}

/* The nonces' halves of keystreams lane.. */
static void nonces(const struct nx_aegis_stretch *s, uint64_t lane, reg *n0, reg *n1) {
  uint64_t first[2 * WIDE], second[2 * WIDE];
  for (uint64_t i = 0; i < WIDE; i++) {
    first[2 * i] = s->stream, first[2 * i + 1] = s->segment;
    second[2 * i] = lane + i, second[2 * i + 1] = 0;
  }
  *n0 = LOAD(first);
  *n1 = LOAD(second);
}

static void begin(struct state *a, const struct nx_aegis_stretch *s, uint64_t lane) {
  const reg k0 = ALL(s->key), k1 = ALL(s->key + NX_AEGIS_BLOCK);
  const reg c0 = ALL(nx_aegis_c0), c1 = ALL(nx_aegis_c1);
  reg n0, n1;
  nonces(s, lane, &n0, &n1);
  n0 = XOR(k0, n0), n1 = XOR(k1, n1);
  *a = (struct state){{n0, n1, c1, c0, XOR(k0, c0), XOR(k1, c1)}};
  for (int i = 0; i < 4; i++) {
    absorb(a, k0);
    absorb(a, k1);
    absorb(a, n0);
    absorb(a, n1);
  }
}

INLINE void add(uint8_t *lanes, reg keystream, enum nx_prg_lanes width, bool subtract) {
  reg old = LOAD(lanes);
  if (width == NX_PRG_U64)
    old = subtract ? SUB(64, old, keystream) : ADD(64, old, keystream);
  else if (width == NX_PRG_U16)
    old = subtract ? SUB(16, old, keystream) : ADD(16, old, keystream);
  else
    old = subtract ? SUB(32, old, keystream) : ADD(32, old, keystream);
  STORE(lanes, old);
}

/* The keystreams lane.. of two registers, through the whole stretch. */
INLINE void run(const struct nx_aegis_stretch *s, uint64_t lane, enum nx_prg_lanes width,
                bool subtract) {
  struct state begun[2];
  const uint8_t *ahead = lane ? s->ahead_end : s->ahead;
  begin(&begun[0], s, lane);
  begin(&begun[1], s, lane + WIDE);
  struct state a = begun[0], b = begun[1]; /* from here on in registers alone */
  explicit_bzero(begun, sizeof begun);
  uint8_t *at = s->lanes + NX_AEGIS_BLOCK * lane, *end = at + s->size;
  for (; at < end; at += NX_AEGIS_STEP) {
    if (ahead < s->ahead_end) {
      _mm_prefetch((const char *)ahead, _MM_HINT_T1);
      ahead += NX_AEGIS_STEP;
    }
    add(at, keystream_of(&a), width, subtract);
    add(at + NX_AEGIS_BLOCK * WIDE, keystream_of(&b), width, subtract);
    update(&a);
    update(&b);
  }
  CLEAR();
}

INLINE void run_all(const struct nx_aegis_stretch *s, enum nx_prg_lanes width, bool subtract) {
  for (uint64_t lane = 0; lane < NX_AEGIS_LANES; lane += 2 * WIDE)
    run(s, lane, width, subtract);
}

static void engine(const struct nx_aegis_stretch *s) {
  if (s->width == NX_PRG_U64)
    s->subtract ? run_all(s, NX_PRG_U64, true) : run_all(s, NX_PRG_U64, false);
  else if (s->width == NX_PRG_U16)
    s->subtract ? run_all(s, NX_PRG_U16, true) : run_all(s, NX_PRG_U16, false);
  else
    s->subtract ? run_all(s, NX_PRG_U32, true) : run_all(s, NX_PRG_U32, false);
}

static bool apply(void *workspace, const struct nx_prg_call *call) {
  return nx_prg_aegis(engine, workspace, call);
}

#ifdef NX_AEGIS_VAES
const struct nx_prg_kernel nx_prg_aegis_vaes256 = {
    "aegis-vaes256", nx_cpu_has_vaes_and_avx2,
#else
const struct nx_prg_kernel nx_prg_aegis_aesni = {
    "aegis-aesni",   nx_cpu_has_aes,
#endif
    nx_prg_keep_key, nx_prg_aegis_workspace,   nx_prg_aegis_workspace_free, apply,
};
