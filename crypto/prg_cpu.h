/* What this processor has. clang 14 does not know the names "aes" and "vaes", so these come
 * from cpuid itself; "avx2" also tells that the operating system saves the registers. Internal. */
#pragma once

#include <cpuid.h>
#include <stdbool.h>

static inline bool nx_cpu_has_aes(void) {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_AES);
}

static inline bool nx_cpu_has_vaes(void) {
  unsigned eax, ebx, ecx, edx;
  return nx_cpu_has_aes() && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx & 1u << 9);
}

static inline bool nx_cpu_has_vaes_and_avx2(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && nx_cpu_has_vaes();
}
