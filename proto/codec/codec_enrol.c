#include "proto/codec/codec_enrol.h"

#include "enrol.pb-c.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_session.h"
#include "proto/codec/codec_support.h"

static int check_pem(struct nx_bytes pem, const char *what, int code, struct nx_error *err) {
  if (!pem.size || pem.size > NX_ENROL_PEM_CAP)
    return nx_fail(err, code, "%s of %zu bytes", what, pem.size);
  return 0;
}

int nx_enrol_request_encode(const struct nx_enrol_request *m, struct nx_buffer *out,
                            struct nx_error *err) {
  Neurox__V1__EnrolRequest wire = NEUROX__V1__ENROL_REQUEST__INIT;
  int r = nx_codec_check_text(m->software, sizeof m->software, "enrolment: software", err);
  if (!r)
    r = check_pem(m->csr, "enrolment: CSR", NX_E_INVALID, err);
  if (r < 0)
    return r;
  wire.protocol = m->protocol;
  wire.software = nx_codec_string(m->software);
  wire.federation = nx_codec_field(m->federation, sizeof m->federation);
  wire.token = nx_codec_field(m->token, sizeof m->token);
  wire.csr = nx_codec_field(m->csr.data, m->csr.size);
  wire.identity = nx_codec_field(m->identity.bytes, sizeof m->identity.bytes);
  wire.signature = nx_codec_field(m->signature.bytes, sizeof m->signature.bytes);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_enrol_request_decode(struct nx_bytes bytes, struct nx_arena *arena,
                            struct nx_enrol_request *out, struct nx_error *err) {
  Neurox__V1__EnrolRequest *wire;
  int r = nx_codec_unpack(&neurox__v1__enrol_request__descriptor, bytes, NX_MESSAGE_CAP_ENROL,
                          arena, "enrolment request", &wire, err);
  if (r < 0)
    return r;
  *out = (struct nx_enrol_request){.protocol = wire->protocol};
  r = nx_codec_text(wire->software, out->software, sizeof out->software, "enrolment: software",
                    err);
  if (r < 0 || !nx_protocol_agree(wire->protocol, 0))
    return r;
  r = nx_codec_fixed(wire->federation, out->federation, sizeof out->federation,
                     "enrolment: federation", err);
  if (!r)
    r = nx_codec_fixed(wire->token, out->token, sizeof out->token, "enrolment: token", err);
  if (!r)
    r = nx_codec_fixed(wire->identity, out->identity.bytes, sizeof out->identity.bytes,
                       "enrolment: identity", err);
  if (!r)
    r = nx_codec_fixed(wire->signature, out->signature.bytes, sizeof out->signature.bytes,
                       "enrolment: signature", err);
  out->csr = nx_codec_view(wire->csr);
  return r < 0 ? r : check_pem(out->csr, "enrolment: CSR", NX_E_PROTOCOL, err);
}

static int check_response(const struct nx_enrol_response *m, int code, struct nx_error *err) {
  if (m->member < 1 || m->member > 255)
    return nx_fail(err, code, "enrolment: member id %u; ids are 1 to 255", m->member);
  if (!m->name[0])
    return nx_fail(err, code, "enrolment: a member without a name");
  return check_pem(m->certificate, "enrolment: certificate", code, err);
}

int nx_enrol_response_encode(const struct nx_enrol_response *m, struct nx_buffer *out,
                             struct nx_error *err) {
  Neurox__V1__EnrolResponse wire = NEUROX__V1__ENROL_RESPONSE__INIT;
  int r = nx_codec_check_text(m->name, sizeof m->name, "enrolment: name", err);
  if (!r)
    r = check_response(m, NX_E_INVALID, err);
  if (r < 0)
    return r;
  wire.member = m->member;
  wire.name = nx_codec_string(m->name);
  wire.certificate = nx_codec_field(m->certificate.data, m->certificate.size);
  wire.coordinator = nx_codec_field(m->coordinator.bytes, sizeof m->coordinator.bytes);
  return nx_codec_pack(&wire.base, out, err);
}

int nx_enrol_response_decode(struct nx_bytes bytes, struct nx_arena *arena,
                             struct nx_enrol_response *out, struct nx_error *err) {
  Neurox__V1__EnrolResponse *wire;
  int r = nx_codec_unpack(&neurox__v1__enrol_response__descriptor, bytes, NX_MESSAGE_CAP_ENROL,
                          arena, "enrolment response", &wire, err);
  if (r < 0)
    return r;
  *out = (struct nx_enrol_response){.member = wire->member,
                                    .certificate = nx_codec_view(wire->certificate)};
  r = nx_codec_text(wire->name, out->name, sizeof out->name, "enrolment: name", err);
  if (!r)
    r = nx_codec_fixed(wire->coordinator, out->coordinator.bytes, sizeof out->coordinator.bytes,
                       "enrolment: coordinator's key", err);
  return r < 0 ? r : check_response(out, NX_E_PROTOCOL, err);
}
