/* Methods: the paths of every RPC, and how large its messages may be (docs/wire.md).
 *
 *   main port, mutual TLS                     who          request          response
 *     Session/Open                            member       stream Up        stream Down
 *     Round/Upload                            member       stream Part      Receipt
 *     Round/FetchTiles                        member       TileRequest      stream Tile
 *     Blob/Fetch                              member       BlobRequest      stream BlobChunk
 *     Identity/Renew                          member       RenewRequest     RenewResponse
 *     Admin/Submit Start Pause Stop Status    a role's     one              one
 *     Admin/Members                           a role's     one              one
 *     Admin/Watch                             a role's     one              stream Event
 *     Admin/Log                               a role's     one              stream BlobChunk
 *   enrolment port, server certificate only
 *     Enrol/Enrol                             anyone       EnrolRequest     EnrolResponse
 *
 * Which role may call what: coordinator/admin/roles.c. */
#pragma once

#include <stddef.h>

#define NX_METHOD_SESSION_OPEN "/neurox.v1.Session/Open"
#define NX_METHOD_IDENTITY_RENEW "/neurox.v1.Identity/Renew"
#define NX_METHOD_ROUND_UPLOAD "/neurox.v1.Round/Upload"
#define NX_METHOD_ROUND_FETCH_TILES "/neurox.v1.Round/FetchTiles"
#define NX_METHOD_BLOB_FETCH "/neurox.v1.Blob/Fetch"
#define NX_METHOD_ADMIN_START "/neurox.v1.Admin/Start"
#define NX_METHOD_ADMIN_SUBMIT "/neurox.v1.Admin/Submit"
#define NX_METHOD_ADMIN_PAUSE "/neurox.v1.Admin/Pause"
#define NX_METHOD_ADMIN_STOP "/neurox.v1.Admin/Stop"
#define NX_METHOD_ADMIN_STATUS "/neurox.v1.Admin/Status"
#define NX_METHOD_ADMIN_MEMBERS "/neurox.v1.Admin/Members"
#define NX_METHOD_ADMIN_WATCH "/neurox.v1.Admin/Watch"
#define NX_METHOD_ADMIN_LOG "/neurox.v1.Admin/Log"
#define NX_METHOD_ENROL "/neurox.v1.Enrol/Enrol"

/* Caps of one message: give the main port's as message_cap to nx_rpc_server_create() and
 * nx_rpc_client_create(). */
#define NX_MESSAGE_CAP_MAIN ((size_t)13 << 20)   /* an M4 of 255 members in its envelopes */
#define NX_MESSAGE_CAP_ENROL ((size_t)128 << 10) /* a CSR or a certificate */
#define NX_CHUNK_SIZE ((size_t)256 << 10)        /* data in one chunk of a stream */

#define NX_SOFTWARE_SIZE 64 /* "neurox-node 0.1.0", final 0 included */
