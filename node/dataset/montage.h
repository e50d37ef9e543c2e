/* Montage: electrode names of the 10-20 and 10-10 systems and their places on the unit
 * sphere (x right ear, y nose, z vertex), as in design/recipe-eegmat: the ears' circle at
 * 90 degrees from the vertex, F3, F4, P3, P4 midway between their neighbours. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* "EEG Fp1", "Fp1-Ref", "FP1.", "EEG FP1-LE" → "Fp1"; T7/T8/P7/P8 stay as they are. A
 * difference of two electrodes ("A2-A1", "Fp1-F7") is no electrode: false, as for any name
 * that is in neither system. */
bool nx_montage_clean(const char *label, char name_out[16]);

/* Unit-sphere place of a cleaned name; T3/T7, T4/T8, T5/P7, T6/P8 share places. */
bool nx_montage_position(const char *name, float xyz_out[3]);

/* True when both cleaned names mean one electrode (T3 and T7). */
bool nx_montage_same(const char *a, const char *b);
