/* The loops behind pooling's vector kernels, written once for vectors of any width and numbers of either precision (lanes.h).
 * The taps come one after the other, in registers. */
#include "kernels/lanes.h"
#include "kernels/pool2d/pool2d.h"

/* A later tap wins when it is greater, or NaN. */
SMRI_INLINE void challenge(floats *best, uints *where, floats candidate, uints here) {
    const uints wins = (uints)(candidate > *best) | (uints)(candidate != candidate);
    *best = vselect(wins, candidate, *best);
    *where = (uints)vselect(wins, (floats)here, (floats)*where);
}

/* Prefetches what the pixel after the next will need, since the rows of a window are far apart. */
SMRI_INLINE void max_columns(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps,
                             size_t ahead, enum smri_precision precision, size_t c, size_t width, size_t n) {
    floats best[SMRI_SIDE_BY_SIDE];
    uints where[SMRI_SIDE_BY_SIDE];
    for (size_t k = 0; k < width; k++) {
        best[k] = vload(x[0], c + k * SMRI_LANES, n, precision);
        where[k] = (uints){0} + places[0];
    }
    for (size_t i = 1; i < n_taps; i++) {
        const uints here = (uints){0} + places[i];
        for (size_t k = 0; k < width; k++) {
            __builtin_prefetch(smri_elem_const(x[i], c + k * SMRI_LANES + ahead, precision), 0, 2);
            challenge(&best[k], &where[k], vload(x[i], c + k * SMRI_LANES, n, precision), here);
        }
    }
    for (size_t k = 0; k < width; k++) {
        vstore(y, c + k * SMRI_LANES, best[k], n, precision);
        if (place != NULL) vstore_bytes(place + c + k * SMRI_LANES, where[k], n);
    }
}

SMRI_INLINE void max_fwd(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C,
                         enum smri_precision precision) {
    SMRI_FOR_COLUMNS(C, max_columns, y, place, x, places, n_taps, 4 * C, precision);
}

/* Channels c .. of the pixel w, which the windows first .. last - 1 cover. */
SMRI_INLINE void gather(const struct smri_max_row *row, size_t w, size_t first, size_t last, enum smri_precision precision,
                        size_t c, size_t width, size_t n) {
    floats sum[SMRI_SIDE_BY_SIDE];
    for (size_t k = 0; k < width; k++) sum[k] = vset1(0.0f);
    for (size_t q = first; q < last; q++)
        for (size_t i = 0; i < row->n_rows; i++) {
            const uint8_t mine = (uint8_t)(row->first_place[i] + w + row->columns.pad - q * row->columns.stride);
            for (size_t k = 0; k < width; k++) {
                const size_t at = q * row->C + c + k * SMRI_LANES;
                const uints won = (uints)(vload_bytes(row->place[i] + at, n) == mine);
                sum[k] = sum[k] + (floats)((uints)vload(row->dy[i], at, n, precision) & won);
            }
        }
    for (size_t k = 0; k < width; k++) {
        const size_t at = w * row->C + c + k * SMRI_LANES;
        if (row->stream) vstore_nt(row->dx, at, sum[k], precision);
        else vstore(row->dx, at, sum[k], n, precision);
    }
}

SMRI_INLINE void max_bwd(const struct smri_max_row *job, enum smri_precision precision) {
    struct smri_max_row row = *job; /* so that stores cannot touch it */
    row.stream = job->stream && fits_lines(job->dx, job->C, job->C, precision);
    size_t first = 0, last = 0;
    for (size_t w = 0; w < row.W; w++) {
        smri_windows_advance(&first, &last, w, &row.columns);
        SMRI_FOR_COLUMNS(row.C, gather, &row, w, first, last, precision);
    }
}

SMRI_INLINE void sum_columns(float *y, const void *x, double factor, size_t rows, size_t stride, enum smri_precision precision,
                             size_t c, size_t width, size_t n) {
    doubles low[SMRI_SIDE_BY_SIDE], high[SMRI_SIDE_BY_SIDE];
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
    SMRI_FOR_COLUMNS(C, sum_columns, y, x, (double)factor, rows, stride, precision);
}

#include "kernels/pool2d/pool2d_entries.h"
