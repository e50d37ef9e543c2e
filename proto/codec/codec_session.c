#include "proto/codec/codec_session.h"

#include "common/size.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_support.h"
#include "proto/codec/manifest_chain.h"
#include "session.pb-c.h"

/* --- what makes a message valid, sent or received: code says whose fault it is ---------- */

static int check_signed(struct nx_bytes bytes, int code, struct nx_error *err) {
  if (!bytes.size || bytes.size > NX_SIGNED_CAP)
    return nx_fail(err, code, "signed message of %zu bytes", bytes.size);
  return 0;
}

static int check_welcome(const struct nx_welcome *m, int code, struct nx_error *err) {
  if (m->manifest.size > NX_MANIFEST_CAP)
    return nx_fail(err, code, "welcome: manifest of %zu bytes", m->manifest.size);
  if (m->manifest_chain.size > NX_MANIFEST_CHAIN_CAP)
    return nx_fail(err, code, "welcome: a history of members' lists of %zu bytes",
                   m->manifest_chain.size);
  if (m->n_sealed > 255)
    return nx_fail(err, code, "welcome: %zu seals; a federation has at most 255 members",
                   m->n_sealed);
  if (!m->last_sealed && m->n_sealed)
    return nx_fail(err, code, "welcome: seals of no round");
  for (size_t i = 0; i < m->n_sealed; i++)
    if (check_signed(m->sealed[i], code, err) < 0)
      return nx_error_prefix(err, code, "welcome: seal %zu", i);
  return 0;
}

static int check_heartbeat(const struct nx_heartbeat *m, int code, struct nx_error *err) {
  if (!m->number)
    return nx_fail(err, code, "heartbeat: number 0; they count from 1");
  if (m->done > m->total)
    return nx_fail(err, code, "heartbeat: more is done than there is");
  return 0;
}

static int check_notice(const struct nx_notice *m, int code, struct nx_error *err) {
  if (m->kind < NX_NOTICE_INFO || m->kind > NX_NOTICE_DRAINING)
    return nx_fail(err, code, "notice: unknown kind %u", m->kind);
  return 0;
}

/* --- to the wire ------------------------------------------------------------------------ */

static int encode_hello(const struct nx_hello *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Hello hello = NEUROX__V1__HELLO__INIT;
  Neurox__V1__SessionUp up = NEUROX__V1__SESSION_UP__INIT;
  int r = nx_codec_check_text(m->software, sizeof m->software, "software", err);
  if (r < 0)
    return r;
  hello.protocol = m->protocol;
  hello.newest = m->newest;
  hello.federation = nx_codec_field(m->federation, sizeof m->federation);
  hello.software = nx_codec_string(m->software);
  hello.last_sealed = m->last_sealed;
  hello.model = nx_codec_hash_field(&m->model);
  hello.hears = m->hears;
  up.kind_case = NEUROX__V1__SESSION_UP__KIND_HELLO;
  up.hello = &hello;
  return nx_codec_pack(&up.base, out, err);
}

static int encode_welcome(const struct nx_welcome *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Welcome welcome = NEUROX__V1__WELCOME__INIT;
  Neurox__V1__SessionDown down = NEUROX__V1__SESSION_DOWN__INIT;
  ProtobufCBinaryData sealed[255];
  int r = nx_codec_check_text(m->software, sizeof m->software, "software", err);
  if (!r)
    r = check_welcome(m, NX_E_INVALID, err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < m->n_sealed; i++)
    sealed[i] = nx_codec_field(m->sealed[i].data, m->sealed[i].size);
  welcome.protocol = m->protocol;
  welcome.software = nx_codec_string(m->software);
  welcome.manifest = nx_codec_field(m->manifest.data, m->manifest.size);
  if (m->manifest.size)
    welcome.manifest_signature =
        nx_codec_field(m->manifest_signature.bytes, sizeof m->manifest_signature.bytes);
  welcome.manifest_chain = nx_codec_field(m->manifest_chain.data, m->manifest_chain.size);
  welcome.last_sealed = m->last_sealed;
  welcome.model = nx_codec_hash_field(&m->model);
  welcome.plan = nx_codec_hash_field(&m->plan);
  welcome.hears = m->hears;
  welcome.first_round = m->first_round;
  welcome.sealed = sealed;
  welcome.n_sealed = m->n_sealed;
  down.kind_case = NEUROX__V1__SESSION_DOWN__KIND_WELCOME;
  down.welcome = &welcome;
  return nx_codec_pack(&down.base, out, err);
}

static int fill_heartbeat(const struct nx_heartbeat *m, Neurox__V1__Heartbeat *wire,
                          struct nx_error *err) {
  wire->number = m->number;
  wire->round = m->round;
  wire->attempt = m->attempt;
  wire->done = m->done;
  wire->total = m->total;
  return check_heartbeat(m, NX_E_INVALID, err);
}

static int fill_notice(const struct nx_notice *m, Neurox__V1__Notice *wire, struct nx_error *err) {
  wire->kind = m->kind;
  wire->text = nx_codec_string(m->text);
  wire->asks = nx_codec_hash_field(&m->asks);
  wire->heard = nx_codec_hash_field(&m->heard);
  int r = nx_codec_check_text(m->text, sizeof m->text, "notice: text", err);
  return r < 0 ? r : check_notice(m, NX_E_INVALID, err);
}

int nx_session_up_encode(const struct nx_session_message *message, struct nx_buffer *out,
                         struct nx_error *err) {
  Neurox__V1__SessionUp up = NEUROX__V1__SESSION_UP__INIT;
  Neurox__V1__Heartbeat heartbeat = NEUROX__V1__HEARTBEAT__INIT;
  Neurox__V1__Notice notice = NEUROX__V1__NOTICE__INIT;
  int r = NX_E_INVALID;
  switch (message->kind) {
  case NX_SESSION_KIND_HELLO:
    return encode_hello(&message->hello, out, err);
  case NX_SESSION_KIND_SIGNED:
    r = check_signed(message->signed_message, NX_E_INVALID, err);
    up.kind_case = NEUROX__V1__SESSION_UP__KIND_SIGNED;
    up.signed_ = nx_codec_field(message->signed_message.data, message->signed_message.size);
    break;
  case NX_SESSION_KIND_HEARTBEAT:
    r = fill_heartbeat(&message->heartbeat, &heartbeat, err);
    up.kind_case = NEUROX__V1__SESSION_UP__KIND_HEARTBEAT;
    up.heartbeat = &heartbeat;
    break;
  case NX_SESSION_KIND_NOTICE:
    r = fill_notice(&message->notice, &notice, err);
    up.kind_case = NEUROX__V1__SESSION_UP__KIND_NOTICE;
    up.notice = &notice;
    break;
  case NX_SESSION_KIND_WELCOME:
    return nx_fail(err, NX_E_INVALID, "a node sends no welcome");
  }
  return r < 0 ? r : nx_codec_pack(&up.base, out, err);
}

int nx_session_down_encode(const struct nx_session_message *message, struct nx_buffer *out,
                           struct nx_error *err) {
  Neurox__V1__SessionDown down = NEUROX__V1__SESSION_DOWN__INIT;
  Neurox__V1__Heartbeat heartbeat = NEUROX__V1__HEARTBEAT__INIT;
  Neurox__V1__Notice notice = NEUROX__V1__NOTICE__INIT;
  int r = NX_E_INVALID;
  switch (message->kind) {
  case NX_SESSION_KIND_WELCOME:
    return encode_welcome(&message->welcome, out, err);
  case NX_SESSION_KIND_SIGNED:
    r = check_signed(message->signed_message, NX_E_INVALID, err);
    down.kind_case = NEUROX__V1__SESSION_DOWN__KIND_SIGNED;
    down.signed_ = nx_codec_field(message->signed_message.data, message->signed_message.size);
    break;
  case NX_SESSION_KIND_HEARTBEAT:
    r = fill_heartbeat(&message->heartbeat, &heartbeat, err);
    down.kind_case = NEUROX__V1__SESSION_DOWN__KIND_HEARTBEAT;
    down.heartbeat = &heartbeat;
    break;
  case NX_SESSION_KIND_NOTICE:
    r = fill_notice(&message->notice, &notice, err);
    down.kind_case = NEUROX__V1__SESSION_DOWN__KIND_NOTICE;
    down.notice = &notice;
    break;
  case NX_SESSION_KIND_HELLO:
    return nx_fail(err, NX_E_INVALID, "a coordinator sends no hello");
  }
  return r < 0 ? r : nx_codec_pack(&down.base, out, err);
}

/* --- from the wire ---------------------------------------------------------------------- */

uint32_t nx_protocol_agree(uint32_t oldest, uint32_t newest) {
  uint32_t both = NX_MIN(NX_MAX(oldest, newest), NX_PROTOCOL_VERSION);
  return both < oldest || both < NX_PROTOCOL_OLDEST ? 0 : both;
}

static int decode_hello(const Neurox__V1__Hello *wire, struct nx_hello *out, struct nx_error *err) {
  *out = (struct nx_hello){.protocol = wire->protocol,
                           .newest = wire->newest,
                           .last_sealed = wire->last_sealed,
                           .hears = wire->hears};
  int r =
      nx_codec_text(wire->software, out->software, sizeof out->software, "hello: software", err);
  if (r < 0 || !nx_protocol_agree(wire->protocol, wire->newest))
    return r;
  r = nx_codec_fixed(wire->federation, out->federation, sizeof out->federation, "hello: federation",
                     err);
  if (!r)
    r = nx_codec_hash(wire->model, &out->model, "hello: model", err);
  return r;
}

static int decode_sealed(const Neurox__V1__Welcome *wire, struct nx_arena *arena,
                         struct nx_welcome *out, struct nx_error *err) {
  if (wire->n_sealed > 255)
    return nx_fail(err, NX_E_PROTOCOL, "welcome: %zu seals", wire->n_sealed);
  struct nx_bytes *sealed = nx_arena_alloc(arena, wire->n_sealed + 1, sizeof *sealed);
  if (!sealed)
    return nx_fail(err, NX_E_LIMIT, "welcome: no room for its seals");
  for (size_t i = 0; i < wire->n_sealed; i++)
    sealed[i] = nx_codec_view(wire->sealed[i]);
  out->sealed = sealed;
  out->n_sealed = wire->n_sealed;
  return 0;
}

static int decode_welcome(const Neurox__V1__Welcome *wire, struct nx_arena *arena,
                          struct nx_welcome *out, struct nx_error *err) {
  *out = (struct nx_welcome){.protocol = wire->protocol};
  int r =
      nx_codec_text(wire->software, out->software, sizeof out->software, "welcome: software", err);
  if (r < 0 || !nx_protocol_agree(wire->protocol, 0))
    return r;
  out->last_sealed = wire->last_sealed;
  out->first_round = wire->first_round;
  out->hears = wire->hears;
  out->manifest = nx_codec_view(wire->manifest);
  out->manifest_chain = nx_codec_view(wire->manifest_chain);
  if (out->manifest.size)
    r = nx_codec_fixed(wire->manifest_signature, out->manifest_signature.bytes,
                       sizeof out->manifest_signature.bytes, "welcome: manifest signature", err);
  if (!r)
    r = nx_codec_hash(wire->model, &out->model, "welcome: model", err);
  if (!r)
    r = nx_codec_hash(wire->plan, &out->plan, "welcome: plan", err);
  if (!r)
    r = decode_sealed(wire, arena, out, err);
  return r < 0 ? r : check_welcome(out, NX_E_PROTOCOL, err);
}

static int decode_signed(ProtobufCBinaryData wire, struct nx_bytes *out, struct nx_error *err) {
  *out = nx_codec_view(wire);
  return check_signed(*out, NX_E_PROTOCOL, err);
}

static int decode_heartbeat(const Neurox__V1__Heartbeat *wire, struct nx_heartbeat *out,
                            struct nx_error *err) {
  *out = (struct nx_heartbeat){.number = wire->number,
                               .round = wire->round,
                               .attempt = wire->attempt,
                               .done = wire->done,
                               .total = wire->total};
  return check_heartbeat(out, NX_E_PROTOCOL, err);
}

static int decode_notice(const Neurox__V1__Notice *wire, struct nx_notice *out,
                         struct nx_error *err) {
  *out = (struct nx_notice){.kind = wire->kind};
  int r = nx_codec_text(wire->text, out->text, sizeof out->text, "notice: text", err);
  if (!r)
    r = nx_codec_hash(wire->asks, &out->asks, "notice: the plan it asks about", err);
  if (!r)
    r = nx_codec_hash(wire->heard, &out->heard, "notice: what was heard", err);
  return r < 0 ? r : check_notice(out, NX_E_PROTOCOL, err);
}

static int unknown_kind(struct nx_error *err) {
  return nx_fail(err, NX_E_PROTOCOL,
                 "a session message of a kind unknown here: is the peer's software newer?");
}

int nx_session_up_decode(struct nx_bytes bytes, struct nx_arena *arena,
                         struct nx_session_message *out, struct nx_error *err) {
  Neurox__V1__SessionUp *up;
  int r = nx_codec_unpack(&neurox__v1__session_up__descriptor, bytes, NX_MESSAGE_CAP_MAIN, arena,
                          "session message", &up, err);
  if (r < 0)
    return r;
  switch (up->kind_case) {
  case NEUROX__V1__SESSION_UP__KIND_HELLO:
    out->kind = NX_SESSION_KIND_HELLO;
    return decode_hello(up->hello, &out->hello, err);
  case NEUROX__V1__SESSION_UP__KIND_SIGNED:
    out->kind = NX_SESSION_KIND_SIGNED;
    return decode_signed(up->signed_, &out->signed_message, err);
  case NEUROX__V1__SESSION_UP__KIND_HEARTBEAT:
    out->kind = NX_SESSION_KIND_HEARTBEAT;
    return decode_heartbeat(up->heartbeat, &out->heartbeat, err);
  case NEUROX__V1__SESSION_UP__KIND_NOTICE:
    out->kind = NX_SESSION_KIND_NOTICE;
    return decode_notice(up->notice, &out->notice, err);
  default:
    return unknown_kind(err);
  }
}

int nx_session_down_decode(struct nx_bytes bytes, struct nx_arena *arena,
                           struct nx_session_message *out, struct nx_error *err) {
  Neurox__V1__SessionDown *down;
  int r = nx_codec_unpack(&neurox__v1__session_down__descriptor, bytes, NX_MESSAGE_CAP_MAIN, arena,
                          "session message", &down, err);
  if (r < 0)
    return r;
  switch (down->kind_case) {
  case NEUROX__V1__SESSION_DOWN__KIND_WELCOME:
    out->kind = NX_SESSION_KIND_WELCOME;
    return decode_welcome(down->welcome, arena, &out->welcome, err);
  case NEUROX__V1__SESSION_DOWN__KIND_SIGNED:
    out->kind = NX_SESSION_KIND_SIGNED;
    return decode_signed(down->signed_, &out->signed_message, err);
  case NEUROX__V1__SESSION_DOWN__KIND_HEARTBEAT:
    out->kind = NX_SESSION_KIND_HEARTBEAT;
    return decode_heartbeat(down->heartbeat, &out->heartbeat, err);
  case NEUROX__V1__SESSION_DOWN__KIND_NOTICE:
    out->kind = NX_SESSION_KIND_NOTICE;
    return decode_notice(down->notice, &out->notice, err);
  default:
    return unknown_kind(err);
  }
}
