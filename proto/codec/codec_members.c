#include "proto/codec/codec_members.h"

#include <assert.h>
#include <string.h>

int nx_wire_unpack(const ProtobufCMessageDescriptor *descriptor, const char *name,
                   struct nx_bytes bytes, size_t cap, struct nx_arena *arena, void *message_out,
                   struct nx_error *err) {
  return nx_codec_unpack(descriptor, bytes, cap, arena, name, message_out, err);
}

int nx_wire_array(struct nx_arena *arena, size_t n, size_t size, void *array_out,
                  struct nx_error *err) {
  void *array = nx_arena_alloc(arena, n ? n : 1, size);
  if (!array)
    return nx_fail(err, NX_E_NOMEM, "no room for a list of %zu", n);
  *(void **)array_out = array;
  return 0;
}

int nx_wire_next_id(const char *name, uint32_t id, uint32_t *last, struct nx_error *err) {
  if (id > 255 || id <= *last)
    return nx_fail(err, NX_E_PROTOCOL,
                   "%s: member %u after %u; ids are 1..255, ascending, none twice", name, id,
                   *last);
  *last = id;
  return 0;
}

void nx_wire_sentence(const char *text, char *out, size_t size) {
  size_t n = strnlen(text, size - 1);
  for (size_t i = 0; i < n; i++)
    out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
  out[n] = 0;
}

void nx_wire_bodies_set(struct nx_wire_bodies *list, const struct nx_signed_body *bodies,
                        size_t n) {
  assert(n <= NX_MEMBERS_MAX);
  for (size_t i = 0; i < n; i++) {
    Neurox__V1__SignedBody *item = list->pointers[i] = &list->items[i];
    neurox__v1__signed_body__init(item);
    item->id = bodies[i].id;
    item->body = nx_codec_field(bodies[i].body.data, bodies[i].body.size);
    item->signature = nx_codec_field(bodies[i].signature.bytes, sizeof bodies[i].signature.bytes);
  }
}

int nx_wire_bodies_get(const char *name, Neurox__V1__SignedBody **wire, size_t n,
                       struct nx_arena *arena, const struct nx_signed_body **bodies_out,
                       struct nx_error *err) {
  struct nx_signed_body *bodies;
  uint32_t last = 0;
  int r = nx_wire_array(arena, n, sizeof *bodies, &bodies, err);
  for (size_t i = 0; i < n && r >= 0; i++) {
    bodies[i].id = wire[i]->id;
    bodies[i].body = nx_bytes(wire[i]->body.data, wire[i]->body.len);
    if ((r = nx_wire_next_id(name, wire[i]->id, &last, err)) >= 0)
      r = nx_codec_fixed(wire[i]->signature, bodies[i].signature.bytes,
                         sizeof bodies[i].signature.bytes, name, err);
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
    item->box = nx_codec_field(boxes[i].bytes, sizeof boxes[i].bytes);
  }
}

int nx_wire_boxes_get(const char *name, Neurox__V1__ShareBox **wire, size_t n,
                      struct nx_arena *arena, const struct nx_share_box **boxes_out,
                      struct nx_error *err) {
  struct nx_share_box *boxes;
  uint32_t last = 0;
  int r = nx_wire_array(arena, n, sizeof *boxes, &boxes, err);
  for (size_t i = 0; i < n && r >= 0; i++) {
    boxes[i].id = wire[i]->id;
    if ((r = nx_wire_next_id(name, wire[i]->id, &last, err)) >= 0)
      r = nx_codec_fixed(wire[i]->box, boxes[i].bytes, sizeof boxes[i].bytes, name, err);
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
    item->secret = nx_codec_field(released[i].secret.bytes, sizeof released[i].secret.bytes);
  }
}

int nx_wire_released_get(const char *name, Neurox__V1__Released **wire, size_t n,
                         struct nx_arena *arena, const struct nx_released **released_out,
                         struct nx_error *err) {
  struct nx_released *released;
  uint32_t last = 0;
  int r = nx_wire_array(arena, n, sizeof *released, &released, err);
  for (size_t i = 0; i < n && r >= 0; i++) {
    released[i].id = wire[i]->id;
    if ((r = nx_wire_next_id(name, wire[i]->id, &last, err)) >= 0)
      r = nx_codec_fixed(wire[i]->secret, released[i].secret.bytes, sizeof released[i].secret.bytes,
                         name, err);
  }
  *released_out = released;
  return r;
}
