/* Kernels of lanes.c, compiled twice: for any processor, and with AVX2 and FMA. */
#include "node/dataset/lanes_kernels.h"

#ifdef NX_LANES_FMA
#define NAME(kernel) nx_lanes_##kernel##_fma
#else
#define NAME(kernel) nx_lanes_##kernel##_any
#endif

typedef double quad __attribute__((vector_size(4 * sizeof(double))));

/* Two sections on two quads of a row: what a register file holds. States are variables of their
 * own, since gcc keeps no array in registers. unit: b0 and b2 are 1, and products by them need not
 * be made: the same bits. */
#define SECTION(k, s)                                                                              \
  do {                                                                                             \
    quad y = unit_##s ? v + p##k##s : b0##s * v + p##k##s;                                         \
    p##k##s = b1##s * v + q##k##s - a1##s * y;                                                     \
    q##k##s = (unit_##s ? v : b2##s * v) - a2##s * y;                                              \
    v = y;                                                                                         \
  } while (0)

static inline __attribute__((always_inline)) void
pair_any(const double (*c)[6], double (*state)[2][NX_LANES], size_t half, const double *from,
         ptrdiff_t from_step, double *to, ptrdiff_t to_step, size_t n, bool unit_a, bool unit_b) {
  const double *ca = c[0], *cb = c[1];
  double b0a = ca[0], b1a = ca[1], b2a = ca[2], a1a = ca[4], a2a = ca[5];
  double b0b = cb[0], b1b = cb[1], b2b = cb[2], a1b = cb[4], a2b = cb[5];
  quad *pa = (quad *)state[0][0] + 2 * half, *qa = (quad *)state[0][1] + 2 * half;
  quad *pb = (quad *)state[1][0] + 2 * half, *qb = (quad *)state[1][1] + 2 * half;
  quad p0a = pa[0], p1a = pa[1], q0a = qa[0], q1a = qa[1];
  quad p0b = pb[0], p1b = pb[1], q0b = qb[0], q1b = qb[1];
  for (size_t i = 0; i < n; i++, from += from_step, to += to_step) {
    const quad *in = (const quad *)from + 2 * half;
    quad *out = (quad *)to + 2 * half;
    quad v = in[0];
    SECTION(0, a);
    SECTION(0, b);
    out[0] = v;
    v = in[1];
    SECTION(1, a);
    SECTION(1, b);
    out[1] = v;
  }
  pa[0] = p0a, pa[1] = p1a, qa[0] = q0a, qa[1] = q1a;
  pb[0] = p0b, pb[1] = p1b, qb[0] = q0b, qb[1] = q1b;
}

/* One section on a whole row: four states that wait for nobody but themselves hide how long each
 * takes. */
static inline __attribute__((always_inline)) void
single_any(const double *c, double (*state)[NX_LANES], const double *from, ptrdiff_t from_step,
           double *to, ptrdiff_t to_step, size_t n) {
  const bool unit_a = false;
  double b0a = c[0], b1a = c[1], b2a = c[2], a1a = c[4], a2a = c[5];
  quad *p = (quad *)state[0], *q = (quad *)state[1];
  quad p0a = p[0], p1a = p[1], p2a = p[2], p3a = p[3];
  quad q0a = q[0], q1a = q[1], q2a = q[2], q3a = q[3];
  for (size_t i = 0; i < n; i++, from += from_step, to += to_step) {
    const quad *in = (const quad *)from;
    quad *out = (quad *)to;
    quad v = in[0];
    SECTION(0, a);
    out[0] = v, v = in[1];
    SECTION(1, a);
    out[1] = v, v = in[2];
    SECTION(2, a);
    out[2] = v, v = in[3];
    SECTION(3, a);
    out[3] = v;
  }
  p[0] = p0a, p[1] = p1a, p[2] = p2a, p[3] = p3a;
  q[0] = q0a, q[1] = q1a, q[2] = q2a, q[3] = q3a;
}

/* One or two sections over a block. */
void NAME(section)(const double (*c)[6], double (*state)[2][NX_LANES], const double *from,
            ptrdiff_t from_step, double *to, ptrdiff_t to_step, size_t n, bool two) {
  bool unit_a = c[0][0] == 1 && c[0][2] == 1, unit_b = two && c[1][0] == 1 && c[1][2] == 1;
  if (!two) {
    single_any(c[0], state[0], from, from_step, to, to_step, n);
    return;
  }
  for (size_t half = 0; half < 2; half++)
    if (unit_a && unit_b)
      pair_any(c, state, half, from, from_step, to, to_step, n, true, true);
    else if (unit_b)
      pair_any(c, state, half, from, from_step, to, to_step, n, false, true);
    else
      pair_any(c, state, half, from, from_step, to, to_step, n, false, false);
}

/* Two sums for each lane: one would wait for itself. */
void NAME(dot)(const double *taps, const double *rows, size_t n, double *out) {
  quad e0 = {0}, e1 = {0}, e2 = {0}, e3 = {0}, o0 = {0}, o1 = {0}, o2 = {0}, o3 = {0};
  const quad *in = (const quad *)rows;
  quad *sum = (quad *)out;
  size_t i = 0;
  for (; i + 2 <= n; i += 2, in += 8) {
    double even = taps[i], odd = taps[i + 1];
    e0 += even * in[0], e1 += even * in[1], e2 += even * in[2], e3 += even * in[3];
    o0 += odd * in[4], o1 += odd * in[5], o2 += odd * in[6], o3 += odd * in[7];
  }
  if (i < n)
    e0 += taps[i] * in[0], e1 += taps[i] * in[1], e2 += taps[i] * in[2], e3 += taps[i] * in[3];
  sum[0] = e0 + o0, sum[1] = e1 + o1, sum[2] = e2 + o2, sum[3] = e3 + o3;
}

typedef double loose __attribute__((vector_size(4 * sizeof(double)), aligned(8)));

/* Four channels by four samples at a time, turned in registers. */
static inline __attribute__((always_inline)) void turn(const double *x, size_t stride,
                                                       const double *mean, double *rows) {
  quad m = *(const loose *)mean, a = *(const loose *)x - m, b = *(const loose *)(x + stride) - m,
       c = *(const loose *)(x + 2 * stride) - m, d = *(const loose *)(x + 3 * stride) - m;
  quad ab0 = __builtin_shufflevector(a, b, 0, 4, 2, 6),
       ab1 = __builtin_shufflevector(a, b, 1, 5, 3, 7),
       cd0 = __builtin_shufflevector(c, d, 0, 4, 2, 6),
       cd1 = __builtin_shufflevector(c, d, 1, 5, 3, 7);
  *(quad *)(rows + 0 * NX_LANES) = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
  *(quad *)(rows + 1 * NX_LANES) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
  *(quad *)(rows + 2 * NX_LANES) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
  *(quad *)(rows + 3 * NX_LANES) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

void NAME(gather)(const double *x, size_t stride, size_t n_channels, const double *mean, size_t n,
                  double *rows) {
  size_t even = n_channels == NX_LANES ? n / 4 * 4 : 0;
  for (size_t i = 0; i < even; i += 4)
    for (size_t c = 0; c < NX_LANES; c += 4)
      turn(x + c * stride + i, stride, mean + i, rows + i * NX_LANES + c);
  for (size_t i = even; i < n; i++)
    for (size_t c = 0; c < NX_LANES; c++)
      rows[i * NX_LANES + c] = c < n_channels ? x[c * stride + i] - mean[i] : 0;
}

/* What turn() did, the other way round. */
static inline __attribute__((always_inline)) void turn_back(const double *rows, double *y,
                                                            size_t stride) {
  quad a = *(const quad *)rows, b = *(const quad *)(rows + NX_LANES),
       c = *(const quad *)(rows + 2 * NX_LANES), d = *(const quad *)(rows + 3 * NX_LANES);
  quad ab0 = __builtin_shufflevector(a, b, 0, 4, 2, 6),
       ab1 = __builtin_shufflevector(a, b, 1, 5, 3, 7),
       cd0 = __builtin_shufflevector(c, d, 0, 4, 2, 6),
       cd1 = __builtin_shufflevector(c, d, 1, 5, 3, 7);
  *(loose *)y = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
  *(loose *)(y + stride) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
  *(loose *)(y + 2 * stride) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
  *(loose *)(y + 3 * stride) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

void NAME(scatter)(const double *rows, size_t n, size_t n_channels, double *y, size_t stride) {
  size_t even = n / 4 * 4, whole = n_channels / 4 * 4;
  for (size_t i = 0; i < even; i += 4)
    for (size_t c = 0; c < whole; c += 4)
      turn_back(rows + i * NX_LANES + c, y + c * stride + i, stride);
  for (size_t i = 0; i < n; i++)
    for (size_t c = i < even ? whole : 0; c < n_channels; c++)
      y[c * stride + i] = rows[i * NX_LANES + c];
}

/* Four channels at a time, each in one stretch: what the memory likes best. */
void NAME(mean)(const double *x, size_t stride, size_t n_channels, size_t n, double *mean) {
  size_t even = n_channels / 4 * 4;
  for (size_t i = 0; i < n; i++)
    mean[i] = 0;
  for (size_t c = 0; c < even; c += 4) {
    const double *a = x + c * stride, *b = a + stride, *d = b + stride, *e = d + stride;
    for (size_t i = 0; i < n; i++)
      mean[i] = mean[i] + a[i] + b[i] + d[i] + e[i];
  }
  for (size_t c = even; c < n_channels; c++)
    for (size_t i = 0; i < n; i++)
      mean[i] += x[c * stride + i];
  for (size_t i = 0; i < n; i++)
    mean[i] /= (double)n_channels;
}
