/* EDF: our own tolerant reader of EDF, EDF+ and BDF(+) (Kemp et al. 1992; Kemp and Olivan
 * 2003; BioSemi's 24-bit variant), behind recording.h. Header and records:
 *
 *     256 bytes: version, patient, recording, date, time, header bytes, reserved,
 *                number of records (-1: not known), seconds a record, signals
 *     256 bytes a signal, field by field: all labels, all transducers, all units …
 *     records: signal 0's samples, signal 1's samples, …; little-endian 16 or 24 bits
 *
 * Tolerated: mixed rates, duplicate labels, no signals at all, a record count of -1 or one
 * that the file does not hold (the whole records that are there are read), prefilter text in
 * annotation channels, Latin-1 and UTF-8 annotations, a decimal comma, a wrong header size. */
#pragma once

#include "node/recordings/recording.h"

#define NX_EDF_RECORD_CAP ((size_t)64 << 20) /* largest data record, bytes */

/* The stored integers of one channel; NX_E_UNSUPPORTED when the recording is no EDF. */
int nx_edf_read_digital(struct nx_recording *recording, uint32_t channel, uint64_t first, size_t n,
                        int32_t *out, struct nx_error *err);

/* Physical value = gain * stored integer + shift; NX_E_UNSUPPORTED when it is no EDF. */
int nx_edf_calibration(const struct nx_recording *recording, uint32_t channel, double *gain_out,
                       double *shift_out, struct nx_error *err);
