/* The kernels on pairs of bfloat16 numbers with AVX512_BF16: igemm_loops.h's tiles with vdpbf16ps, which adds two
 * products to a float, flushing denormals, and the movers of data. */
#include "kernels/conv/bf16_dot2.h"

#include "kernels/lanes.h"

#define SMRI_IGEMM_PRECISION SMRI_BF16

SMRI_INLINE floats broadcast(const void *row, size_t word) {
    int32_t x; /* where a pixel has an odd number of channels every other row begins between two words */
    memcpy(&x, (const char *)row + 4 * word, sizeof x);
    return _mm512_castsi512_ps(_mm512_set1_epi32(x));
}

SMRI_INLINE floats broadcast_last(const void *row, size_t number) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(((const smri_bf16 *)row)[number]));
}

SMRI_INLINE floats multiply_add(floats x, floats w, floats sum) { return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w); }

#include "kernels/conv/igemm_loops.h"

static __m512i pairs_of(__m256i even, __m256i odd) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

static __m256i rounded_row(const float *in) { return round_to_bf16(_mm512_loadu_ps(in)); }

static void weights(uint32_t *out, const float *in, size_t rows) {
    for (size_t d = 0; d < rows; d += 2, in += 2 * SMRI_CONV_BLOCK)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i += SMRI_LANES, out += SMRI_LANES) {
            const __m256i odd = d + 1 < rows ? rounded_row(in + SMRI_CONV_BLOCK + i) : _mm256_setzero_si256();
            _mm512_storeu_si512(out, pairs_of(rounded_row(in + i), odd));
        }
}

/* Words 0 to 15 of a and b in turn; 16 to 31 are 16 further. */
static const uint16_t in_turn[32] __attribute__((aligned(64))) = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38,
                                                                  7,  39,
                                                                  8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46,
                                                                      15, 47};

static void interleave(uint32_t *out, const smri_bf16 *even, const smri_bf16 *odd, size_t n) {
    const __mmask16 has_even = even != NULL ? 0xFFFF : 0, has_odd = odd != NULL ? 0xFFFF : 0;
    size_t i = 0;
    if (even != NULL && odd != NULL) {
        const __m512i low = _mm512_load_si512(in_turn), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
        for (; i + 2 * SMRI_LANES <= n; i += 2 * SMRI_LANES) {
            const __m512i a = _mm512_loadu_si512(even + i), b = _mm512_loadu_si512(odd + i);
            _mm512_storeu_si512(out + i, _mm512_permutex2var_epi16(a, low, b));
            _mm512_storeu_si512(out + i + SMRI_LANES, _mm512_permutex2var_epi16(a, high, b));
        }
    }
    for (; i < n; i += SMRI_LANES) {
        const __mmask16 lanes = lanes_of(n - i);
        const __m256i a = _mm256_maskz_loadu_epi16(lanes & has_even, has_even ? even + i : NULL);
        const __m256i b = _mm256_maskz_loadu_epi16(lanes & has_odd, has_odd ? odd + i : NULL);
        _mm512_mask_storeu_epi32(out + i, lanes, pairs_of(a, b));
    }
}

static void copy(smri_bf16 *restrict out, size_t out_stride, const smri_bf16 *restrict in, size_t in_stride, size_t rows,
                 size_t n) {
    for (size_t r = 0; r < rows; r++, out += out_stride, in += in_stride)
        for (size_t i = 0; i < n; i += 2 * SMRI_LANES) {
            const __mmask32 lanes = n - i >= 2 * SMRI_LANES ? 0xFFFFFFFF : (1u << (n - i)) - 1;
            _mm512_mask_storeu_epi16(out + i, lanes, _mm512_maskz_loadu_epi16(lanes, in + i));
        }
}

void smri_bf16_dot2_kernels_avx512bf16(struct smri_bf16_dot2_kernels *kernels) {
    *kernels = (struct smri_bf16_dot2_kernels){tile, gemm_tn, weights, interleave, copy};
}
