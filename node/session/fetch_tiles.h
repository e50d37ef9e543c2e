/* Fetch tiles: the masked tiles of every member of U3 that a spot check asked for. */
#pragma once

#include "node/session/spot_check.h"
#include "node/session/transfer.h"
#include "proto/codec/codec_round.h"

/* Asks for the check's tiles and adds every answer to it. A tile that does not fit its
 * upload's root is NX_E_CRYPTO. */
int nx_fetch_tiles(struct nx_rpc_client *client, const struct nx_tile_request *request,
                   const struct nx_stop *stop, struct nx_spot_check *check, struct nx_error *err);
