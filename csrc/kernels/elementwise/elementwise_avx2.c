/* ReLU and dropout in AVX2. Dropout computes eight Philox blocks side by side: 32 elements; what is left of a row after the
 * last whole 32 goes through a buffer. */
#include "kernels/elementwise/elementwise.h"

#include <immintrin.h>
#include <string.h>

#define SMRI_LANES ((size_t)8)
#define SMRI_INLINE static inline __attribute__((always_inline))

static void relu_fwd(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) _mm256_storeu_ps(y + i, _mm256_max_ps(_mm256_setzero_ps(),
                                                                                       _mm256_loadu_ps(x + i)));
    for (; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static void relu_bwd(float *dx, const float *dy, const float *y, size_t n) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) {
        const __m256 positive = _mm256_cmp_ps(_mm256_loadu_ps(y + i), _mm256_setzero_ps(), _CMP_GT_OQ);
        _mm256_storeu_ps(dx + i, _mm256_and_ps(_mm256_loadu_ps(dy + i), positive));
    }
    for (; i < n; i++) dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}

/* High and low words of the 64-bit products of all eight lanes: even and odd lanes are multiplied apart. */
SMRI_INLINE void multiply_wide(__m256i *high, __m256i *low, __m256i a, uint32_t b) {
    const __m256i factor = _mm256_set1_epi32((int)b);
    const __m256i even = _mm256_mul_epu32(a, factor), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

SMRI_INLINE void philox_round(__m256i c[4], uint32_t k0, uint32_t k1) {
    __m256i high0, low0, high1, low1;
    multiply_wide(&high0, &low0, c[0], 0xD2511F53u);
    multiply_wide(&high1, &low1, c[2], 0xCD9E8D57u);
    const __m256i first = _mm256_xor_si256(_mm256_xor_si256(high1, c[1]), _mm256_set1_epi32((int)k0));
    const __m256i third = _mm256_xor_si256(_mm256_xor_si256(high0, c[3]), _mm256_set1_epi32((int)k1));
    c[0] = first, c[1] = low1, c[2] = third, c[3] = low0;
}

/* words[k] = words 8 k .. 8 k + 7 of the stream from block `first` on. The lanes count so that a transpose inside 128-bit
 * lanes, four by four, is all that the order needs. */
SMRI_INLINE void philox_32(__m256i words[4], uint32_t first, const struct smri_dropout_row *row) {
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    __m256i c[4] = {_mm256_add_epi32(_mm256_set1_epi32((int)first), order), _mm256_set1_epi32((int)row->counter[1]),
                    _mm256_set1_epi32((int)row->counter[2]), _mm256_set1_epi32((int)row->counter[3])};
    uint32_t k0 = row->key[0], k1 = row->key[1];
    for (int round = 0; round < 10; round++) {
        philox_round(c, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    const __m256i a = _mm256_unpacklo_epi32(c[0], c[1]), b = _mm256_unpackhi_epi32(c[0], c[1]);
    const __m256i d = _mm256_unpacklo_epi32(c[2], c[3]), e = _mm256_unpackhi_epi32(c[2], c[3]);
    words[0] = _mm256_unpacklo_epi64(a, d);
    words[1] = _mm256_unpackhi_epi64(a, d);
    words[2] = _mm256_unpacklo_epi64(b, e);
    words[3] = _mm256_unpackhi_epi64(b, e);
}

SMRI_INLINE void dropout_32(float *y, const float *x, uint32_t block, const struct smri_dropout_row *row) {
    const __m256i threshold = _mm256_set1_epi32((int)row->threshold);
    __m256i words[4];
    philox_32(words, block, row);
    for (size_t k = 0; k < 4; k++) {
        const __m256i kept = _mm256_cmpeq_epi32(_mm256_max_epu32(words[k], threshold), words[k]); /* unsigned >= */
        const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + k * SMRI_LANES), _mm256_set1_ps(row->factor));
        _mm256_storeu_ps(y + k * SMRI_LANES, _mm256_and_ps(scaled, _mm256_castsi256_ps(kept)));
    }
}

static void dropout(float *y, const float *x, size_t n, const struct smri_dropout_row *row) {
    const struct smri_dropout_row local = *row; /* so that stores cannot touch it */
    size_t i = 0;
    for (; i + 4 * SMRI_LANES <= n; i += 4 * SMRI_LANES) dropout_32(y + i, x + i, (uint32_t)(i / 4), &local);
    if (i == n) return;
    float buffer[4 * SMRI_LANES] = {0};
    memcpy(buffer, x + i, (n - i) * sizeof *x);
    dropout_32(buffer, buffer, (uint32_t)(i / 4), &local);
    memcpy(y + i, buffer, (n - i) * sizeof *y);
}

void smri_elementwise_kernels_avx2(struct smri_elementwise_kernels *table) {
    *table = (struct smri_elementwise_kernels){relu_fwd, relu_bwd, dropout};
}
