/* PRG: AEGIS-256 keystream (RFC 10032, used as a stream cipher) added to lanes. Internal.
 *
 * A stream is cut into segments of 32 KiB, so that any place of it is near a beginning. A
 * segment is four AEGIS-256 keystreams by turns: its block k (of 16 bytes) is block k / 4 of the
 * one with nonce = stream | segment | k mod 4 | 0, four 64-bit words, little-endian. Four, because
 * one alone would wait for the AES units most of the time.
 *
 * An engine does stretches from the beginning of a segment; nx_prg_aegis() cuts what is asked
 * for into these. */
#pragma once

#include "crypto/prg.h"

#define NX_AEGIS_SEGMENT ((size_t)32768)
#define NX_AEGIS_LANES 4
#define NX_AEGIS_STEP ((size_t)64) /* bytes: a block of each keystream */

struct nx_aegis_stretch {
  const uint8_t *key;
  uint64_t stream, segment;
  uint8_t *lanes; /* what the segment's first byte meets; unaligned */
  size_t size;    /* a multiple of NX_AEGIS_STEP, at most a segment */
  enum nx_prg_lanes width;
  bool subtract;
  const uint8_t *ahead, *ahead_end; /* as in struct nx_prg_call: a line a step */
};

typedef void (*nx_aegis_engine)(const struct nx_aegis_stretch *stretch);

/* workspace: nx_prg_aegis_workspace(). */
bool nx_prg_aegis(nx_aegis_engine engine, void *workspace, const struct nx_prg_call *call);
void *nx_prg_aegis_workspace(void);
void nx_prg_aegis_workspace_free(void *workspace);
