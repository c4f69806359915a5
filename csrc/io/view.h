/* Drawing one augmented view: the workspace of one thread and the function that fills a view from it. */
#pragma once

#include <stdint.h>

#include "kernels/pixels/pixels.h"
#include "smri/augment.h"

/* Sizes that are the same for every view of a batch. */
struct view_shape {
    size_t H, W, C;    /* of the image */
    size_t rows, cols; /* of the view */
};

/* The scratch memory of one thread, carved from one block; see view_workspace_bytes for the sizes. */
struct view_workspace {
    float *row;                  /* one image row in float, or one view row with a blur's margin on both sides */
    float *middle;               /* rows of the new width, before the vertical pass */
    float *image;                /* the prefiltered image or the blur's intermediate */
    float *planes;               /* C planes for sampling, with the repeated last row and column */
    const float **lines;         /* the rows that one output row is made of */
    double *weights;             /* taps of one axis */
    float *x_weights, *y_weights;
    int32_t *axis_first, *x_first, *y_first;
    float *blur_weights;
};

/* Bytes of a workspace; SMRI_MEMORY when they overflow. `max_radius` is the largest blur radius in pixels. */
smri_status view_workspace_bytes(size_t *bytes, const struct view_shape *shape, size_t max_radius);
void view_workspace_carve(struct view_workspace *out, void *block, const struct view_shape *shape, size_t max_radius);

/* Taps on each side of the centre of a Gaussian blur. */
size_t blur_radius(float sigma);

/* out[rows][cols][C] = the view of image[H][W][C], before noise and normalisation. */
void view_render(float *out, const uint8_t *image, const struct smri_view *view, const struct view_shape *shape,
                 const struct view_workspace *workspace, const struct smri_pixel_kernels *kernels);
