#include "proto/codec/codec_renew.h"

#include "proto/codec/codec_support.h"
#include "renew.pb-c.h"

static int check_pem(struct nx_bytes pem, const char *what, int code, struct nx_error *err) {
  return pem.size && pem.size <= NX_RENEW_PEM_CAP
             ? 0
             : nx_fail(err, code, "renewal: %s of %zu bytes", what, pem.size);
}

int nx_renew_request_encode(const struct nx_renew_request *m, struct nx_buffer *out,
                            struct nx_error *err) {
  Neurox__V1__RenewRequest wire = NEUROX__V1__RENEW_REQUEST__INIT;
  int r = check_pem(m->csr, "CSR", NX_E_INVALID, err);
  if (r < 0)
    return r;
  wire.csr = nx_codec_field(m->csr.data, m->csr.size);
  wire.signature = nx_codec_field(m->signature.bytes, sizeof m->signature.bytes);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_renew_request_decode(struct nx_bytes bytes, struct nx_arena *arena,
                            struct nx_renew_request *out, struct nx_error *err) {
  Neurox__V1__RenewRequest *wire;
  int r = nx_codec_unpack(&neurox__v1__renew_request__descriptor, bytes, NX_RENEW_MESSAGE_CAP,
                          arena, "renewal request", &wire, err);
  if (r < 0)
    return r;
  out->csr = nx_codec_view(wire->csr);
  r = nx_codec_fixed(wire->signature, out->signature.bytes, sizeof out->signature.bytes,
                     "renewal: signature", err);
  return r < 0 ? r : check_pem(out->csr, "CSR", NX_E_PROTOCOL, err);
}

static int check_response(const struct nx_renew_response *m, int code, struct nx_error *err) {
  int r = check_pem(m->certificate, "certificate", code, err);
  if (r == 0)
    r = check_pem(m->roots, "roots", code, err);
  return r == 0 && m->crosses.size ? check_pem(m->crosses, "cross-certificates", code, err) : r;
}

int nx_renew_response_encode(const struct nx_renew_response *m, struct nx_buffer *out,
                             struct nx_error *err) {
  Neurox__V1__RenewResponse wire = NEUROX__V1__RENEW_RESPONSE__INIT;
  int r = check_response(m, NX_E_INVALID, err);
  if (r < 0)
    return r;
  wire.certificate = nx_codec_field(m->certificate.data, m->certificate.size);
  wire.roots = nx_codec_field(m->roots.data, m->roots.size);
  wire.crosses = nx_codec_field(m->crosses.data, m->crosses.size);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_renew_response_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_renew_response *out, struct nx_error *err) {
  Neurox__V1__RenewResponse *wire;
  int r = nx_codec_unpack(&neurox__v1__renew_response__descriptor, bytes, NX_RENEW_MESSAGE_CAP,
                          arena, "renewal response", &wire, err);
  if (r < 0)
    return r;
  *out = (struct nx_renew_response){.certificate = nx_codec_view(wire->certificate),
                                    .roots = nx_codec_view(wire->roots),
                                    .crosses = nx_codec_view(wire->crosses)};
  return check_response(out, NX_E_PROTOCOL, err);
}
