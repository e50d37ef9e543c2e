/* Int16 scale: one symmetric 16-bit scale for a whole recording, for the EDF files we write. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Smallest whole number of micro-volts that is at least the largest |x|, and at least 1. */
double nx_int16_limit(const double *x, size_t n);
/* -limit..limit onto -32768..32767, rounded to nearest even, as numpy's round does. */
void nx_int16_encode(const double *x, size_t n, double limit, int16_t *out);
