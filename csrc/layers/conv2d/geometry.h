/* The small arithmetic of a convolution's shape that its methods share. */
#pragma once

#include "smri/conv2d.h"

#define SMRI_CONV2D_BLOCK 32 /* output channels in one block of the packed weights: two 512-bit vectors */

/* With fewer channels than this a tap is too short for the kernels' inner loops, and the windows are packed into rows of
 * R S C instead: the stem (49 or 147 long). */
#define SMRI_CONV2D_PACK_BELOW 16

static inline size_t smri_min(size_t a, size_t b) { return a < b ? a : b; }

static inline size_t smri_conv2d_blocks(size_t channels) {
    return (channels + SMRI_CONV2D_BLOCK - 1) / SMRI_CONV2D_BLOCK;
}

/* Channels that block `index` really has: 32, or what is left in the last one. */
static inline size_t smri_conv2d_block_width(size_t channels, size_t index) {
    return smri_min(channels - index * SMRI_CONV2D_BLOCK, SMRI_CONV2D_BLOCK);
}

/* A 1x1 window that reads every pixel once: the convolution is one matrix product over all pixels. */
static inline bool smri_conv2d_is_pointwise(const struct smri_conv2d *shape) {
    return shape->R == 1 && shape->S == 1 && shape->stride == 1 && shape->pad == 0;
}

static inline bool smri_conv2d_packs_windows(const struct smri_conv2d *shape) {
    return shape->C < SMRI_CONV2D_PACK_BELOW && !smri_conv2d_is_pointwise(shape);
}

/* Words of two bf16 numbers that hold n numbers; the last one's partner may be missing. */
static inline size_t smri_conv2d_pairs(size_t n) { return (n + 1) / 2; }

/* Numbers of x, and of y. */
static inline size_t smri_conv2d_x_numbers(const struct smri_conv2d *s) { return s->N * s->H * s->W * s->C; }
static inline size_t smri_conv2d_y_numbers(const struct smri_conv2d *s) {
    return s->N * smri_conv2d_out_rows(s) * smri_conv2d_out_cols(s) * s->K;
}

/* Where a walk over the output pixels stands: image by image, row by row. */
struct smri_conv2d_cursor {
    size_t n, p, q;
};

static inline struct smri_conv2d_cursor smri_conv2d_cursor_at(size_t P, size_t Q, size_t pixel) {
    return (struct smri_conv2d_cursor){pixel / Q / P, pixel / Q % P, pixel % Q};
}

static inline void smri_conv2d_advance(struct smri_conv2d_cursor *at, size_t P, size_t Q) {
    if (++at->q < Q) return;
    at->q = 0;
    if (++at->p < P) return;
    at->p = 0, at->n++;
}

#define SMRI_CONV2D_NOWHERE SIZE_MAX

/* Index of the pixel of x under tap (r, t) of an output pixel; SMRI_CONV2D_NOWHERE in the padding. */
static inline size_t smri_conv2d_pixel_under(const struct smri_conv2d *s, struct smri_conv2d_cursor at, size_t r, size_t t) {
    const size_t h = at.p * s->stride + r - s->pad, w = at.q * s->stride + t - s->pad; /* wrap to huge when negative */
    return h < s->H && w < s->W ? (at.n * s->H + h) * s->W + w : SMRI_CONV2D_NOWHERE;
}
