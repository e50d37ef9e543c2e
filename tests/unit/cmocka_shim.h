/* cmocka wants these four before it; every test includes this instead. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* NEUROX_TEST_LIGHT: under sanitizers, where memory is what is looked at and arithmetic is slow, a
 * test may repeat itself a tenth of the times. */
static inline size_t __attribute__((unused)) test_times(size_t n) {
  return getenv("NEUROX_TEST_LIGHT") ? (n + 9) / 10 : n;
}
