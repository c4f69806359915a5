/* Winograd's transforms with 8 channels in a vector. */
#include "kernels/winograd.h"

#include <immintrin.h>

typedef __m256 vector;
#define LANES 8

static inline vector splat(float f) { return _mm256_set1_ps(f); }
static inline vector multiply_add(vector a, vector b, vector c) { return _mm256_fmadd_ps(a, b, c); }
static inline vector load(const float *p) { return _mm256_loadu_ps(p); }
static inline void store(float *p, vector v) { _mm256_storeu_ps(p, v); }
static inline __m256i first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vector load_part(const float *p, size_t n) { return _mm256_maskload_ps(p, first(n)); }
static inline void store_part(float *p, vector v, size_t n) { _mm256_maskstore_ps(p, first(n), v); }

#include "kernels/winograd_tiles.h"

void smri_winograd_kernels_avx2(struct smri_winograd_kernels *kernels) {
    *kernels = (struct smri_winograd_kernels){input, gradient, output, weights, weights_gradient};
}
