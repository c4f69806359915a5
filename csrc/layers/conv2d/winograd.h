/* What the three directions of Winograd's convolution share: the grid of tiles, the panels of transformed tiles and the
 * sizes of the blocks. kernels/winograd/winograd.h has the equations, kernels/README.md the choice of the blocks. */
#pragma once

#include "kernels/kernels.h"
#include "layers/conv2d/methods.h"
#include "smri/memory.h"

#define SMRI_WINOGRAD_WINDOW 9
#define SMRI_WINOGRAD_COLS SMRI_CONV_COLS /* output channels of one product: two blocks of packed weights */

/* Floats between the same element at two neighbouring points, beyond the panel itself: the 36 streams of a transform
 * would otherwise meet in the same set of the first-level cache. */
#define SMRI_WINOGRAD_SKEW 16

/* An image tensor [N][H][W][C] and the tiles that cover it: tile (n, i, j) has its corner at row 4 i - pad, column
 * 4 j - pad. `edge` is a pixel that stands for all those outside: zeros to read, or room to write. */
struct smri_winograd_tensor {
    enum smri_precision precision;
    char *data;
    size_t H, W, C, pad;
    void *edge;
};

/* Tiles of 4 x 4 outputs, numbered image by image, row by row. */
struct smri_winograd_grid {
    size_t rows, cols, total;
};

static inline struct smri_winograd_grid smri_winograd_grid(size_t N, size_t P, size_t Q) {
    const size_t rows = (P + SMRI_WINOGRAD_OUT - 1) / SMRI_WINOGRAD_OUT,
        cols = (Q + SMRI_WINOGRAD_OUT - 1) / SMRI_WINOGRAD_OUT;
    return (struct smri_winograd_grid){rows, cols, N * rows * cols};
}

static inline size_t smri_winograd_lanes(size_t channels) {
    return (channels + SMRI_WINOGRAD_LANES - 1) / SMRI_WINOGRAD_LANES * SMRI_WINOGRAD_LANES;
}

/* Floats of one point of a panel [rows][lanes], and of all 36 points. */
static inline size_t smri_winograd_stride(size_t rows, size_t channels) {
    return rows * smri_winograd_lanes(channels) + SMRI_WINOGRAD_SKEW;
}
static inline size_t smri_winograd_panel(size_t rows, size_t channels) {
    return SMRI_WINOGRAD_POINTS * smri_winograd_stride(rows, channels);
}

/* pixels[side * side]: where the pixels of a tile begin at `channel`. */
static inline void smri_winograd_pixels(void **pixels, const struct smri_winograd_tensor *x,
                                        const struct smri_winograd_grid *grid, size_t tile, size_t side,
                                        size_t channel) {
    const size_t bytes = smri_precision_bytes(x->precision);
    const size_t n = tile / (grid->rows * grid->cols);
    const size_t top = tile / grid->cols % grid->rows * SMRI_WINOGRAD_OUT - x->pad; /* wraps to huge when negative */
    const size_t left = tile % grid->cols * SMRI_WINOGRAD_OUT - x->pad;
    for (size_t i = 0; i < side; i++)
        for (size_t j = 0; j < side; j++) {
            const size_t h = top + i, w = left + j;
            const bool inside = h < x->H && w < x->W;
            *pixels++ = inside ? x->data + (((n * x->H + h) * x->W + w) * x->C + channel) * bytes : x->edge;
        }
}

#define SMRI_WINOGRAD_CHANNELS 64 /* of an input panel, at most */

/* panel[point][tile - begin][lanes of channels] of B^T X B for the tiles [begin, end) and `channels` channels from
 * `channel` on. */
static inline void smri_winograd_input_panel(float *panel, const struct smri_winograd_tensor *x,
                                             const struct smri_winograd_grid *grid, size_t begin, size_t end,
                                             size_t channel, size_t channels) {
    const struct smri_winograd_kernels *kernels = &smri_kernels_get()->winograd[x->precision];
    const size_t stride = smri_winograd_stride(end - begin, channels);
    for (size_t tile = begin; tile < end; tile++, panel += smri_winograd_lanes(channels)) {
        void *pixels[SMRI_WINOGRAD_IN * SMRI_WINOGRAD_IN];
        smri_winograd_pixels(pixels, x, grid, tile, SMRI_WINOGRAD_IN, channel);
        kernels->input(panel, stride, (const void *const *)pixels, channels);
    }
}

/* backward-weights has a file of its own. */
struct smri_workspace_bytes smri_winograd_backward_weights_bytes(const struct smri_conv2d *shape);
void smri_winograd_backward_weights(const struct smri_conv2d_call *call);
