#include "node/policy/preview.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "proto/codec/codec_model.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_session.h"

struct preview {
  const struct nx_preview_round *round;
  struct nx_identity *nobody;
  struct nx_egress_row *rows;
  size_t n;
};

static void add(struct preview *preview, const char *kind, uint64_t messages, uint64_t bytes) {
  struct nx_egress_row *row = &preview->rows[preview->n++];
  *row = (struct nx_egress_row){.messages = messages, .bytes = bytes};
  snprintf(row->kind, sizeof row->kind, "%s", kind);
}

/* Signed, in its envelope, as it goes over the session. */
static int add_signed(struct preview *preview, uint32_t type, struct nx_buffer *body,
                      struct nx_buffer *detached, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0}, up = {0};
  struct nx_session_message envelope = {.kind = NX_SESSION_KIND_SIGNED};
  int r = nx_signed_message_make(preview->nobody, 1, type, nx_buffer_view(body),
                                 nx_buffer_view(detached), &message, err);
  envelope.signed_message = nx_buffer_view(&message);
  if (r == 0)
    r = nx_session_up_encode(&envelope, &up, err);
  if (r == 0)
    add(preview, nx_message_name(type), 1, up.size);
  return r;
}

/* A point that decoders accept: the base point's. */
static void some_point(struct nx_point *point) {
  static const uint8_t scalar[32] = {9};
  crypto_scalarmult_base(point->bytes, scalar);
}

static int add_advert(struct preview *preview, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, none = {0};
  struct nx_advert advert = {.id = 1};
  some_point(&advert.c);
  some_point(&advert.s);
  memset(&advert.t0, 1, sizeof advert.t0);
  memset(&advert.self_commitment, 1, sizeof advert.self_commitment);
  int r = nx_advert_encode(&advert, &body, err);
  return r < 0 ? r : add_signed(preview, NX_M1_ADVERT, &body, &none, err);
}

static int add_shares(struct preview *preview, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, boxes = {0};
  uint32_t n = preview->round->n_members;
  _cleanup_free_ struct nx_share_commitment *commitments = calloc(n, sizeof *commitments);
  _cleanup_free_ struct nx_share_box *list = calloc(n, sizeof *list);
  if (!commitments || !list)
    return nx_fail(err, NX_E_NOMEM, "preview: out of memory");
  for (uint32_t i = 0; i < n; i++) {
    memset(&commitments[i], i ? 1 : 0, sizeof commitments[i]);
    memset(&commitments[i].b_share, 1, sizeof commitments[i].b_share);
    memset(&commitments[i].s_share, 1, sizeof commitments[i].s_share);
    commitments[i].to = i + 1;
    list[i].id = i + 1;
  }
  struct nx_shares shares = {.id = 1, .commitments = commitments, .n = n};
  memset(&shares.t1, 1, sizeof shares.t1);
  int r = nx_shares_encode(&shares, &body, err);
  if (r == 0)
    r = nx_share_boxes_encode(list + 1, n - 1, &boxes, err);
  return r < 0 ? r : add_signed(preview, NX_M3_SHARES, &body, &boxes, err);
}

static int add_part(const struct nx_upload_part *part, uint64_t *bytes, uint64_t *messages,
                    struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer message = {0};
  int r = nx_upload_part_encode(part, &message, err);
  *bytes += message.size;
  ++*messages;
  return r;
}

static int add_upload(struct preview *preview, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, header = {0};
  _cleanup_free_ uint8_t *zeros = calloc(1, NX_CHUNK_SIZE);
  uint64_t size = nx_upload_bytes(&preview->round->layout), bytes = 0, messages = 0;
  struct nx_upload_header m5 = {.round = 1, .attempt = 1, .id = 1, .bytes = size};
  memset(&m5.t2, 1, sizeof m5.t2);
  memset(&m5.root, 1, sizeof m5.root);
  int r = zeros ? nx_upload_header_encode(&m5, &body, err)
                : nx_fail(err, NX_E_NOMEM, "preview: out of memory");
  if (r == 0)
    r = nx_signed_message_make(preview->nobody, 1, NX_M5_UPLOAD, nx_buffer_view(&body),
                               nx_bytes("", 0), &header, err);
  if (r == 0)
    r = add_part(&(struct nx_upload_part){.is_header = true, .header = nx_buffer_view(&header)},
                 &bytes, &messages, err);
  for (uint64_t at = 0; r == 0 && at < size; at += NX_CHUNK_SIZE)
    r = add_part(
        &(struct nx_upload_part){
            .offset = at,
            .data = nx_bytes(zeros, (size_t)NX_MIN((uint64_t)NX_CHUNK_SIZE, size - at))},
        &bytes, &messages, err);
  if (r == 0)
    add(preview, "upload", messages, bytes);
  return r;
}

static int add_vote(struct preview *preview, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, none = {0};
  struct nx_vote vote = {.choice = NX_VOTE_COMMIT, .round = 1, .attempt = 1};
  memset(&vote.subject, 1, sizeof vote.subject);
  int r = nx_vote_encode(&vote, &body, err);
  return r < 0 ? r : add_signed(preview, NX_M7_VOTE, &body, &none, err);
}

static int add_release(struct preview *preview, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, none = {0};
  uint32_t n = preview->round->n_members;
  _cleanup_free_ struct nx_released *shares = calloc(n, sizeof *shares);
  struct nx_release release = {.id = 1, .b_shares = shares, .n_b = n};
  if (!shares)
    return nx_fail(err, NX_E_NOMEM, "preview: out of memory");
  memset(&release.t3, 1, sizeof release.t3);
  for (uint32_t i = 0; i < n; i++) {
    memset(&shares[i], 1, sizeof shares[i]);
    shares[i].id = i + 1;
  }
  int r = nx_release_encode(&release, &body, err);
  return r < 0 ? r : add_signed(preview, NX_M9_RELEASE, &body, &none, err);
}

static int add_sealed(struct preview *preview, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, none = {0};
  struct nx_sealed sealed = {.round = 1, .attempt = 1};
  memset(&sealed.t3, 1, sizeof sealed.t3);
  memset(&sealed.model, 1, sizeof sealed.model);
  int r = nx_sealed_encode(&sealed, &body, err);
  return r < 0 ? r : add_signed(preview, NX_M11_SEALED, &body, &none, err);
}

static int add_fetches(struct preview *preview, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer blob = {0}, request = {0};
  size_t tiles = nx_upload_tiles(&preview->round->layout);
  uint64_t list[64];
  struct nx_blob_request sum = {0};
  struct nx_tile_request tile = {
      .round = 1,
      .attempt = 1,
      .tiles = list,
      .n = NX_MIN(NX_MIN(NX_MAX(preview->round->spot_checks, 1u), tiles), NX_ARRAY_LENGTH(list))};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(list); i++)
    list[i] = i;
  memset(&sum.hash, 1, sizeof sum.hash);
  memset(&tile.t3, 1, sizeof tile.t3);
  int r = nx_blob_request_encode(&sum, &blob, err);
  if (r == 0)
    r = nx_tile_request_encode(&tile, &request, err);
  if (r == 0) {
    add(preview, "fetch", 1, blob.size);
    add(preview, "fetch-tiles", 1, request.size);
  }
  return r;
}

int nx_preview(const struct nx_preview_round *round, struct nx_egress_row rows[NX_PREVIEW_ROWS],
               size_t *n_out, struct nx_error *err) {
  struct preview preview = {.round = round, .rows = rows};
  int r = nx_upload_layout_check(&round->layout, err);
  if (r == 0)
    r = nx_identity_create(&nx_entropy_system, &preview.nobody, err);
  if (r == 0)
    r = add_advert(&preview, err);
  if (r == 0)
    r = add_shares(&preview, err);
  if (r == 0)
    r = add_upload(&preview, err);
  if (r == 0)
    r = add_vote(&preview, err);
  if (r == 0)
    r = add_release(&preview, err);
  if (r == 0)
    r = add_fetches(&preview, err);
  if (r == 0)
    r = add_sealed(&preview, err);
  nx_identity_destroy(preview.nobody);
  *n_out = preview.n;
  return r < 0 ? nx_error_prefix(err, r, "preview") : 0;
}
