/* ReLU and dropout in AVX-512. Dropout computes sixteen Philox blocks side by side: 64 elements. */
#include "kernels/elementwise/elementwise.h"

#include "kernels/lanes_avx512.h"

static void relu_fwd(float *y, const float *x, size_t n) {
    const __m512 zero = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) _mm512_storeu_ps(y + i, _mm512_max_ps(zero, _mm512_loadu_ps(x + i)));
    const __mmask16 lanes = lanes_of(n - i);
    store(y + i, _mm512_max_ps(zero, load(x + i, lanes)), lanes);
}

SMRI_INLINE __m512 pass(const float *dy, const float *y, __mmask16 lanes) {
    const __m512 value = load(y, lanes);
    return _mm512_maskz_loadu_ps(_mm512_mask_cmp_ps_mask(lanes, value, _mm512_setzero_ps(), _CMP_GT_OQ), dy);
}

static void relu_bwd(float *dx, const float *dy, const float *y, size_t n) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) _mm512_storeu_ps(dx + i, pass(dy + i, y + i, SMRI_ALL_LANES));
    const __mmask16 lanes = lanes_of(n - i);
    store(dx + i, pass(dy + i, y + i, lanes), lanes);
}

/* High and low words of the 64-bit products of all sixteen lanes: even and odd lanes are multiplied apart. */
SMRI_INLINE void multiply_wide(__m512i *high, __m512i *low, __m512i a, uint32_t b) {
    const __m512i factor = _mm512_set1_epi32((int)b);
    const __m512i even = _mm512_mul_epu32(a, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), factor);
    *high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    *low = _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA);
}

SMRI_INLINE void philox_round(__m512i c[4], uint32_t k0, uint32_t k1) {
    __m512i high0, low0, high1, low1;
    multiply_wide(&high0, &low0, c[0], 0xD2511F53u);
    multiply_wide(&high1, &low1, c[2], 0xCD9E8D57u);
    const __m512i first = _mm512_xor_si512(_mm512_xor_si512(high1, c[1]), _mm512_set1_epi32((int)k0));
    const __m512i third = _mm512_xor_si512(_mm512_xor_si512(high0, c[3]), _mm512_set1_epi32((int)k1));
    c[0] = first, c[1] = low1, c[2] = third, c[3] = low0;
}

/* words[k] = words 16 k .. 16 k + 15 of the stream from block `first` on. The lanes count so that a transpose inside
 * 128-bit lanes, four by four, is all that the order needs. */
SMRI_INLINE void philox_64(__m512i words[4], uint32_t first, const struct smri_dropout_row *row) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i c[4] = {_mm512_add_epi32(_mm512_set1_epi32((int)first), order), _mm512_set1_epi32((int)row->counter[1]),
                    _mm512_set1_epi32((int)row->counter[2]), _mm512_set1_epi32((int)row->counter[3])};
    uint32_t k0 = row->key[0], k1 = row->key[1];
    for (int round = 0; round < 10; round++) {
        philox_round(c, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    const __m512i a = _mm512_unpacklo_epi32(c[0], c[1]), b = _mm512_unpackhi_epi32(c[0], c[1]);
    const __m512i d = _mm512_unpacklo_epi32(c[2], c[3]), e = _mm512_unpackhi_epi32(c[2], c[3]);
    words[0] = _mm512_unpacklo_epi64(a, d);
    words[1] = _mm512_unpackhi_epi64(a, d);
    words[2] = _mm512_unpacklo_epi64(b, e);
    words[3] = _mm512_unpackhi_epi64(b, e);
}

static void dropout(float *y, const float *x, size_t n, const struct smri_dropout_row *row) {
    const __m512i threshold = _mm512_set1_epi32((int)row->threshold);
    const __m512 factor = _mm512_set1_ps(row->factor);
    for (size_t i = 0; i < n; i += 4 * SMRI_LANES) {
        __m512i words[4];
        philox_64(words, (uint32_t)(i / 4), row);
        for (size_t k = 0; k < 4 && i + k * SMRI_LANES < n; k++) {
            const size_t at = i + k * SMRI_LANES;
            const __mmask16 lanes = lanes_of(n - at);
            const __mmask16 kept = _mm512_mask_cmpge_epu32_mask(lanes, words[k], threshold);
            store(y + at, _mm512_maskz_mul_ps(kept, _mm512_maskz_loadu_ps(kept, x + at), factor), lanes);
        }
    }
}

void smri_elementwise_kernels_avx512(struct smri_elementwise_kernels *table) {
    *table = (struct smri_elementwise_kernels){relu_fwd, relu_bwd, dropout};
}
