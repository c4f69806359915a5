/* The convolution kernels with 512-bit vectors: the tiles of igemm_loops_avx512.h on floats, and the movers of data. */
#include "kernels/conv/igemm.h"
#include "kernels/lanes_avx512.h"

#define SMRI_IGEMM_NUMBERS 1
#define SMRI_IGEMM_OUT_BYTES sizeof(float)

SMRI_INLINE __m512 broadcast(const void *row, size_t word) { return _mm512_set1_ps(((const float *)row)[word]); }

SMRI_INLINE __m512 multiply_add(__m512 x, __m512 w, __m512 sum) { return _mm512_fmadd_ps(x, w, sum); }

SMRI_INLINE void put(void *out, __mmask16 lanes, __m512 sum, bool accumulate, __m512 floor, bool streamed) {
    if (accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes, out));
    sum = _mm512_max_ps(floor, sum); /* the second one when it is NaN */
    if (streamed && lanes == 0xFFFF && (uintptr_t)out % 64 == 0)
        _mm512_stream_ps(out, sum);
    else
        _mm512_mask_storeu_ps(out, lanes, sum);
}

static void store_fence_avx512(void) { _mm_sfence(); }

#include "kernels/conv/igemm_loops_avx512.h"

static void transpose_avx512(float *out, const float *in, size_t rows, size_t cols) {
    for (size_t j = 0; j < cols; j += SMRI_LANES)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i += SMRI_LANES) {
            __m512i r[16];
            SMRI_UNROLL_16 for (size_t k = 0; k < 16; k++)
                r[k] = i + k < rows ? _mm512_loadu_si512(in + (i + k) * SMRI_CONV_BLOCK + j) : _mm512_setzero_si512();
            transpose_16x16(r);
            SMRI_UNROLL_16 for (size_t k = 0; k < 16; k++)
                if (j + k < cols) _mm512_storeu_si512(out + (j + k) * SMRI_CONV_BLOCK + i, r[k]);
        }
}

SMRI_INLINE void copy_row(float *restrict out, const float *restrict in, size_t n) {
    size_t i = 0;
    for (; i + 4 * SMRI_LANES <= n; i += 4 * SMRI_LANES) {
        const __m512 a = _mm512_loadu_ps(in + i), b = _mm512_loadu_ps(in + i + SMRI_LANES);
        const __m512 c = _mm512_loadu_ps(in + i + 2 * SMRI_LANES), d = _mm512_loadu_ps(in + i + 3 * SMRI_LANES);
        _mm512_storeu_ps(out + i, a), _mm512_storeu_ps(out + i + SMRI_LANES, b);
        _mm512_storeu_ps(out + i + 2 * SMRI_LANES, c), _mm512_storeu_ps(out + i + 3 * SMRI_LANES, d);
    }
    for (; i < n; i += SMRI_LANES) {
        const __mmask16 mask = n - i >= SMRI_LANES ? 0xFFFF : (__mmask16)((1u << (n - i)) - 1);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_maskz_loadu_ps(mask, in + i));
    }
}

static void copy_avx512(float *restrict out, size_t out_stride, const float *restrict in, size_t in_stride, size_t rows,
                        size_t n) {
    if (n > SMRI_LANES) {
        for (size_t r = 0; r < rows; r++) copy_row(out + r * out_stride, in + r * in_stride, n);
        return;
    }
    const __mmask16 mask = (__mmask16)((1u << n) - 1); /* a row of the stem's window is one masked load and store */
    for (size_t r = 0; r < rows; r++, out += out_stride, in += in_stride)
        _mm512_mask_storeu_ps(out, mask, _mm512_maskz_loadu_ps(mask, in));
}

void smri_conv_kernels_avx512(struct smri_conv_kernels *kernels) {
    *kernels = (struct smri_conv_kernels){tile, gemm_tn, store_fence_avx512, transpose_avx512, copy_avx512};
}
