/* Kernels of pooling: one pixel of C channels from the pixels ("taps") of its window, and sums over many pixels. Which taps
 * exist at a border is the caller's business. There is a table for each precision; `void *` points to numbers of that
 * precision. Pointers need no alignment beyond a number's. */
#ifndef SMRI_KERNELS_WINDOW_H
#define SMRI_KERNELS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smri/precision.h"

#define SMRI_MAX_TAPS 256 /* a window's place fits a byte */

struct smri_window_kernels {
    /* y[C] = max over the taps x[i][C], and place[C] (NULL: not wanted) = places[i] of the winner: the first of equals,
     * and a NaN, the last one, before any number. n_taps >= 1. */
    void (*max_fwd)(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C);
    /* dx[C] = sum of dy[i][C] where place[i][C] == places[i], in ascending i; 0 without taps. With `stream` dx
     * may bypass the caches, and other threads see it after this thread's next locked instruction (the pool's hand-over). */
    void (*max_bwd)(void *dx, const void *const *dy, const uint8_t *const *place, const uint8_t *places, size_t n_taps,
                    size_t C, bool stream);
    /* y[C] = factor * sum over rows of x[rows][C] with rows `stride` numbers apart; summed in double, in ascending order. */
    void (*column_sum)(float *y, const void *x, float factor, size_t rows, size_t C, size_t stride);
};

/* Each fills the slots that it improves; `_ref` fills all. */
void smri_window_kernels_ref(struct smri_window_kernels table[SMRI_PRECISIONS]);
void smri_window_kernels_avx2(struct smri_window_kernels table[SMRI_PRECISIONS]);
void smri_window_kernels_avx512(struct smri_window_kernels table[SMRI_PRECISIONS]);

#endif
