/* How the tiles method lays out a convolution (see amx_layout.c). */
#pragma once

#include "kernels/conv/amx_tile.h"
#include "layers/conv2d/methods.h"

#define SMRI_AMX_IMAGES_COUNTED 64 /* the layout is the same for every larger batch */

/* Rows or columns of a gather: result pixel i * result_step + phase is a sum over taps of the padded source's pixels. The
 * source is copied into `planes`: position j of plane b holds source pixel j * source_step + b - lead, or zeros. */
struct smri_amx_axis {
    size_t result, source, window, stride, pad;
    bool backward;
    size_t result_step, source_step, planes;
    size_t lead;   /* zeros before the first source pixel */
    size_t reach;  /* the largest offset of a tap */
    size_t length; /* result pixels of the longest phase */
};

enum smri_amx_layout {
    SMRI_AMX_POINTWISE, /* 1x1 with stride 1: the source is read where it lies */
    SMRI_AMX_WINDOWS,   /* few channels: a padded copy, in which a row of the window is one run of numbers */
    SMRI_AMX_SLICES     /* a padded copy in slices of 32 channels: [slice][plane][row][column][image of the group][32] */
};

/* A unit is what is copied and multiplied at a time: `group` images, `strip_rows` rows of their result. */
struct smri_amx_plan {
    bool backward;
    enum smri_amx_layout layout;
    struct smri_amx_axis rows, cols;
    size_t images, source_channels, result_channels;
    size_t taps, slices;       /* as the products see them */
    size_t group, strip_rows, strips, units;
    bool exact;                /* a product is one place in 32 images, without the taps that fall into the padding */
    bool linear;               /* halves of a product follow each other across the ends of rows */
    size_t pitch, plane_rows;  /* positions of a plane's row, its rows */
    size_t pixel_stride, slice_stride, unit_bytes;
    size_t chunk_rows;         /* POINTWISE: pixels of a task */
    size_t task_cols, col_groups; /* result channels of a task */
    size_t panel_cols;         /* channels whose weights pass over all pixels of a task before the next ones */
    bool shared;               /* all units are copied before the first product, else each task copies its own */
};

struct smri_amx_plan smri_amx_plan_of(bool backward, const struct smri_conv2d *shape);

/* Whether tap `r` of the window belongs to this phase of the result; then its plane and offset in the copy. */
bool smri_amx_tap_of(const struct smri_amx_axis *axis, size_t phase, size_t r, size_t *plane, size_t *offset);

/* Panels of 32 result channels. */
static inline size_t smri_amx_block_bytes(const struct smri_amx_plan *p) {
    return p->slices * p->taps * SMRI_AMX_PANEL * sizeof(smri_bf16);
}

/* Pixels of the result in one phase. */
static inline size_t smri_amx_phase_length(const struct smri_amx_axis *axis, size_t phase) {
    return phase < axis->result ? (axis->result - phase - 1) / axis->result_step + 1 : 0;
}
