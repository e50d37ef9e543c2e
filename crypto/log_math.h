/* Log math: sums, differences and tails of numbers that exist only as logarithms, so that
 * the accountant neither overflows nor underflows. -INFINITY stands for zero and INFINITY
 * for infinity; no function turns either into NaN unless the question has no answer. Any
 * thread (no lgamma(), whose sign lives in a global). */
#pragma once

#include <stdint.h>

double nx_log_add(double a, double b); /* ln(e^a + e^b) */
double nx_log_sub(double a, double b); /* ln(e^a - e^b); a >= b, -INFINITY when equal */

double nx_log_factorial(uint32_t n);                /* ln n! */
double nx_log_binomial(uint32_t n, uint32_t k);     /* ln C(n, k); k <= n */
double nx_log_power(double log_base, double power); /* power * log_base, with 0^0 = 1 */

double nx_log_normal_cdf(double x); /* ln Phi(x), also where Phi(x) underflows */
