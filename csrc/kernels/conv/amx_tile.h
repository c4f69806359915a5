/* The inner loops of bf16 convolution on the tile registers of AMX: a register holds 16 rows of 64 bytes, and one
 * instruction multiplies 16 pixels x 32 channels by 32 channels x 16 columns. README.md in this folder has the drawings.
 *
 * Weights are packed into panels of 32 channels x 32 columns, 2 KiB: [2 halves][16 pairs of channels][16 columns][2], what
 * two registers hold. Nothing outside the stated range is read or written; no alignment is needed. Sums are fp32, in the
 * order of slices, then taps, then channels, and rounded once; denormal operands and results count as zero. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kernels/family.h"

#define SMRI_AMX_HALF 16   /* rows of a register */
#define SMRI_AMX_PIXELS 32 /* of one call: two registers */
#define SMRI_AMX_BLOCK 32  /* columns in a panel of weights */
#define SMRI_AMX_SLICE 32  /* channels in one step */
#define SMRI_AMX_SLICE_BYTES (SMRI_AMX_SLICE * sizeof(smri_bf16))
#define SMRI_AMX_PANEL (SMRI_AMX_SLICE * SMRI_AMX_BLOCK) /* numbers in a panel */

struct smri_amx_tap {
    size_t source;  /* bytes from smri_amx_product.source */
    size_t weights; /* panels from a slice's first one */
};

/* out[i][j] (+)= sum over slices, taps and c < 32 of
 *     source[i / 16][bytes: i % 16 * pixel_stride + slice * slice_stride + tap.source][c]
 *     * panel number (j / 32 * block_panels + slice * slice_panels + tap.weights) at [c][j % 32]
 * for i < 32 and j < cols. Pixels whose out is NULL are not written, but their source is read, unless all 16 of a half
 * are NULL. Without `accumulate` out is never read. `streamed` writes past the caches what is aligned for it. */
struct smri_amx_product {
    smri_bf16 *out[SMRI_AMX_PIXELS];
    const char *source[2];
    const char *next[2]; /* what the next product will read, fetched meanwhile; NULL for nothing */
    size_t pixel_stride, slice_stride; /* bytes */
    const struct smri_amx_tap *taps;
    size_t n_taps, slices;
    const smri_bf16 *weights;
    size_t block_panels, slice_panels;
    size_t cols;
    bool accumulate, streamed;
};

struct smri_amx_kernels {
    /* Around the products of one thread: the tile registers are configured, and given back. */
    void (*begin)(void);
    void (*end)(void);
    void (*product)(const struct smri_amx_product *product);
    /* One panel from 32-float rows of packed weights. `pack`: row c of w is channel c. `pack_transposed`: row c of w is
     * column c, its floats are the channels. Rows from `rows` on are not read and count as zeros. */
    void (*pack)(smri_bf16 *panel, const float *w, size_t rows);
    void (*pack_transposed)(smri_bf16 *panel, const float *w, size_t rows);
    /* Pixels cut into slices of 64 bytes, the last one filled up with zeros: numbers 32 s to 32 s + 31 of pixel p, which
     * begins at in + p in_stride, go to out + p pixel_stride + s slice_stride (bytes). */
    void (*slice)(char *out, size_t pixel_stride, size_t slice_stride, const smri_bf16 *in, size_t in_stride, size_t pixels,
                  size_t channels);
};

SMRI_DECLARE_FILLERS(smri_amx_kernels, struct smri_amx_kernels);
