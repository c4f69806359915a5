/* Kernels over rows of float pixels, for augmentation. Every slot is element-wise or has a stated order of summation, and
 * none fuses a multiplication with an addition: all instruction sets give the same bits, which is what makes a view
 * reproducible on another machine. Outputs do not overlap inputs unless said. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "smri/rng.h"
#include "kernels/family.h"

/* A plane to sample: element (y, x) at pixels[y * stride + x] for 0 <= y <= H and 0 <= x <= W, the last row and column
 * repeated once, so that the lower right neighbour of every point exists. */
struct smri_plane {
    const float *pixels;
    size_t H, W, stride;
};

struct smri_pixel_kernels {
    /* out[i] = in[i] / 255 */
    void (*scale_u8)(float *out, const uint8_t *in, size_t n);
    /* x[i] = (x[i] - mean[i]) / std[i], in place */
    void (*normalise)(float *x, const float *mean, const float *std, size_t n);
    /* out[i] = sum over t of weights[t * n + i] * in[first[i] + t * step], t ascending */
    void (*interpolate)(float *out, const float *in, const int32_t *first, const float *weights, size_t taps, size_t step,
                        size_t n);
    /* out[i] = sum over t of weights[t] * rows[t][i], t ascending */
    void (*combine)(float *out, const float *const *rows, const float *weights, size_t taps, size_t n);
    /* out[i] = the plane at (x + i dx, y + i dy), pixel centres at whole numbers, linear between them, constant in the outer
     * half pixel, 0 outside of [-1/2, W - 1/2) x [-1/2, H - 1/2) */
    void (*sample)(float *out, const struct smri_plane *plane, float x, float y, float dx, float dy, size_t n);
    /* x[i] = clip(x[i] * gain + offset, 0, 1), in place */
    void (*adjust)(float *x, size_t n, float gain, float offset);
    /* x[i] = x[i]^exponent for x in [0, 1] and exponent > 0, in place; relative error below 2e-6 */
    void (*power)(float *x, size_t n, float exponent);
    /* the sum of x in double: lane i % 16 sums its elements in order, then the lanes are added in order */
    double (*sum)(const float *x, size_t n);
    /* x[i] += sd * z[i], z the standard normals of the stream that `start` names (no word drawn yet). For k = 0..3, element
     * 64 g + 16 k + l is made of block 16 g + l: Box and Muller's pair of words 0 and 1 for k = 0, 1, of 2 and 3 else. */
    void (*add_noise)(float *x, size_t n, float sd, const struct smri_rng *start);
};

SMRI_DECLARE_FILLERS(smri_pixel_kernels, struct smri_pixel_kernels);
