/* The gradient of large weights on tile registers: all of a group of images is packed first, and a task owns some channels of
 * both sides, whose sums stay in registers over all pixels. */
#include "layers/conv2d/amx_wgrad.h"

#define TILE SMRI_AMX_WGRAD_NUMBERS
#define RUNS 64

/* Packs one row of dy or, after those, of x, for all tasks. */
static void pack_group(void *context, size_t index, size_t worker) {
    const struct smri_amx_wgrad_job *job = context;
    smri_bf16 *dy = job->packed, *x = dy + job->P * job->dy.packed_row;
    const struct smri_amx_wgrad_unit u = {job->group, index, 0, job->Q};
    if (index < job->P)
        smri_amx_wgrad_pack(job, &job->dy, dy + index * job->dy.packed_row, u.group, index, 0, job->Q);
    else
        smri_amx_wgrad_pack_x_row(job, x + (index - job->P) * job->x.packed_row, &u, index - job->P);
}

/* Sums of one block over the packed group. */
static void sum_block(const struct smri_amx_wgrad_job *job, float *sums, size_t tap, size_t row_block, size_t col_block) {
    const smri_bf16 *dy = job->packed, *x = dy + job->P * job->dy.packed_row;
    struct smri_wtile_run runs[RUNS];
    size_t n = 0;
    bool accumulate = false;
    for (size_t p = 0; p < job->P; p++) {
        size_t h;
        if (smri_amx_wgrad_row_under(job, p, tap / (job->taps / job->R), &h)) {
            const struct smri_amx_wgrad_unit u = {job->group, p, 0, job->Q};
            runs[n] = smri_amx_wgrad_run_of(job, &u, 0, job->Q, tap, x + h * job->x.packed_row, dy + p * job->dy.packed_row);
            if (runs[n].places > 0) runs[n].a += 2 * row_block * TILE, runs[n].b += 2 * col_block * TILE, n++;
        }
        if (n < RUNS && p + 1 < job->P) continue;
        smri_amx_wgrad_multiply(job, sums, job->group, accumulate, runs, n, row_block, col_block);
        accumulate = true, n = 0;
    }
}

static void sum_blocks(const struct smri_amx_wgrad_job *job, size_t index, size_t worker) {
    float *sums = (float *)(job->per_thread + worker * job->per_thread_stride);
    const size_t col_tasks = smri_chunk_count(job->col_blocks, job->task_cols);
    const size_t i = index / col_tasks, j = index % col_tasks;
    const size_t i_end = smri_chunk_end(job->row_blocks, job->task_rows, i);
    const size_t j_end = smri_chunk_end(job->col_blocks, job->task_cols, j);
    job->kernels->begin(smri_amx_wgrad_images_of(job, job->group));
    for (size_t row = i * job->task_rows; row < i_end; row++)
        for (size_t tap = 0; tap < job->taps; tap++)
            for (size_t col = j * job->task_cols; col < j_end; col++) {
                sum_block(job, sums, tap, row, col);
                smri_amx_wgrad_finish(job, sums, tap, row, col, job->group > 0);
            }
    job->kernels->end();
}

static void run_blocks(void *context, size_t begin, size_t end, size_t worker) {
    for (; begin < end; begin++) sum_blocks(context, begin, worker);
}

void smri_amx_wgrad_begin_blocks(struct smri_amx_wgrad_job *job, smri_pool *pool) {
    const size_t row_tasks = smri_chunk_count(job->row_blocks, job->task_rows);
    const size_t tasks = row_tasks * smri_chunk_count(job->col_blocks, job->task_cols);
    for (;; job->group++) {
        smri_pool_run(pool, job->P + job->H, pack_group, job);
        if (job->group + 1 == job->groups) break;
        smri_pool_run_ranges(pool, tasks, 1, run_blocks, job);
    }
    smri_pool_begin_ranges(pool, tasks, 1, run_blocks, job);
}
