#include "proto/codec/codec_members.h"

#include <assert.h>

#include "proto/codec/codec_pack.h"

void nx_wire_bodies_set(struct nx_wire_bodies *list, const struct nx_signed_body *bodies,
                        size_t n) {
  assert(n <= NX_MEMBERS_MAX);
  for (size_t i = 0; i < n; i++) {
    Neurox__V1__SignedBody *item = list->pointers[i] = &list->items[i];
    neurox__v1__signed_body__init(item);
    item->id = bodies[i].id;
    item->body = nx_codec_data(bodies[i].body.data, bodies[i].body.size);
    item->signature = nx_codec_data(bodies[i].signature.bytes, sizeof bodies[i].signature.bytes);
  }
}

int nx_wire_bodies_get(const char *name, Neurox__V1__SignedBody **wire, size_t n,
                       struct nx_arena *arena, const struct nx_signed_body **bodies_out,
                       struct nx_error *err) {
  struct nx_signed_body *bodies;
  uint32_t last = 0;
  int r = nx_codec_array(arena, n, sizeof *bodies, &bodies, err);
  for (size_t i = 0; i < n && r >= 0; i++) {
    bodies[i].id = wire[i]->id;
    bodies[i].body = nx_bytes(wire[i]->body.data, wire[i]->body.len);
    if ((r = nx_codec_next_id(name, wire[i]->id, &last, err)) >= 0)
      r = nx_codec_fixed(name, "signature", wire[i]->signature, bodies[i].signature.bytes,
                         sizeof bodies[i].signature.bytes, err);
  }
  *bodies_out = bodies;
  return r;
}

void nx_wire_boxes_set(struct nx_wire_boxes *list, const struct nx_share_box *boxes, size_t n) {
  assert(n <= NX_MEMBERS_MAX);
  for (size_t i = 0; i < n; i++) {
    Neurox__V1__ShareBox *item = list->pointers[i] = &list->items[i];
    neurox__v1__share_box__init(item);
    item->id = boxes[i].id;
    item->box = nx_codec_data(boxes[i].bytes, sizeof boxes[i].bytes);
  }
}

int nx_wire_boxes_get(const char *name, Neurox__V1__ShareBox **wire, size_t n,
                      struct nx_arena *arena, const struct nx_share_box **boxes_out,
                      struct nx_error *err) {
  struct nx_share_box *boxes;
  uint32_t last = 0;
  int r = nx_codec_array(arena, n, sizeof *boxes, &boxes, err);
  for (size_t i = 0; i < n && r >= 0; i++) {
    boxes[i].id = wire[i]->id;
    if ((r = nx_codec_next_id(name, wire[i]->id, &last, err)) >= 0)
      r = nx_codec_fixed(name, "box", wire[i]->box, boxes[i].bytes, sizeof boxes[i].bytes, err);
  }
  *boxes_out = boxes;
  return r;
}

void nx_wire_released_set(struct nx_wire_released *list, const struct nx_released *released,
                          size_t n) {
  assert(n <= NX_MEMBERS_MAX);
  for (size_t i = 0; i < n; i++) {
    Neurox__V1__Released *item = list->pointers[i] = &list->items[i];
    neurox__v1__released__init(item);
    item->id = released[i].id;
    item->secret = nx_codec_data(released[i].secret.bytes, sizeof released[i].secret.bytes);
  }
}

int nx_wire_released_get(const char *name, Neurox__V1__Released **wire, size_t n,
                         struct nx_arena *arena, const struct nx_released **released_out,
                         struct nx_error *err) {
  struct nx_released *released;
  uint32_t last = 0;
  int r = nx_codec_array(arena, n, sizeof *released, &released, err);
  for (size_t i = 0; i < n && r >= 0; i++) {
    released[i].id = wire[i]->id;
    if ((r = nx_codec_next_id(name, wire[i]->id, &last, err)) >= 0)
      r = nx_codec_fixed(name, "secret", wire[i]->secret, released[i].secret.bytes,
                         sizeof released[i].secret.bytes, err);
  }
  *released_out = released;
  return r;
}
