#include "common/invitation.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/config.h"
#include "common/size.h"

#define TEXT(key, most)                                                                            \
  CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER, struct nx_invitation, key, 1, most)

static const cyaml_schema_field_t fields[] = {
    CYAML_FIELD_UINT("neurox_invitation", CYAML_FLAG_DEFAULT, struct nx_invitation,
                     neurox_invitation),
    TEXT(federation_name, 64),
    TEXT(federation, 2 * NX_INVITATION_FEDERATION_SIZE),
    TEXT(member, 64),
    TEXT(address, 300),
    TEXT(enrol_address, 300),
    TEXT(token, 2 * NX_INVITATION_TOKEN_SIZE),
    CYAML_FIELD_UINT("expires", CYAML_FLAG_DEFAULT, struct nx_invitation, expires),
    TEXT(certificate, 8192),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct nx_invitation, fields)};

/* Printable, and nothing that would need quoting inside '…'. */
static bool is_plain(const char *text) {
  if (!*text)
    return false;
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f || *text == '\'' || *text == '\\')
      return false;
  return true;
}

static bool is_hex(const char *text, size_t bytes) {
  size_t n = 0;
  while (isxdigit((unsigned char)text[n]))
    n++;
  return !text[n] && n == 2 * bytes;
}

/* HOST:PORT; what a host may be is for the resolver to say. */
static bool is_address(const char *text) {
  const char *colon = strrchr(text, ':');
  if (!colon || colon == text || !isdigit((unsigned char)colon[1]) || !is_plain(text))
    return false;
  char *end;
  unsigned long port = strtoul(colon + 1, &end, 10);
  return !*end && port > 0 && port < 65536;
}

static bool is_pem(const char *text) {
  static const char head[] = "-----BEGIN CERTIFICATE-----\n", tail[] = "-----END CERTIFICATE-----";
  if (strncmp(text, head, sizeof head - 1) || !strstr(text, tail))
    return false;
  for (; *text; text++)
    if (*text != '\n' && ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e))
      return false;
  return true;
}

static int check(const char *name, const struct nx_invitation *i, int code, struct nx_error *err) {
  if (i->neurox_invitation != NX_INVITATION_VERSION)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "%s: invitation of version %u, this program knows %d: update this program", name,
                   i->neurox_invitation, NX_INVITATION_VERSION);
  const struct {
    const char *key;
    bool good;
  } rules[] = {
      {"federation_name", is_plain(i->federation_name)},
      {"federation", is_hex(i->federation, NX_INVITATION_FEDERATION_SIZE)},
      {"member", is_plain(i->member)},
      {"address", is_address(i->address)},
      {"enrol_address", is_address(i->enrol_address)},
      {"token", is_hex(i->token, NX_INVITATION_TOKEN_SIZE)},
      {"expires", i->expires > 0 && i->expires < INT64_C(1) << 33},
      {"certificate", is_pem(i->certificate)},
  };
  for (size_t k = 0; k < NX_ARRAY_LENGTH(rules); k++)
    if (!rules[k].good)
      return nx_fail(err, code, "%s: %s is not well-formed: ask for the invitation again", name,
                     rules[k].key);
  return 0;
}

static int append_text(struct nx_buffer *out, const char *text, struct nx_error *err) {
  return nx_buffer_append(out, text, strlen(text), err);
}

/* The PEM as a YAML block, two spaces in front of each line. */
static int append_block(struct nx_buffer *out, const char *text, struct nx_error *err) {
  int r = 0;
  while (*text && r == 0) {
    size_t n = strcspn(text, "\n");
    if ((r = append_text(out, "  ", err)) == 0 && (r = nx_buffer_append(out, text, n, err)) == 0)
      r = append_text(out, "\n", err);
    text += n + (text[n] == '\n');
  }
  return r;
}

int nx_invitation_format(const struct nx_invitation *i, struct nx_buffer *out,
                         struct nx_error *err) {
  char head[2048];
  int r = check("invitation", i, NX_E_INVALID, err);
  if (r < 0)
    return r;
  int n = snprintf(head, sizeof head,
                   "# Invitation to a Neuro-X federation. It works once: give it to nobody else.\n"
                   "# Before using it, have its fingerprint read to you by the operator.\n"
                   "neurox_invitation: %d\nfederation_name: '%s'\nfederation: '%s'\nmember: '%s'\n"
                   "address: '%s'\nenrol_address: '%s'\ntoken: '%s'\nexpires: %llu\n"
                   "certificate: |\n",
                   NX_INVITATION_VERSION, i->federation_name, i->federation, i->member, i->address,
                   i->enrol_address, i->token, (unsigned long long)i->expires);
  r = n < (int)sizeof head ? nx_buffer_append(out, head, (size_t)n, err)
                           : nx_fail(err, NX_E_INVALID, "invitation: an address is too long");
  explicit_bzero(head, sizeof head);
  return r < 0 ? r : append_block(out, i->certificate, err);
}

int nx_invitation_parse(const char *name, struct nx_bytes text,
                        struct nx_invitation **invitation_out, struct nx_error *err) {
  _cleanup_(nx_invitation_destroyp) struct nx_invitation *invitation = NULL;
  if (text.size > NX_INVITATION_CAP)
    return nx_fail(err, NX_E_FORMAT, "%s: too large to be an invitation", name);
  int r = nx_config_parse(name, text, &schema, (void **)&invitation, err);
  if (r == 0)
    r = check(name, invitation, NX_E_FORMAT, err);
  if (r < 0)
    return r;
  *invitation_out = nx_steal(&invitation);
  return 0;
}

void nx_invitation_destroy(struct nx_invitation *invitation) {
  if (invitation && invitation->token)
    explicit_bzero(invitation->token, strlen(invitation->token));
  nx_config_free(&schema, invitation);
}
