/* Who the peer is: the public key of its certificate, and the statuses that errors travel as. */
#include <grpc/grpc_security.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "proto/rpc/rpc_internal.h"

static int spki_of_pem(const char *pem, size_t size, uint8_t spki_out[NX_SPKI_HASH_SIZE]) {
  BIO *bio = BIO_new_mem_buf(pem, (int)size);
  X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
  unsigned char *der = NULL;
  int n = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der) : -1;
  int ok = n > 0 && EVP_Digest(der, (size_t)n, spki_out, NULL, EVP_sha256(), NULL) == 1;
  OPENSSL_free(der);
  X509_free(certificate);
  BIO_free(bio);
  return ok ? 0 : NX_E_CRYPTO;
}

int nx_rpc_call_peer_spki(struct nx_rpc_call *call, uint8_t spki_out[NX_SPKI_HASH_SIZE],
                          struct nx_error *err) {
  grpc_auth_context *auth = grpc_call_auth_context(call->call);
  int r = NX_E_DENIED;
  if (auth && grpc_auth_context_peer_is_authenticated(auth)) {
    grpc_auth_property_iterator found =
        grpc_auth_context_find_properties_by_name(auth, GRPC_X509_PEM_CERT_PROPERTY_NAME);
    const grpc_auth_property *property = grpc_auth_property_iterator_next(&found);
    if (property)
      r = spki_of_pem(property->value, property->value_length, spki_out);
  }
  grpc_auth_context_release(auth);
  if (r < 0)
    return nx_fail(err, r,
                   r == NX_E_DENIED ? "the peer has shown no certificate"
                                    : "the peer's certificate cannot be read");
  return 0;
}

static const struct {
  enum nx_rpc_status status;
  int code;
} table[] = {
    {NX_RPC_OK, 0},
    {NX_RPC_CANCELLED, NX_E_CANCELLED},
    {NX_RPC_INVALID_ARGUMENT, NX_E_INVALID},
    {NX_RPC_DEADLINE_EXCEEDED, NX_E_TIMEOUT},
    {NX_RPC_NOT_FOUND, NX_E_NOT_FOUND},
    {NX_RPC_ALREADY_EXISTS, NX_E_EXISTS},
    {NX_RPC_PERMISSION_DENIED, NX_E_DENIED},
    {NX_RPC_RESOURCE_EXHAUSTED, NX_E_LIMIT},
    {NX_RPC_FAILED_PRECONDITION, NX_E_STATE},
    {NX_RPC_ABORTED, NX_E_PROTOCOL},
    {NX_RPC_UNIMPLEMENTED, NX_E_UNSUPPORTED},
    {NX_RPC_INTERNAL, NX_E_IO},
    {NX_RPC_UNAVAILABLE, NX_E_PEER},
    {NX_RPC_UNAUTHENTICATED, NX_E_CRYPTO},
    /* The other way only. */
    {NX_RPC_INVALID_ARGUMENT, NX_E_FORMAT},
    {NX_RPC_RESOURCE_EXHAUSTED, NX_E_NOMEM},
};

int nx_rpc_status_code(enum nx_rpc_status status) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].status == status)
      return table[i].code;
  return NX_E_PEER;
}

enum nx_rpc_status nx_rpc_status_of_code(int code) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].code == code)
      return table[i].status;
  return NX_RPC_UNKNOWN;
}
