/* Codec of session.proto: the stream between a node and its coordinator.
 *
 * Decoders copy into the caller's arena and return views valid until it is reset; what is
 * out of range or of the wrong length is NX_E_PROTOCOL, what is too large NX_E_LIMIT, and
 * unknown fields are ignored. Encoders append to a buffer and refuse (NX_E_INVALID) what a
 * decoder would not accept. Any thread. */
#pragma once

#include "common/arena.h"
#include "common/bytes.h"
#include "crypto/hash.h"
#include "crypto/sign.h"
#include "crypto/transcript.h"
#include "proto/codec/methods.h"

#define NX_MANIFEST_CAP ((size_t)1 << 20)
#define NX_NOTICE_SIZE 512
#define NX_SESSION_ARENA ((size_t)40 << 20) /* cap of an arena that decodes any message */

enum nx_session_kind {
  NX_SESSION_KIND_HELLO = 1, /* up */
  NX_SESSION_KIND_WELCOME,   /* down */
  NX_SESSION_KIND_SIGNED,    /* both: an encoded SignedMessage (codec_round.h), not looked into */
  NX_SESSION_KIND_HEARTBEAT, /* both */
  NX_SESSION_KIND_NOTICE     /* both */
};

/* The newest protocol that this program and another, which speaks oldest … newest, both know; 0:
 * there is none. `newest` 0 is the other's way to say that `oldest` is its only one. */
uint32_t nx_protocol_agree(uint32_t oldest, uint32_t newest);

/* When there is no protocol that both speak nothing but these numbers and `software` is looked at
 * or filled, so that the receiver can say which program is too old. */
struct nx_hello {
  uint32_t protocol; /* the oldest that the node speaks */
  uint32_t newest;   /* 0: no other */
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  char software[NX_SOFTWARE_SIZE];
  uint64_t last_sealed; /* round, 0: none */
  struct nx_hash model; /* zero: none */
  uint32_t hears;       /* NX_HEARS_… of codec_site.h */
};

struct nx_welcome {
  uint32_t protocol; /* spoken from here on */
  char software[NX_SOFTWARE_SIZE];
  struct nx_bytes manifest; /* exact bytes; empty while members are still invited */
  struct nx_signature manifest_signature;
  struct nx_bytes manifest_chain; /* manifest_chain.h; empty while the founders are the members */
  uint64_t last_sealed;           /* round of the federation, 0: none */
  struct nx_hash model;           /* after it; zero: none */
  uint32_t hears;                 /* NX_HEARS_… */
  struct nx_hash plan;            /* SHA-256 of the plan's bytes, to fetch as a blob; zero: none */
  uint64_t first_round;           /* of the run of that plan; 0: none */
  const struct nx_bytes *sealed;  /* encoded SignedMessages of type M11 about last_sealed */
  size_t n_sealed;                /* at most 255 */
};

struct nx_heartbeat {
  uint64_t number; /* counts from 1 on each stream and side */
  uint64_t round;  /* what the sender works on, 0: nothing */
  uint32_t attempt;
  uint64_t done, total; /* of that work: done <= total */
};

enum nx_notice_kind {
  NX_NOTICE_INFO = 1,
  NX_NOTICE_WARNING = 2,
  NX_NOTICE_PAUSED = 3,  /* by the operator */
  NX_NOTICE_STOPPED = 4, /* the run is over */
  NX_NOTICE_DRAINING = 5 /* the coordinator restarts: come back */
};

struct nx_notice {
  uint32_t kind;
  char text[NX_NOTICE_SIZE]; /* for people; decides nothing */
  struct nx_hash asks;       /* do your data meet what this plan requires? zero: nothing */
  struct nx_hash heard;      /* of a SignedMessage that is on disk now; zero: none */
};

struct nx_session_message {
  enum nx_session_kind kind;
  union {
    struct nx_hello hello;
    struct nx_welcome welcome;
    struct nx_bytes signed_message; /* 1..NX_SIGNED_CAP bytes */
    struct nx_heartbeat heartbeat;
    struct nx_notice notice;
  };
};

int nx_session_up_encode(const struct nx_session_message *message, struct nx_buffer *out,
                         struct nx_error *err);
int nx_session_up_decode(struct nx_bytes bytes, struct nx_arena *arena,
                         struct nx_session_message *out, struct nx_error *err);
int nx_session_down_encode(const struct nx_session_message *message, struct nx_buffer *out,
                           struct nx_error *err);
int nx_session_down_decode(struct nx_bytes bytes, struct nx_arena *arena,
                           struct nx_session_message *out, struct nx_error *err);
