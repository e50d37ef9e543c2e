/* What the codecs of round.proto share: fields, and lists of members inside messages,
 * between protobuf-c and plain structs. Private to proto/codec. Setters point into their
 * argument and hold at most NX_MEMBERS_MAX. */
#pragma once

#include "proto/codec/codec_round.h"
#include "proto/codec/codec_support.h"
#include "round.pb-c.h"

/* nx_codec_unpack() into *(message **)message_out. */
int nx_wire_unpack(const ProtobufCMessageDescriptor *descriptor, const char *name,
                   struct nx_bytes bytes, size_t cap, struct nx_arena *arena, void *message_out,
                   struct nx_error *err);
/* n * size zeroed bytes into *(type **)array_out, never NULL for n = 0; NX_E_NOMEM. */
int nx_wire_array(struct nx_arena *arena, size_t n, size_t size, void *array_out,
                  struct nx_error *err);
/* 1..255 and above *last, which it then becomes; else NX_E_PROTOCOL. */
int nx_wire_next_id(const char *name, uint32_t id, uint32_t *last, struct nx_error *err);
/* A peer's sentence, cut to its buffer, control characters replaced: it may end in a log. */
void nx_wire_sentence(const char *text, char *out, size_t size);

static inline ProtobufCBinaryData nx_wire_hash(const struct nx_hash *hash) {
  return nx_codec_field(hash->bytes, sizeof hash->bytes);
}

struct nx_wire_bodies {
  Neurox__V1__SignedBody items[NX_MEMBERS_MAX], *pointers[NX_MEMBERS_MAX];
};
void nx_wire_bodies_set(struct nx_wire_bodies *list, const struct nx_signed_body *bodies, size_t n);
int nx_wire_bodies_get(const char *name, Neurox__V1__SignedBody **wire, size_t n,
                       struct nx_arena *arena, const struct nx_signed_body **bodies_out,
                       struct nx_error *err);

struct nx_wire_boxes {
  Neurox__V1__ShareBox items[NX_MEMBERS_MAX], *pointers[NX_MEMBERS_MAX];
};
void nx_wire_boxes_set(struct nx_wire_boxes *list, const struct nx_share_box *boxes, size_t n);
int nx_wire_boxes_get(const char *name, Neurox__V1__ShareBox **wire, size_t n,
                      struct nx_arena *arena, const struct nx_share_box **boxes_out,
                      struct nx_error *err);

struct nx_wire_released {
  Neurox__V1__Released items[NX_MEMBERS_MAX], *pointers[NX_MEMBERS_MAX];
};
void nx_wire_released_set(struct nx_wire_released *list, const struct nx_released *released,
                          size_t n);
int nx_wire_released_get(const char *name, Neurox__V1__Released **wire, size_t n,
                         struct nx_arena *arena, const struct nx_released **released_out,
                         struct nx_error *err);
