#include "crypto/mask.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "crypto/lane_kernels.h"
#include "crypto/prg.h"

#define TILE_BYTES (4 * NX_MASK_TILE) /* a kernel's work for each key of a tile counts little */
#define NARROW_BITS 16
#define BLOCK_TILES 4 /* one task of the pool: balances two threads at 10^6 lanes */

struct entry {
  uint8_t schedule[NX_PRG_SCHEDULE_SIZE];
  uint64_t subtract;
};

struct nx_mask {
  const struct nx_prg_kernel *kernel;
  struct nx_mask_form form;
  size_t capacity, n;
  struct entry entries[];
};

#define CIPHERS 2
#define KERNELS 3 /* at most, of a cipher; the fastest first, the last runs everywhere */

static const struct nx_prg_kernel *const kernels[CIPHERS][KERNELS] = {
#ifdef NX_HAVE_PRG_X86
    {&nx_prg_vaes512, &nx_prg_vaes256, &nx_prg_evp},
    {&nx_prg_aegis_vaes256, &nx_prg_aegis_aesni, &nx_prg_aegis_plain},
#else
    {&nx_prg_evp},
    {&nx_prg_aegis_plain},
#endif
};
static _Atomic(const struct nx_prg_kernel *) chosen[CIPHERS];
static pthread_once_t choose_once = PTHREAD_ONCE_INIT;

static const struct nx_prg_kernel *find_kernel(const char *name, size_t cipher) {
  const bool any = !strcmp(name, "auto");
  for (size_t i = 0; i < KERNELS && kernels[cipher][i]; i++)
    if ((any || !strcmp(name, kernels[cipher][i]->name)) && kernels[cipher][i]->usable())
      return kernels[cipher][i];
  return NULL;
}

static void choose(void) {
  const char *wish = getenv("NEUROX_MASK_KERNEL");
  for (size_t cipher = 0; cipher < CIPHERS; cipher++) {
    const struct nx_prg_kernel *kernel = wish ? find_kernel(wish, cipher) : NULL;
    atomic_store(&chosen[cipher], kernel ? kernel : find_kernel("auto", cipher));
  }
}

static const struct nx_prg_kernel *current_kernel(enum nx_mask_cipher cipher) {
  pthread_once(&choose_once, choose);
  return atomic_load(&chosen[cipher]);
}

const char *nx_mask_kernel(enum nx_mask_cipher cipher) {
  return current_kernel(cipher)->name;
}

int nx_mask_kernel_select(const char *name, struct nx_error *err) {
  bool found = false;
  pthread_once(&choose_once, choose);
  for (size_t cipher = 0; cipher < CIPHERS; cipher++) {
    const struct nx_prg_kernel *kernel = find_kernel(name, cipher);
    if (kernel)
      atomic_store(&chosen[cipher], kernel);
    found |= kernel != NULL;
  }
  return found ? 0
               : nx_fail(err, NX_E_UNSUPPORTED,
                         "mask kernel \"%s\" is not to be had on this machine: use auto, evp or "
                         "aegis-plain",
                         name);
}

int nx_mask_create(size_t capacity, struct nx_mask_form form, struct nx_mask **mask_out,
                   struct nx_error *err) {
  size_t size;
  if (form.keystream_bits != NARROW_BITS && form.keystream_bits != 32)
    return nx_fail(err, NX_E_INVALID, "keystream_bits %u: use 16 or 32", form.keystream_bits);
  if ((unsigned)form.cipher >= CIPHERS)
    return nx_fail(err, NX_E_INVALID, "there is no mask cipher %u", (unsigned)form.cipher);
  if (!nx_size_mul(capacity, sizeof(struct entry), &size) ||
      !nx_size_add(size, sizeof(struct nx_mask), &size))
    return nx_fail(err, NX_E_LIMIT, "a mask of %zu keys", capacity);
  struct nx_mask *mask = nx_secret_alloc_bytes(size);
  if (!mask)
    return nx_fail(err, NX_E_NOMEM, "out of guarded memory for a mask of %zu keys", capacity);
  mask->kernel = current_kernel(form.cipher);
  mask->form = form;
  mask->capacity = capacity;
  *mask_out = mask;
  return 0;
}

void nx_mask_destroy(struct nx_mask *mask) {
  nx_secret_free(mask);
}

struct nx_mask_form nx_mask_form(const struct nx_mask *mask) {
  return mask->form;
}

size_t nx_mask_keys(const struct nx_mask *mask) {
  return mask->n;
}

static void set_entry(const struct nx_mask *mask, struct entry *entry, const struct nx_secret *key,
                      bool subtract) {
  mask->kernel->expand(key, entry->schedule);
  entry->subtract = subtract;
}

int nx_mask_add_key(struct nx_mask *mask, const struct nx_secret *key, bool subtract,
                    struct nx_error *err) {
  if (mask->n == mask->capacity)
    return nx_fail(err, NX_E_LIMIT, "the mask has all of its %zu keys", mask->capacity);
  set_entry(mask, &mask->entries[mask->n++], key, subtract);
  return 0;
}

/* The first two round keys of AES-256 are the key itself (FIPS 197, 5.2); AEGIS keeps nothing else.
 */
void nx_mask_get_key(const struct nx_mask *mask, size_t index, struct nx_secret *key_out,
                     bool *subtract_out) {
  memcpy(key_out->bytes, mask->entries[index].schedule, NX_SECRET_SIZE);
  *subtract_out = mask->entries[index].subtract != 0;
}

static int add_self(struct nx_mask *mask, const struct nx_hash *t2, uint32_t id,
                    const struct nx_secret *b, bool subtract, struct nx_error *err) {
  _cleanup_(nx_secret_wipe) struct nx_secret key;
  int r = nx_self_key(b, t2, id, &key, err);
  if (r == 0)
    r = nx_mask_add_key(mask, &key, subtract, err);
  return r < 0 ? nx_error_prefix(err, r, "self mask of member %u", id) : 0;
}

static int derive_pair(const struct nx_hash *t2, uint32_t a, const struct nx_secret *secret,
                       uint32_t b, const struct nx_point *point, struct nx_secret *key_out,
                       struct nx_error *err) {
  _cleanup_(nx_secret_wipe) struct nx_secret shared;
  int r = nx_agreement_shared(secret, point, &shared, err);
  if (r == 0)
    r = nx_pair_key(&shared, t2, a, b, key_out, err);
  return r < 0 ? nx_error_prefix(err, r, "pair mask of members %u and %u", a, b) : 0;
}

static int add_pair(struct nx_mask *mask, const struct nx_hash *t2, uint32_t a,
                    const struct nx_secret *secret, uint32_t b, const struct nx_point *point,
                    bool subtract, struct nx_error *err) {
  _cleanup_(nx_secret_wipe) struct nx_secret key;
  int r = derive_pair(t2, a, secret, b, point, &key, err);
  return r < 0 ? r : nx_mask_add_key(mask, &key, subtract, err);
}

int nx_mask_add_self(struct nx_mask *mask, const struct nx_hash *t2, uint32_t id,
                     const struct nx_secret *b, struct nx_error *err) {
  return add_self(mask, t2, id, b, false, err);
}

int nx_mask_remove_self(struct nx_mask *mask, const struct nx_hash *t2, uint32_t id,
                        const struct nx_secret *b, struct nx_error *err) {
  return add_self(mask, t2, id, b, true, err);
}

/* Member u adds PRG(uv) for v > u and subtracts it for v < u. */
int nx_mask_add_pair(struct nx_mask *mask, const struct nx_hash *t2, uint32_t id,
                     const struct nx_secret *s_secret, uint32_t peer, const struct nx_point *s_peer,
                     struct nx_error *err) {
  return add_pair(mask, t2, id, s_secret, peer, s_peer, peer < id, err);
}

int nx_mask_remove_pair(struct nx_mask *mask, const struct nx_hash *t2, uint32_t survivor,
                        const struct nx_point *s_survivor, uint32_t dropped,
                        const struct nx_secret *s_dropped, struct nx_error *err) {
  return add_pair(mask, t2, dropped, s_dropped, survivor, s_survivor, dropped > survivor, err);
}

struct pairs_job {
  struct nx_mask *mask;
  const struct nx_hash *t2;
  const struct nx_mask_pair *pairs;
  _Atomic size_t bad; /* one more than the index of a pair that failed, or 0 */
};

static void remove_one_pair(void *context, size_t index, size_t worker) {
  struct pairs_job *job = context;
  const struct nx_mask_pair *p = &job->pairs[index];
  _cleanup_(nx_secret_wipe) struct nx_secret key;
  (void)worker;
  if (derive_pair(job->t2, p->dropped, p->s_dropped, p->survivor, p->s_survivor, &key, NULL) < 0)
    job->bad = index + 1;
  else
    set_entry(job->mask, &job->mask->entries[job->mask->n + index], &key, p->dropped > p->survivor);
}

int nx_mask_remove_pairs(struct nx_mask *mask, const struct nx_hash *t2,
                         const struct nx_mask_pair *pairs, size_t n, struct nx_pool *pool,
                         struct nx_error *err) {
  struct pairs_job job = {.mask = mask, .t2 = t2, .pairs = pairs};
  if (n > mask->capacity - mask->n)
    return nx_fail(err, NX_E_LIMIT, "the mask has room for %zu of %zu keys", mask->capacity, n);
  if (pool && n > 1)
    nx_pool_run(pool, n, remove_one_pair, &job);
  else
    for (size_t i = 0; i < n; i++)
      remove_one_pair(&job, i, 0);
  if (job.bad) {
    const struct nx_mask_pair *p = &pairs[job.bad - 1];
    _cleanup_(nx_secret_wipe) struct nx_secret key;
    return derive_pair(t2, p->dropped, p->s_dropped, p->survivor, p->s_survivor, &key, err);
  }
  mask->n += n;
  return 0;
}

struct job {
  const struct nx_mask *mask;
  uint8_t *lanes;
  uint64_t byte; /* position of lanes[0] in the stream */
  size_t size;   /* bytes */
  enum nx_prg_lanes width;
  const struct nx_mask_ahead *ahead; /* of a job of one tile, or NULL */
  void **workspaces;                 /* one a thread */
  _Atomic bool failed;
};

/* The first half of the keys fetches one stretch of what is wanted next, the others the second. */
static void set_ahead(struct nx_prg_call *call, const struct nx_mask_ahead *ahead, size_t key,
                      size_t n_keys) {
  size_t half = (n_keys + 1) / 2, which = key < half ? 0 : 1;
  size_t part = which ? key - half : key, n_parts = which ? n_keys - half : half;
  size_t begin = ahead->size[which] * part / n_parts;
  size_t end = ahead->size[which] * (part + 1) / n_parts;
  if (end == begin)
    return;
  call->ahead = (const uint8_t *)ahead->at[which] + begin;
  call->ahead_size = end - begin;
}

/* All keys over one tile, `byte` being where it is in their streams. */
static void apply_keys(struct job *job, uint8_t *lanes, size_t size, uint64_t byte, size_t worker) {
  for (size_t k = 0; k < job->mask->n; k++) {
    const struct entry *entry = &job->mask->entries[k];
    struct nx_prg_call call = {.schedule = entry->schedule,
                               .stream = job->width == NX_PRG_U64,
                               .byte = byte,
                               .lanes = lanes,
                               .size = size,
                               .width = job->width,
                               .subtract = entry->subtract != 0};
    if (job->ahead)
      set_ahead(&call, job->ahead, k, job->mask->n);
    if (!job->mask->kernel->apply(job->workspaces[worker], &call))
      atomic_store(&job->failed, true);
  }
}

/* Lanes that take 16 bits of keystream are masked as such, in a copy that begins and ends at a
 * multiple of four bytes of the stream. */
static void apply_narrowly(struct job *job, uint32_t *lanes, size_t n, uint64_t first,
                           size_t worker) {
  uint16_t narrow[NX_MASK_TILE + 2];
  const size_t skip = first % 2, all = (skip + n + 1) / 2 * 2;
  narrow[0] = narrow[all - 1] = 0;
  nx_lane_kernels()->pack(lanes, n, NARROW_BITS, (uint8_t *)(narrow + skip));
  apply_keys(job, (uint8_t *)narrow, 2 * all, 2 * (first - skip), worker);
  memset(lanes, 0, n * sizeof *lanes);
  nx_lane_kernels()->unpack_add((const uint8_t *)(narrow + skip), n, NARROW_BITS, lanes);
}

static void apply_block(void *context, size_t index, size_t worker) {
  struct job *job = context;
  size_t begin = index * BLOCK_TILES * TILE_BYTES;
  size_t end = NX_MIN(job->size, begin + BLOCK_TILES * TILE_BYTES);
  for (size_t at = begin; at < end; at += TILE_BYTES) {
    const size_t size = NX_MIN(TILE_BYTES, end - at);
    if (job->width == NX_PRG_U16)
      apply_narrowly(job, (uint32_t *)(void *)(job->lanes + at), size / 4, (job->byte + at) / 4,
                     worker);
    else
      apply_keys(job, job->lanes + at, size, job->byte + at, worker);
  }
}

static int create_workspaces(struct job *job, size_t n, struct nx_error *err) {
  const struct nx_prg_kernel *kernel = job->mask->kernel;
  for (size_t i = 0; kernel->create_workspace && i < n; i++)
    if (!(job->workspaces[i] = kernel->create_workspace()))
      return nx_fail(err, NX_E_NOMEM, "out of memory for a mask workspace");
  return 0;
}

static int run(struct job job, struct nx_pool *pool, struct nx_error *err) {
  const struct nx_mask *mask = job.mask;
  size_t n_blocks = (job.size + BLOCK_TILES * TILE_BYTES - 1) / (BLOCK_TILES * TILE_BYTES);
  size_t n_workers = pool && n_blocks > 1 ? nx_pool_threads(pool) : 1;
  void *one = NULL;
  _cleanup_free_ void **many = n_workers > 1 ? calloc(n_workers, sizeof *many) : NULL;
  job.workspaces = n_workers > 1 ? many : &one;
  if (!job.workspaces)
    return nx_fail(err, NX_E_NOMEM, "out of memory for %zu threads", n_workers);
  int r = create_workspaces(&job, n_workers, err);
  if (r == 0 && n_workers > 1)
    nx_pool_run(pool, n_blocks, apply_block, &job);
  else
    for (size_t i = 0; r == 0 && i < n_blocks; i++)
      apply_block(&job, i, 0);
  for (size_t i = 0; mask->kernel->destroy_workspace && i < n_workers; i++)
    mask->kernel->destroy_workspace(job.workspaces[i]);
  if (r == 0 && job.failed)
    r = nx_fail(err, NX_E_CRYPTO, "AES-256-CTR failed in OpenSSL");
  return r;
}

static struct job u32_job(const struct nx_mask *mask, uint32_t *lanes, uint64_t first, size_t n) {
  return (struct job){.mask = mask,
                      .lanes = (uint8_t *)lanes,
                      .byte = 4 * first,
                      .size = 4 * n,
                      .width = mask->form.keystream_bits == NARROW_BITS ? NX_PRG_U16 : NX_PRG_U32};
}

int nx_mask_apply_u32(const struct nx_mask *mask, uint32_t *lanes, uint64_t first, size_t n,
                      struct nx_pool *pool, struct nx_error *err) {
  return run(u32_job(mask, lanes, first, n), pool, err);
}

int nx_mask_apply_u64(const struct nx_mask *mask, uint64_t *lanes, uint64_t first, size_t n,
                      struct nx_pool *pool, struct nx_error *err) {
  return run((struct job){.mask = mask,
                          .lanes = (uint8_t *)lanes,
                          .byte = 8 * first,
                          .size = 8 * n,
                          .width = NX_PRG_U64},
             pool, err);
}

int nx_mask_apply_u32_ahead(const struct nx_mask *mask, uint32_t *lanes, uint64_t first, size_t n,
                            const struct nx_mask_ahead *ahead, struct nx_error *err) {
  struct job job = u32_job(mask, lanes, first, n);
  job.ahead = n <= NX_MASK_TILE ? ahead : NULL;
  return run(job, NULL, err);
}
