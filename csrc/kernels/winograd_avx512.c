/* Winograd's transforms with 16 channels in a vector. */
#include "kernels/winograd.h"

#include <immintrin.h>

typedef __m512 vector;
#define LANES 16

static inline vector splat(float f) { return _mm512_set1_ps(f); }
static inline vector multiply_add(vector a, vector b, vector c) { return _mm512_fmadd_ps(a, b, c); }
static inline vector load(const float *p) { return _mm512_loadu_ps(p); }
static inline void store(float *p, vector v) { _mm512_storeu_ps(p, v); }
static inline __mmask16 first(size_t n) { return (__mmask16)((1u << n) - 1); }
static inline vector load_part(const float *p, size_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
static inline void store_part(float *p, vector v, size_t n) { _mm512_mask_storeu_ps(p, first(n), v); }

#include "kernels/winograd_tiles.h"

void smri_winograd_kernels_avx512(struct smri_winograd_kernels *kernels) {
    *kernels = (struct smri_winograd_kernels){input, gradient, output, weights, weights_gradient};
}
