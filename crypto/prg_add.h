/* Keystream that lies in memory, added to lanes or taken off: the plain way. Lanes and
 * keystream are little-endian in memory whatever the machine is. Internal. */
#pragma once

#include <string.h>

#include "common/bytes.h"
#include "crypto/prg.h"

static inline void nx_prg_add_u16(uint8_t *lanes, const uint8_t *keystream, size_t n,
                                  uint16_t negate) {
  for (size_t i = 0; i < n; i++) {
    uint16_t lane, k = nx_load_le16(keystream + 2 * i);
    memcpy(&lane, lanes + 2 * i, 2);
    lane = (uint16_t)(lane + (k ^ negate) - negate);
    memcpy(lanes + 2 * i, &lane, 2);
  }
}

static inline void nx_prg_add_u32(uint8_t *lanes, const uint8_t *keystream, size_t n,
                                  uint32_t negate) {
  for (size_t i = 0; i < n; i++) {
    uint32_t lane, k = nx_load_le32(keystream + 4 * i);
    memcpy(&lane, lanes + 4 * i, 4);
    lane += (k ^ negate) - negate;
    memcpy(lanes + 4 * i, &lane, 4);
  }
}

static inline void nx_prg_add_u64(uint8_t *lanes, const uint8_t *keystream, size_t n,
                                  uint64_t negate) {
  for (size_t i = 0; i < n; i++) {
    uint64_t lane, k = nx_load_le64(keystream + 8 * i);
    memcpy(&lane, lanes + 8 * i, 8);
    lane += (k ^ negate) - negate;
    memcpy(lanes + 8 * i, &lane, 8);
  }
}

/* size bytes of both, a multiple of the lane's width. */
static inline void nx_prg_add(uint8_t *lanes, const uint8_t *keystream, size_t size,
                              enum nx_prg_lanes width, bool subtract) {
  if (width == NX_PRG_U64)
    nx_prg_add_u64(lanes, keystream, size / 8, subtract ? UINT64_MAX : 0);
  else if (width == NX_PRG_U16)
    nx_prg_add_u16(lanes, keystream, size / 2, subtract ? UINT16_MAX : 0);
  else
    nx_prg_add_u32(lanes, keystream, size / 4, subtract ? UINT32_MAX : 0);
}
