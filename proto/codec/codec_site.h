/* Codec of site.proto: what a site says about itself, as bodies of SignedMessages. Rules as in
 * codec_session.h. Plain data; a set of requirements is a word of bits, 1u << requirement. */
#pragma once

#include <stdbool.h>

#include "common/arena.h"
#include "common/bytes.h"
#include "common/plan_requires.h"
#include "crypto/hash.h"
#include "crypto/transcript.h"

#define NX_SITE_MESSAGE_CAP ((size_t)256 << 10)
#define NX_WITHDRAWN_MODELS 4096 /* of one message */

/* In Hello and Welcome: what the sender hears. */
#define NX_HEARS_SITES 1u /* a node: Notice.asks; a coordinator: the messages of site.proto */

/* Between a set and a list on the wire, ascending. NX_E_PROTOCOL: it does not ascend. */
size_t nx_requirements_list(uint32_t set, uint32_t list_out[NX_REQUIREMENTS]);
int nx_requirements_set(const uint32_t *list, size_t n, uint32_t *set_out, struct nx_error *err);

enum nx_fit_verdict {
  NX_FIT_YES = 1,
  NX_FIT_NO = 2,
  NX_FIT_UNSAID = 3 /* this site does not answer */
};

struct nx_fit_message {
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_hash plan;
  int64_t at; /* Unix ns */
  enum nx_fit_verdict verdict;
  uint32_t met, unmet; /* sets; both empty when unsaid, unmet exactly when the verdict is no */
  bool counted;
  uint32_t subjects, recordings; /* lower edges of buckets, 0 unless counted */
};

/* The lower edge of the bucket of n: 0 (fewer than 5), 5, 10, 20, 50, 100, 200 … */
uint32_t nx_fit_bucket(size_t n);
/* "fewer than 5", "5 or more", …: a bucket by its edge. */
void nx_fit_bucket_tell(uint32_t edge, char out[24]);

int nx_fit_message_encode(const struct nx_fit_message *m, struct nx_buffer *out,
                          struct nx_error *err);
/* Counts that are no edge of a bucket are refused: nobody may send more than was agreed. */
int nx_fit_message_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_fit_message *out,
                          struct nx_error *err);

struct nx_withdrawn_message {
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  int64_t at;
  const struct nx_hash *models; /* [n], 1 .. NX_WITHDRAWN_MODELS; decoded: in the arena */
  size_t n;
};
int nx_withdrawn_message_encode(const struct nx_withdrawn_message *m, struct nx_buffer *out,
                                struct nx_error *err);
int nx_withdrawn_message_decode(struct nx_bytes bytes, struct nx_arena *arena,
                                struct nx_withdrawn_message *out, struct nx_error *err);
