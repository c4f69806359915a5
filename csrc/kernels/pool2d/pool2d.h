/* Kernels of pooling: one pixel of C channels from the pixels ("taps") of its window, and sums over many pixels. Which taps
 * exist at a border is the caller's business. There is a table for each precision; `void *` points to numbers of that
 * precision. Pointers need no alignment beyond a number's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/family.h"

#define SMRI_MAX_WINDOW 16 /* a place in it fits a byte */
#define SMRI_MAX_TAPS (SMRI_MAX_WINDOW * SMRI_MAX_WINDOW)

/* Windows along one axis, and moving the half-open range of those that cover a coordinate on to coordinate h; the range is
 * 0, 0 at first and the coordinates ascend. */
struct smri_windows {
    size_t window, stride, pad, count;
};
static inline void smri_windows_advance(size_t *first, size_t *last, size_t h, const struct smri_windows *along) {
    const size_t padded = h + along->pad;
    while (*first < along->count && *first * along->stride + along->window <= padded) (*first)++;
    while (*last < along->count && *last * along->stride <= padded) (*last)++;
}

/* One row of the gradient of a maximum, from the n_rows rows of windows that cover it: dx[W][C] = the sum of dy[i][q][C] over
 * the windows q that cover the pixel and, for each, over i, both ascending, where place[i][q][C] is the pixel's place in the
 * window: first_place[i] in its first column. With `stream` dx may bypass the caches, and other threads see it after this
 * thread's next locked instruction (the pool's hand-over). */
struct smri_max_row {
    void *dx;
    const void *dy[SMRI_MAX_WINDOW];
    const uint8_t *place[SMRI_MAX_WINDOW];
    size_t first_place[SMRI_MAX_WINDOW];
    size_t n_rows, W, C;
    struct smri_windows columns;
    bool stream;
};

struct smri_pool2d_kernels {
    /* y[C] = max over the taps x[i][C], and place[C] (NULL: not wanted) = places[i] of the winner: the first of equals,
     * and a NaN, the last one, before any number. n_taps >= 1. */
    void (*max_fwd)(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C);
    void (*max_bwd)(const struct smri_max_row *row);
    /* y[C] = factor * sum over rows of x[rows][C] with rows `stride` numbers apart; summed in double, in ascending order. */
    void (*column_sum)(float *y, const void *x, float factor, size_t rows, size_t C, size_t stride);
};

SMRI_DECLARE_FILLERS(smri_pool2d_kernels, struct smri_pool2d_kernels); /* of both precisions */
