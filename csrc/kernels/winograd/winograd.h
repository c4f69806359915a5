/* The transforms of Winograd's convolution F(4x4, 3x3): 4 x 4 outputs from 6 x 6 inputs by 36 products instead of 144.
 *
 *     Y = A^T [ (G g G^T) .* (B^T X B) ] A            forward; backward-data with the rotated, transposed weights
 *     dg = G^T [ sum over tiles (A dY A^T) .* (B^T X B) ] G        backward-weights, the adjoint of the forward in g
 *
 * .* multiplies element by element; summed over channels (or tiles) it becomes one matrix product for each of the 36
 * points. The matrices evaluate and interpolate polynomials at 0, +-a, +-b and infinity (A. Lavin and S. Gray, "Fast
 * algorithms for convolutional neural networks", CVPR 2016; B. Barabasz et al., "Error analysis and improving the
 * accuracy of Winograd convolution", ACM TOMS 46(4), 2020). winograd_tiles.h chooses a and b and spells them out.
 *
 * Point p = 6 i + j is row i and column j of a transformed tile; pixels are numbered row by row. Every kernel works on
 * channels as lanes: all of them are independent. No pointer needs alignment. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kernels/conv/epilogue.h"
#include "kernels/family.h"

#define SMRI_WINOGRAD_POINTS 36
#define SMRI_WINOGRAD_IN 6     /* side of a tile of inputs */
#define SMRI_WINOGRAD_OUT 4    /* side of a tile of outputs */
#define SMRI_WINOGRAD_LANES 32 /* channels are padded to a multiple of this in transformed tiles */

/* Transformed tiles and weights are fp32; pixels are numbers of the table's precision. */
struct smri_winograd_kernels {
    /* v[p * stride + c] = (B^T X B)[p] of channel c, with X[i] = pixels[i][c] for i < 36; zeros follow up to the next
     * multiple of 32 channels. */
    void (*input)(float *v, size_t stride, const void *const *pixels, size_t channels);
    /* The same of A dY A^T, with dY[i] = pixels[i][c] for i < 16. */
    void (*gradient)(float *v, size_t stride, const void *const *pixels, size_t channels);
    /* pixels[i][channel + c] (+)= (A^T M A)[i] for i < 16, with M[p] = m[p * stride + c]; sums are rounded once. Pixels
     * may coincide (a place to drop what lies outside of the image). Without `accumulate` they are never read. The
     * epilogue's scale and shift are those of `channel`. */
    void (*output)(void *const *pixels, size_t channel, const float *m, size_t stride, size_t channels, bool accumulate,
                   struct smri_epilogue epilogue);
    /* u[p * stride + i] = (G g G^T)[p] with g[tap] = w[tap * tap_stride + i], rounded to the table's precision, for
     * i < count, a multiple of 32. */
    void (*weights)(float *u, size_t stride, const float *w, size_t tap_stride, size_t count);
    /* dw[tap * tap_stride + i] = (G^T U G)[tap] for i < count, a multiple of 32, with U[p] = sum over part < parts of
     * u[part * part_stride + p * stride + i] in ascending order. */
    void (*weights_gradient)(float *dw, size_t tap_stride, const float *u, size_t stride, size_t count, size_t parts,
                             size_t part_stride);
};

/* With AVX512_BF16 denormal results are rounded to zero: the instruction does. */
SMRI_DECLARE_FILLERS(smri_winograd_kernels, struct smri_winograd_kernels); /* of both precisions */
