/* Lists of members inside messages, between protobuf-c and plain structs. Private to
 * proto/codec. Setters point into their argument and hold at most NX_MEMBERS_MAX. */
#pragma once

#include "round.pb-c.h"
#include "proto/codec/codec_round.h"

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
