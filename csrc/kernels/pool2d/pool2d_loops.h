/* The loops behind pooling's vector kernels, written once for vectors of any width and numbers of either precision (lanes.h).
 * Each instruction set's file compiles its own copy: SMRI_POOL2D_VECTORS vectors of channels side by side, so that
 * pixels far apart are read in runs of cache lines, then single ones, the taps one after the other in registers. */
#ifndef SMRI_KERNELS_POOL2D_POOL2D_LOOPS_H
#define SMRI_KERNELS_POOL2D_POOL2D_LOOPS_H

#include "kernels/lanes.h"
#include "kernels/pool2d/pool2d.h"

#define SMRI_POOL2D_VECTORS ((size_t)4)

#if defined(__AVX512F__)
typedef __m512i places_of;
SMRI_INLINE places_of all_places(uint8_t place) { return _mm512_set1_epi32(place); }

/* A later tap wins when it is greater, or NaN. */
SMRI_INLINE void challenge(floats *best, places_of *where, floats candidate, places_of here) {
    const __mmask16 greater = _mm512_cmp_ps_mask(candidate, *best, _CMP_GT_OQ);
    const __mmask16 wins = greater | _mm512_cmp_ps_mask(candidate, candidate, _CMP_UNORD_Q);
    *best = _mm512_mask_mov_ps(*best, wins, candidate);
    *where = _mm512_mask_mov_epi32(*where, wins, here);
}

SMRI_INLINE void put_places(uint8_t *out, places_of where, size_t n) {
    _mm512_mask_cvtepi32_storeu_epi8(out, lanes_of(n), where);
}

/* sum, plus v where the place is `mine`. */
SMRI_INLINE floats add_where(floats sum, floats v, const uint8_t *place, uint8_t mine, size_t n) {
    const __mmask16 lanes = lanes_of(n);
    const __m128i winner = n == SMRI_LANES ? _mm_loadu_si128((const void *)place) : _mm_maskz_loadu_epi8(lanes, place);
    return _mm512_mask_add_ps(sum, _mm_mask_cmpeq_epi8_mask(lanes, winner, _mm_set1_epi8((char)mine)), sum, v);
}
#else
typedef uints places_of;
SMRI_INLINE places_of all_places(uint8_t place) { return (uints){0} + place; }

SMRI_INLINE void challenge(floats *best, places_of *where, floats candidate, places_of here) {
    const uints wins = (uints)(candidate > *best) | (uints)(candidate != candidate);
    *best = vselect(wins, candidate, *best);
    *where = (uints)vselect(wins, (floats)here, (floats)*where);
}

SMRI_INLINE void put_places(uint8_t *out, places_of where, size_t n) { vstore_bytes(out, where, n); }

SMRI_INLINE floats add_where(floats sum, floats v, const uint8_t *place, uint8_t mine, size_t n) {
    return sum + (floats)((uints)v & (uints)(vload_bytes(place, n) == mine));
}
#endif

/* Prefetches what the pixel after the next will need, since the rows of a window are far apart. */
SMRI_INLINE void max_columns(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t c,
                        size_t ahead, size_t width, size_t n, enum smri_precision precision) {
    floats best[SMRI_POOL2D_VECTORS];
    places_of where[SMRI_POOL2D_VECTORS];
    for (size_t k = 0; k < width; k++) {
        best[k] = vload(x[0], c + k * SMRI_LANES, n, precision);
        where[k] = all_places(places[0]);
    }
    for (size_t i = 1; i < n_taps; i++) {
        const places_of here = all_places(places[i]);
        for (size_t k = 0; k < width; k++) {
            __builtin_prefetch(smri_elem_const(x[i], c + k * SMRI_LANES + ahead, precision), 0, 2);
            challenge(&best[k], &where[k], vload(x[i], c + k * SMRI_LANES, n, precision), here);
        }
    }
    for (size_t k = 0; k < width; k++) {
        vstore(y, c + k * SMRI_LANES, best[k], n, precision);
        if (place != NULL) put_places(place + c + k * SMRI_LANES, where[k], n);
    }
}

#if defined(__AVX512BW__)
#define SMRI_POOL2D_WORDS ((size_t)32) /* bf16 numbers of one vector */

/* 32 width channels of bf16 numbers, compared as integers: sign and magnitude become two's complement, where both zeros are
 * one. False, and nothing written, if there is a NaN among them. */
SMRI_INLINE bool max_words(uint16_t *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t c,
                      size_t ahead, size_t width) {
    const __m512i sign = _mm512_set1_epi16((short)0x8000), infinity = _mm512_set1_epi16(0x7F80);
    __m512i best[SMRI_POOL2D_VECTORS], key[SMRI_POOL2D_VECTORS], where[SMRI_POOL2D_VECTORS], largest = _mm512_setzero_si512();
    for (size_t k = 0; k < width; k++) best[k] = where[k] = largest, key[k] = sign; /* below all candidates */
    for (size_t i = 0; i < n_taps; i++) {
        const __m512i here = _mm512_set1_epi16(places[i]);
        for (size_t k = 0; k < width; k++) {
            const uint16_t *at = (const uint16_t *)x[i] + c + k * SMRI_POOL2D_WORDS;
            _mm_prefetch((const char *)(at + ahead), _MM_HINT_T1);
            const __m512i v = _mm512_loadu_si512(at);
            const __m512i candidate = _mm512_mask_sub_epi16(v, _mm512_movepi16_mask(v), sign, v);
            largest = _mm512_max_epu16(largest, _mm512_andnot_si512(sign, v));
            const __mmask32 wins = _mm512_cmpgt_epi16_mask(candidate, key[k]);
            best[k] = _mm512_mask_mov_epi16(best[k], wins, v);
            key[k] = _mm512_mask_mov_epi16(key[k], wins, candidate);
            where[k] = _mm512_mask_mov_epi16(where[k], wins, here);
        }
    }
    if (_mm512_cmpgt_epu16_mask(largest, infinity) != 0) return false;
    for (size_t k = 0; k < width; k++) {
        _mm512_storeu_si512(y + c + k * SMRI_POOL2D_WORDS, best[k]);
        if (place != NULL) _mm512_mask_cvtepi16_storeu_epi8(place + c + k * SMRI_POOL2D_WORDS, (__mmask32)-1, where[k]);
    }
    return true;
}

/* As many of the first channels as are whole vectors without a NaN; returns how many. */
SMRI_INLINE size_t max_first(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C,
                        enum smri_precision precision) {
    size_t c = 0;
    if (precision != SMRI_BF16) return 0;
    for (; c + 2 * SMRI_POOL2D_WORDS <= C; c += 2 * SMRI_POOL2D_WORDS)
        if (!max_words(y, place, x, places, n_taps, c, 4 * C, 2)) return c;
    return c;
}
#else
SMRI_INLINE size_t max_first(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C,
                        enum smri_precision precision) {
    return 0;
}
#endif

SMRI_INLINE void max_fwd(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C,
                    enum smri_precision precision) {
    size_t c = max_first(y, place, x, places, n_taps, C, precision);
    for (; c + SMRI_POOL2D_VECTORS * SMRI_LANES <= C; c += SMRI_POOL2D_VECTORS * SMRI_LANES)
        max_columns(y, place, x, places, n_taps, c, 4 * C, SMRI_POOL2D_VECTORS, SMRI_LANES, precision);
    for (; c + SMRI_LANES <= C; c += SMRI_LANES) max_columns(y, place, x, places, n_taps, c, 4 * C, 1, SMRI_LANES, precision);
    if (c < C) max_columns(y, place, x, places, n_taps, c, 4 * C, 1, C - c, precision);
}

/* Channels c .. of the pixel w, which the windows first .. last - 1 cover. */
SMRI_INLINE void gather(const struct smri_max_row *row, size_t w, size_t first, size_t last, size_t c, size_t width, size_t n,
                   enum smri_precision precision) {
    floats sum[SMRI_POOL2D_VECTORS];
    for (size_t k = 0; k < width; k++) sum[k] = vset1(0.0f);
    for (size_t q = first; q < last; q++)
        for (size_t i = 0; i < row->n_rows; i++) {
            const uint8_t mine = (uint8_t)(row->first_place[i] + w + row->columns.pad - q * row->columns.stride);
            for (size_t k = 0; k < width; k++) {
                const size_t at = q * row->C + c + k * SMRI_LANES;
                sum[k] = add_where(sum[k], vload(row->dy[i], at, n, precision), row->place[i] + at, mine, n);
            }
        }
    for (size_t k = 0; k < width; k++) {
        const size_t at = w * row->C + c + k * SMRI_LANES;
        if (row->stream) vstore_nt(row->dx, at, sum[k], precision);
        else vstore(row->dx, at, sum[k], n, precision);
    }
}

SMRI_INLINE void put_pixel(const struct smri_max_row *row, size_t w, size_t c, const floats *v,
                           enum smri_precision precision) {
    for (size_t k = 0; k < SMRI_POOL2D_VECTORS; k++) {
        const size_t at = w * row->C + c + k * SMRI_LANES;
        if (row->stream) vstore_nt(row->dx, at, v[k], precision);
        else vstore(row->dx, at, v[k], SMRI_LANES, precision);
    }
}

/* SMRI_POOL2D_VECTORS vectors of channels from c on, of a row, for windows of 3 with stride 2 and padding 1
 * (ResNet's): window q covers the pixels 2q - 1, which it shares with the window before, 2q and 2q + 1. Each dy is read
 * once, not three times. */
SMRI_INLINE void gather_threes(const struct smri_max_row *row, size_t c, enum smri_precision precision) {
    floats before[SMRI_POOL2D_VECTORS], middle[SMRI_POOL2D_VECTORS], after[SMRI_POOL2D_VECTORS];
    for (size_t k = 0; k < SMRI_POOL2D_VECTORS; k++) after[k] = vset1(0.0f);
    for (size_t q = 0; q < row->columns.count; q++) {
        for (size_t k = 0; k < SMRI_POOL2D_VECTORS; k++) before[k] = after[k], middle[k] = after[k] = vset1(0.0f);
        for (size_t i = 0; i < row->n_rows; i++) {
            const uint8_t mine = (uint8_t)row->first_place[i];
            for (size_t k = 0; k < SMRI_POOL2D_VECTORS; k++) {
                const size_t at = q * row->C + c + k * SMRI_LANES;
                const floats dy = vload(row->dy[i], at, SMRI_LANES, precision);
                before[k] = add_where(before[k], dy, row->place[i] + at, mine, SMRI_LANES);
                middle[k] = add_where(middle[k], dy, row->place[i] + at, (uint8_t)(mine + 1), SMRI_LANES);
                after[k] = add_where(after[k], dy, row->place[i] + at, (uint8_t)(mine + 2), SMRI_LANES);
            }
        }
        if (q > 0) put_pixel(row, 2 * q - 1, c, before, precision);
        put_pixel(row, 2 * q, c, middle, precision);
    }
    if (2 * row->columns.count == row->W) put_pixel(row, row->W - 1, c, after, precision);
}

SMRI_INLINE void max_bwd(const struct smri_max_row *job, enum smri_precision precision) {
    struct smri_max_row row = *job; /* so that stores cannot touch it */
    row.stream = job->stream && fits_lines(job->dx, job->C, job->C, precision);
    const size_t C = row.C;
    size_t first = 0, last = 0;
    if (C % (SMRI_POOL2D_VECTORS * SMRI_LANES) == 0 && row.columns.window == 3 && row.columns.stride == 2 &&
        row.columns.pad == 1) {
        for (size_t c = 0; c < C; c += SMRI_POOL2D_VECTORS * SMRI_LANES) gather_threes(&row, c, precision);
        return;
    }
    for (size_t w = 0; w < row.W; w++) {
        smri_windows_advance(&first, &last, w, &row.columns);
        size_t c = 0;
        for (; c + SMRI_POOL2D_VECTORS * SMRI_LANES <= C; c += SMRI_POOL2D_VECTORS * SMRI_LANES) gather(&row, w, first,
                                                                                                        last, c, SMRI_POOL2D_VECTORS, SMRI_LANES, precision);
        for (; c + SMRI_LANES <= C; c += SMRI_LANES) gather(&row, w, first, last, c, 1, SMRI_LANES, precision);
        if (c < C) gather(&row, w, first, last, c, 1, C - c, precision);
    }
}

SMRI_INLINE void sum_columns(float *y, const void *x, double factor, size_t rows, size_t c, size_t stride, size_t width,
                             size_t n,
                        enum smri_precision precision) {
    doubles low[SMRI_POOL2D_VECTORS], high[SMRI_POOL2D_VECTORS];
    for (size_t k = 0; k < width; k++) low[k] = high[k] = vset1_double(0.0);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < width; k++) {
            const size_t i = r * stride + c + k * SMRI_LANES;
            __builtin_prefetch(smri_elem_const(x, i + 32 * stride, precision), 0, 2);
            const floats v = vload(x, i, n, precision);
            low[k] = low[k] + low_half(v);
            high[k] = high[k] + high_half(v);
        }
    for (size_t k = 0; k < width; k++)
        vstore(y, c + k * SMRI_LANES, from_halves(low[k] * vset1_double(factor), high[k] * vset1_double(factor)), n,
               SMRI_FP32);
}

SMRI_INLINE void column_sum(float *y, const void *x, float factor, size_t rows, size_t C, size_t stride,
                       enum smri_precision precision) {
    size_t c = 0;
    for (; c + SMRI_POOL2D_VECTORS * SMRI_LANES <= C; c += SMRI_POOL2D_VECTORS * SMRI_LANES)
        sum_columns(y, x, (double)factor, rows, c, stride, SMRI_POOL2D_VECTORS, SMRI_LANES, precision);
    for (; c + SMRI_LANES <= C; c += SMRI_LANES) sum_columns(y, x, (double)factor, rows, c, stride, 1, SMRI_LANES, precision);
    if (c < C) sum_columns(y, x, (double)factor, rows, c, stride, 1, C - c, precision);
}

#include "kernels/pool2d/pool2d_entries.h"

#endif
