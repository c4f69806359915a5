/* Registration of pairs of small grey images: an affine map that lays one over the other.
 *
 * A map is six numbers: the matrix m00 m01 m10 m11 and a shift ty tx, in (row, column). It takes a point p of the first
 * image to m (p - c) + c + t of the second, c being the centre of the picture. All functions work on one thread and keep
 * nothing between calls: call them from several threads on different pairs. */
#ifndef SMRI_REGISTRATION_H
#define SMRI_REGISTRATION_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"

SMRI_API_BEGIN

#define SMRI_REGISTRATION_WIDTH 512 /* columns at most */

struct smri_registration {
    size_t P, H, W;   /* pairs, rows, columns; H and W at least 2, W at most the above */
    size_t margin_px; /* what lies closer to a border of either image is left out; 2 margin_px + 2 < H, W */
    size_t steps;     /* Gauss-Newton steps at most: it stops where a step changes next to nothing */
};

/* out[P][H][W]: in[P][H][W] moved by maps[P][6], bilinear. Where there is no pixel of `in`: the nearest one if `nearest`,
 * else 0. `out` must not overlap the rest. A map whose determinant is 0 gives zeros. */
void smri_warp_affine(float *out, const float *in, const double *maps, size_t P, size_t H, size_t W, bool nearest);

/* Improves maps[P][6] so that a, moved by them, looks like b, both [P][H][W], up to a factor: Gauss-Newton on the sum of
 * squares over the pixels that both have (forward composition; Baker and Matthews, IJCV 56, 2004). match[P] is the absolute
 * correlation there, in [0, 1]. A map that loses its way (determinant below 0.1) begins again where it was. */
void smri_register_affine(double *maps, float *match, const float *a, const float *b, const struct smri_registration *how);

SMRI_API_END

#endif
