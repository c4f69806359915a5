/* Shared by the two ways to compute the gradient of the weights on tile registers: the job, its packed places and its
 * products. amx_wgrad.c says what they are. */
#pragma once

#include <stdatomic.h>

#include "kernels/kernels.h"
#include "layers/conv2d/methods.h"
#include "smri/memory.h"

/* For amx.c. */
bool smri_conv2d_amx_supports_weights(const struct smri_conv2d *shape);
struct smri_workspace_bytes smri_conv2d_amx_wgrad_bytes(const struct smri_conv2d *shape);
void smri_conv2d_amx_backward_weights(const struct smri_conv2d_call *call);

#define SMRI_AMX_WGRAD_BLOCK_SUMS (4 * SMRI_AMX_WGRAD_SUMS) /* a product's sums: 2 x 2 tiles */
#define SMRI_AMX_WGRAD_WINDOW_MAX 16

/* One of x and dy. Strides and sizes count numbers. */
struct smri_amx_wgrad_operand {
    const smri_bf16 *data;
    size_t image, row, place; /* strides of the tensor, whose pixels have */
    size_t channels;
    size_t tiles, step; /* of a packed place */
    size_t places;      /* from one output to the next */
    size_t packed_row;  /* room for a unit's row */
    bool rows;          /* packed as first operand */
};

struct smri_amx_wgrad_job {
    const struct smri_amx_wgrad_kernels *kernels;
    size_t N, H, W, P, Q, R, S, stride, pad, K; /* as the tasks see them: a 1x1 window has no stride */
    bool windows;
    size_t taps, channels; /* of dW: (R, S C) with windows */
    size_t group_images, groups;
    struct smri_amx_wgrad_operand x, dy;
    size_t row_blocks, col_blocks; /* pairs of tiles of the first and the second operand */
    size_t sums_floats;            /* of all dW */
    bool by_parts;
    size_t chunk, chunks, units;   /* outputs of a unit; units in a row; and in all */
    size_t parts, part_units;
    size_t task_rows, task_cols; /* blocks of a task of a packed group */
    size_t group; /* in work */
    float *dw, *sums;
    _Atomic unsigned *parts_done;
    smri_bf16 *packed; /* the group, unless the work is cut by parts */
    char *per_thread;         /* each worker's packed unit, or the sums of a block */
    size_t per_thread_stride, per_thread_bytes;
};

/* A piece of a row of outputs, of one group. */
struct smri_amx_wgrad_unit {
    size_t group, p, q, q_end;
};

size_t smri_amx_wgrad_images_of(const struct smri_amx_wgrad_job *job, size_t group);

/* `places` places of an operand from column `col` of row `row` on. */
void smri_amx_wgrad_pack(const struct smri_amx_wgrad_job *job, const struct smri_amx_wgrad_operand *operand,
                         smri_bf16 *out, size_t group, size_t row, size_t col, size_t places);

/* Row h of x under the unit. With windows the row is one place of many channels, between zeros. */
void smri_amx_wgrad_pack_x_row(const struct smri_amx_wgrad_job *job, smri_bf16 *out, const struct smri_amx_wgrad_unit *u,
                               size_t h);

/* Whether tap row r of output row p lies in the image, and which row it is. */
bool smri_amx_wgrad_row_under(const struct smri_amx_wgrad_job *job, size_t p, size_t r, size_t *h);

/* The run of one tap over outputs [q, q_end) of a unit, from its packed row of x and dy: `places` is 0 where the tap
 * misses the image. */
struct smri_wtile_run smri_amx_wgrad_run_of(const struct smri_amx_wgrad_job *job, const struct smri_amx_wgrad_unit *u,
                                            size_t q, size_t q_end, size_t tap, const smri_bf16 *x, const smri_bf16 *dy);

void smri_amx_wgrad_multiply(const struct smri_amx_wgrad_job *job, float *sums, size_t group, bool accumulate,
                             const struct smri_wtile_run *runs, size_t n_runs, size_t row_block, size_t col_block);

/* dW of one block from its sums, or from all parts' sums. */
void smri_amx_wgrad_finish(const struct smri_amx_wgrad_job *job, const float *sums, size_t tap, size_t row_block,
                           size_t col_block, bool accumulate);

/* amx_wgrad_parts.c, where dW is small, and amx_wgrad_blocks.c, where it is large. Both may return before the work ends. */
void smri_amx_wgrad_begin_parts(struct smri_amx_wgrad_job *job, smri_pool *pool);
void smri_amx_wgrad_begin_blocks(struct smri_amx_wgrad_job *job, smri_pool *pool);
