/* Kernels of the gradient of the weights in bf16 on tile registers (AMX).
 *
 * A product of tiles sums over 32 numbers: here one pixel of up to 32 images, two images to a pair. An operand is packed
 * into places, one for each pixel, of 16 channels x 16 pairs (1 KiB) for each 16 channels:
 *
 *     columns, the second operand                       rows, the first operand
 *         pair 0    c0a c0b  c1a c1b ... c15a c15b          c0    p0a p0b  p1a p1b ... p15a p15b
 *         pair 1    c0a c0b  c1a c1b ...                    c1    p0a p0b  p1a p1b ...
 *           ...                                              ...
 *         pair 15                                           c15
 *
 * so that a shift by a tap or a stride is a choice of place, and no tap needs another packing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kernels/family.h"

#define SMRI_AMX_WGRAD_SIDE 16                                      /* channels, and pairs of images */
#define SMRI_AMX_WGRAD_IMAGES 32
#define SMRI_AMX_WGRAD_NUMBERS (SMRI_AMX_WGRAD_SIDE * SMRI_AMX_WGRAD_IMAGES) /* bf16 numbers of a packed tile */
#define SMRI_AMX_WGRAD_SUMS (SMRI_AMX_WGRAD_SIDE * SMRI_AMX_WGRAD_SIDE)      /* floats of a tile of sums */

/* Places of `channels` channels (the last tile filled up with zeros) of `images` images, 1 to 32. With an odd number of
 * images the last pair's second one is zero; pairs beyond are not written (columns) or undefined (rows). */
struct smri_wtile_pack {
    smri_bf16 *out; /* 64-byte aligned */
    size_t out_place;
    const smri_bf16 *in;
    size_t in_image, in_place; /* numbers between images and between places */
    size_t images, places, channels;
    bool rows; /* the layout of the first operand */
};

/* Where a product finds its operands: `places` places each, `a_step` and `b_step` numbers apart. */
struct smri_wtile_run {
    const smri_bf16 *a, *b;
    size_t places;
};

/* sums[i][j] (+)= the sum over runs and places of a tile i times b tile j, i < a_tiles and j < b_tiles, both 1 or 2.
 * The tiles of an operand lie one after the other. sums is [2][2][16][16], 64-byte aligned; tiles outside the stated
 * numbers are left alone. Only between begin and end. */
struct smri_wtile_product {
    float *sums;
    bool accumulate;
    size_t pairs; /* of images, as begin was told */
    const struct smri_wtile_run *runs;
    size_t n_runs, a_step, b_step, a_tiles, b_tiles;
};

/* out[32 i + j] (+)= the sum over parts, in ascending order, of in[part][i][j], or of in[part][j][i] when `transposed`,
 * for i < rows and j < cols, both up to 16; zero for cols <= j < 16. Without `accumulate`, an out on cache lines is written
 * past the caches. */
struct smri_wtile_finish {
    float *out;
    const float *in;
    size_t part_stride, parts, rows, cols;
    bool transposed, accumulate;
};

struct smri_amx_wgrad_kernels {
    void (*pack)(const struct smri_wtile_pack *pack);
    void (*begin)(size_t images); /* sets this thread's tile registers up for groups of that many images */
    void (*product)(const struct smri_wtile_product *product);
    /* Gives the tile registers back, if there are any (they slow down saving a thread's state), and completes what finish
     * wrote, before other threads are told that it is there. */
    void (*end)(void);
    void (*finish)(const struct smri_wtile_finish *finish);
};

SMRI_DECLARE_FILLERS(smri_amx_wgrad_kernels, struct smri_amx_wgrad_kernels);
