/* The kernels on pairs of bfloat16 numbers with AVX512_BF16's vdpbf16ps, which adds two products to a float, flushing
 * denormals. */
#include "kernels/lanes.h"

SMRI_INLINE floats multiply_add(floats x, floats w, floats sum) { return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w); }

#include "kernels/conv/bf16_dot2_loops.h"

/* Words 0 to 15 of a and b in turn; 16 to 31 are 16 further. */
static const uint16_t in_turn[32] __attribute__((aligned(64))) = {
    0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
    8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};

static void interleave(uint32_t *out, const smri_bf16 *even, const smri_bf16 *odd, size_t n) {
    size_t i = 0;
    if (even != NULL && odd != NULL) {
        const __m512i low = _mm512_load_si512(in_turn), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
        for (; i + 2 * SMRI_LANES <= n; i += 2 * SMRI_LANES) {
            const __m512i a = _mm512_loadu_si512(even + i), b = _mm512_loadu_si512(odd + i);
            _mm512_storeu_si512(out + i, _mm512_permutex2var_epi16(a, low, b));
            _mm512_storeu_si512(out + i + SMRI_LANES, _mm512_permutex2var_epi16(a, high, b));
        }
    }
    for (; i < n; i += SMRI_LANES) interleave_lanes(out, even, odd, i, n - i < SMRI_LANES ? n - i : SMRI_LANES);
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
