/* Pooling's kernels in AVX-512: sixteen channels at a time, the taps one after the other in registers. */
#include "kernels/window.h"

#include "kernels/lanes_avx512.h"

/* `width` x 16 channels from c on: four vectors side by side, or one under a mask. Prefetches what the pixel after the next
 * will need, since the rows of a window are far apart. */
INLINE void max_columns(float *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t c,
                        size_t ahead, size_t width, __mmask16 lanes) {
    __m512 best[4];
    __m512i where[4];
    for (size_t k = 0; k < width; k++) {
        best[k] = load((const float *)x[0] + c + k * LANES, lanes);
        where[k] = _mm512_set1_epi32(places[0]);
    }
    for (size_t i = 1; i < n_taps; i++) {
        const __m512i here = _mm512_set1_epi32(places[i]);
        for (size_t k = 0; k < width; k++) {
            const float *at = (const float *)x[i] + c + k * LANES;
            _mm_prefetch((const char *)(at + ahead), _MM_HINT_T0);
            const __m512 candidate = load(at, lanes);
            const __mmask16 greater = _mm512_cmp_ps_mask(candidate, best[k], _CMP_GT_OQ);
            const __mmask16 wins = greater | _mm512_cmp_ps_mask(candidate, candidate, _CMP_UNORD_Q);
            best[k] = _mm512_mask_mov_ps(best[k], wins, candidate);
            where[k] = _mm512_mask_mov_epi32(where[k], wins, here);
        }
    }
    for (size_t k = 0; k < width; k++) {
        store(y + c + k * LANES, best[k], lanes);
        if (place != NULL) _mm512_mask_cvtepi32_storeu_epi8(place + c + k * LANES, lanes, where[k]);
    }
}

static void max_fwd(void *out, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C) {
    float *y = out;
    size_t c = 0;
    for (; c + 4 * LANES <= C; c += 4 * LANES) max_columns(y, place, x, places, n_taps, c, 4 * C, 4, ALL_LANES);
    for (; c < C; c += LANES) max_columns(y, place, x, places, n_taps, c, 4 * C, 1, lanes_of(C - c));
}

/* 64 channels, whose places are one vector of bytes. */
INLINE void gather_64(__m512 sum[4], const float *dy, const uint8_t *place, uint8_t mine) {
    const __mmask64 all = _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(place), _mm512_set1_epi8((char)mine));
    for (size_t k = 0; k < 4; k++) {
        const __mmask16 lanes = (__mmask16)(all >> (16 * k));
        sum[k] = _mm512_mask_add_ps(sum[k], lanes, sum[k], _mm512_loadu_ps(dy + k * LANES));
    }
}

static void max_bwd(void *out, const void *const *dy, const uint8_t *const *place, const uint8_t *places, size_t n_taps,
                    size_t C, bool stream) {
    float *dx = out;
    stream = stream && is_streamable(dx, C, C);
    size_t c = 0;
    for (; c + 4 * LANES <= C; c += 4 * LANES) {
        __m512 sum[4];
        for (size_t k = 0; k < 4; k++) sum[k] = _mm512_setzero_ps();
        for (size_t i = 0; i < n_taps; i++) gather_64(sum, (const float *)dy[i] + c, place[i] + c, places[i]);
        for (size_t k = 0; k < 4; k++) {
            if (stream) _mm512_stream_ps(dx + c + k * LANES, sum[k]);
            else _mm512_storeu_ps(dx + c + k * LANES, sum[k]);
        }
    }
    for (; c < C; c += LANES) {
        const __mmask16 lanes = lanes_of(C - c);
        __m512 sum = _mm512_setzero_ps();
        for (size_t i = 0; i < n_taps; i++) {
            const __m128i winner = _mm_maskz_loadu_epi8(lanes, place[i] + c);
            const __mmask16 mine = _mm_mask_cmpeq_epi8_mask(lanes, winner, _mm_set1_epi8((char)places[i]));
            sum = _mm512_mask_add_ps(sum, mine, sum, _mm512_maskz_loadu_ps(mine, (const float *)dy[i] + c));
        }
        store(dx + c, sum, lanes);
    }
}

/* 64 columns at a time: 256 bytes of each row, so that rows far apart are still read by whole runs of cache lines. */
#define GROUP (4 * LANES)

static void sum_group(float *y, const float *x, double factor, size_t rows, size_t stride) {
    __m512d sums[8];
    for (size_t k = 0; k < 8; k++) sums[k] = _mm512_setzero_pd();
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < 8; k++)
            sums[k] = _mm512_add_pd(sums[k], _mm512_cvtps_pd(_mm256_loadu_ps(x + r * stride + 8 * k)));
    for (size_t k = 0; k < 8; k++)
        _mm256_storeu_ps(y + 8 * k, _mm512_cvtpd_ps(_mm512_mul_pd(sums[k], _mm512_set1_pd(factor))));
}

static void sum_lanes(float *y, const float *x, double factor, size_t rows, size_t stride, __mmask16 lanes) {
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (size_t r = 0; r < rows; r++) {
        const __m512 v = load(x + r * stride, lanes);
        low = _mm512_add_pd(low, low_half(v));
        high = _mm512_add_pd(high, high_half(v));
    }
    const __m512d by = _mm512_set1_pd(factor);
    const __m256 first = _mm512_cvtpd_ps(_mm512_mul_pd(low, by)), second = _mm512_cvtpd_ps(_mm512_mul_pd(high, by));
    store(y, _mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1), lanes);
}

static void column_sum(float *y, const void *numbers, float factor, size_t rows, size_t C, size_t stride) {
    const float *x = numbers;
    size_t c = 0;
    for (; c + GROUP <= C; c += GROUP) sum_group(y + c, x + c, (double)factor, rows, stride);
    for (; c < C; c += LANES) sum_lanes(y + c, x + c, (double)factor, rows, stride, lanes_of(C - c));
}

void smri_window_kernels_avx512(struct smri_window_kernels table[SMRI_PRECISIONS]) {
    table[SMRI_FP32] = (struct smri_window_kernels){max_fwd, max_bwd, column_sum};
}
