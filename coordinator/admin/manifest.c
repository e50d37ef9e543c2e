#include "coordinator/admin/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "crypto/threshold.h"
#include "proto/codec/codec_manifest.h"

int nx_manifest_seal(struct nx_federation *f, struct nx_error *err) {
  struct nx_manifest_member members[NX_STORE_MEMBERS];
  _cleanup_free_ struct nx_store_member *rows = calloc(NX_STORE_MEMBERS, sizeof *rows);
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_signature signature;
  size_t n;
  if (!rows)
    return nx_fail(err, NX_E_NOMEM, "seal the manifest");
  int r = nx_run_store_members(f->store, rows, &n, err);
  if (r < 0)
    return r;
  size_t n_valid = 0; /* whoever was revoked before is not sealed in */
  for (size_t i = 0; i < n; i++)
    if (!rows[i].revoked)
      rows[n_valid++] = rows[i];
  n = n_valid;
  if (n < NX_MEMBERS_MIN)
    return nx_fail(err, NX_E_STATE,
                   "%zu of at least %u members have enrolled: a sum over fewer would show too "
                   "much; invite more with neurox-coordinator invite NAME",
                   n, NX_MEMBERS_MIN);
  for (size_t i = 0; i < n; i++) {
    members[i] = (struct nx_manifest_member){
        .id = rows[i].id, .identity = rows[i].identity, .spki = rows[i].spki};
    snprintf(members[i].name, sizeof members[i].name, "%s", rows[i].name);
  }
  struct nx_manifest manifest = {.coordinator = f->row.identity,
                                 .coordinator_spki = f->row.spki,
                                 .sealed = nx_clock_unix(),
                                 .members = members,
                                 .n_members = n};
  memcpy(manifest.federation, f->row.id, sizeof manifest.federation);
  snprintf(manifest.name, sizeof manifest.name, "%s", f->row.name);
  if ((r = nx_manifest_encode(&manifest, &bytes, err)) < 0 ||
      (r = nx_sign(f->identity, NX_MANIFEST_SIGNED_AS, nx_buffer_view(&bytes), &signature, err)) <
          0)
    return r;
  return nx_run_store_put_manifest(f->store, nx_buffer_view(&bytes), &signature, err);
}

int nx_manifest_recall(struct nx_federation *f, struct nx_buffer *bytes_out,
                       struct nx_signature *signature_out, struct nx_hash *hash_out,
                       struct nx_error *err) {
  size_t before = bytes_out->size;
  int r = nx_run_store_manifest(f->store, bytes_out, signature_out, err);
  if (r < 0)
    return r;
  struct nx_bytes bytes = nx_bytes(bytes_out->data + before, bytes_out->size - before);
  if ((r = nx_verify(&f->row.identity, NX_MANIFEST_SIGNED_AS, bytes, signature_out, err)) < 0)
    return nx_error_prefix(err, r, "the stored manifest of members");
  *hash_out = nx_sha256(bytes.data, bytes.size);
  return 0;
}
