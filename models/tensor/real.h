/* Real: the number type of tapes and kernels. float in what ships; the same sources are
 * built once more with NX_REAL_DOUBLE as the reference that gradients are checked on. */
#pragma once

#ifdef NX_REAL_DOUBLE
typedef double nx_real;
#else
typedef float nx_real;
#endif
