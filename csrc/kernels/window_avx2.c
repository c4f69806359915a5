/* Pooling's kernels in AVX2: eight channels at a time, the taps one after the other in registers; the last C % 8 channels
 * go to the reference. */
#include "kernels/window.h"

#include <immintrin.h>
#include <string.h>

#define LANES ((size_t)8)

/* The reference takes pointers to the first channel of each tap. */
struct shifted {
    const void *values[SMRI_MAX_TAPS];
    const uint8_t *winners[SMRI_MAX_TAPS];
};

static void store_bytes(uint8_t *out, __m256i words) {
    const __m128i pairs = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64((__m128i *)out, _mm_packus_epi16(pairs, pairs));
}

static void max_tail(float *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C,
                     size_t body) {
    struct shifted taps;
    for (size_t i = 0; i < n_taps; i++) taps.values[i] = (const float *)x[i] + body;
    struct smri_window_kernels ref[SMRI_PRECISIONS];
    smri_window_kernels_ref(ref);
    ref[SMRI_FP32].max_fwd(y + body, place != NULL ? place + body : NULL, taps.values, places, n_taps, C - body);
}

static void max_fwd(void *out, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C) {
    float *y = out;
    size_t c = 0;
    for (; c + LANES <= C; c += LANES) {
        __m256 best = _mm256_loadu_ps((const float *)x[0] + c);
        __m256i where = _mm256_set1_epi32(places[0]);
        for (size_t i = 1; i < n_taps; i++) {
            const __m256 candidate = _mm256_loadu_ps((const float *)x[i] + c);
            const __m256 wins = _mm256_or_ps(_mm256_cmp_ps(candidate, best, _CMP_GT_OQ),
                                             _mm256_cmp_ps(candidate, candidate, _CMP_UNORD_Q));
            best = _mm256_blendv_ps(best, candidate, wins);
            where = _mm256_blendv_epi8(where, _mm256_set1_epi32(places[i]), _mm256_castps_si256(wins));
        }
        _mm256_storeu_ps(y + c, best);
        if (place != NULL) store_bytes(place + c, where);
    }
    if (c < C) max_tail(y, place, x, places, n_taps, C, c);
}

static void max_bwd(void *out, const void *const *dy, const uint8_t *const *place, const uint8_t *places, size_t n_taps,
                    size_t C, bool stream) {
    float *dx = out;
    stream = stream && (uintptr_t)dx % 32 == 0 && C % LANES == 0;
    size_t c = 0;
    for (; c + LANES <= C; c += LANES) {
        __m256 sum = _mm256_setzero_ps();
        for (size_t i = 0; i < n_taps; i++) {
            int64_t bytes;
            memcpy(&bytes, place[i] + c, sizeof bytes);
            const __m256i winner = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes));
            const __m256i mine = _mm256_cmpeq_epi32(winner, _mm256_set1_epi32(places[i]));
            sum = _mm256_add_ps(sum, _mm256_and_ps(_mm256_loadu_ps((const float *)dy[i] + c), _mm256_castsi256_ps(mine)));
        }
        if (stream) _mm256_stream_ps(dx + c, sum);
        else _mm256_storeu_ps(dx + c, sum);
    }
    if (c == C) return;
    struct shifted taps;
    for (size_t i = 0; i < n_taps; i++) taps.values[i] = (const float *)dy[i] + c, taps.winners[i] = place[i] + c;
    struct smri_window_kernels ref[SMRI_PRECISIONS];
    smri_window_kernels_ref(ref);
    ref[SMRI_FP32].max_bwd(dx + c, taps.values, taps.winners, places, n_taps, C - c, false);
}

/* 32 columns at a time: 128 bytes of each row, two cache lines that the prefetcher fetches together. */
#define GROUP ((size_t)32)

static void sum_group(float *y, const float *x, double factor, size_t rows, size_t stride) {
    __m256d sums[8];
    for (size_t k = 0; k < 8; k++) sums[k] = _mm256_setzero_pd();
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < 8; k++)
            sums[k] = _mm256_add_pd(sums[k], _mm256_cvtps_pd(_mm_loadu_ps(x + r * stride + 4 * k)));
    for (size_t k = 0; k < 8; k++) _mm_storeu_ps(y + 4 * k, _mm256_cvtpd_ps(_mm256_mul_pd(sums[k], _mm256_set1_pd(factor))));
}

static void column_sum(float *y, const void *numbers, float factor, size_t rows, size_t C, size_t stride) {
    const float *x = numbers;
    size_t c = 0;
    for (; c + GROUP <= C; c += GROUP) sum_group(y + c, x + c, (double)factor, rows, stride);
    if (c == C) return;
    struct smri_window_kernels ref[SMRI_PRECISIONS];
    smri_window_kernels_ref(ref);
    ref[SMRI_FP32].column_sum(y + c, x + c, factor, rows, C - c, stride);
}

void smri_window_kernels_avx2(struct smri_window_kernels table[SMRI_PRECISIONS]) {
    table[SMRI_FP32] = (struct smri_window_kernels){max_fwd, max_bwd, column_sum};
}
