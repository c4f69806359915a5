/* The gradient of small weights on tile registers (early layers): a task owns a part of the pixels, packs them unit by unit (a
 * piece of a row of outputs, and the rows of x under it, the last R of which are kept) and adds to sums of its own. Whoever
 * does the last part adds them, in ascending order. */
#include "layers/conv2d/amx_wgrad.h"

#include <string.h>

#define TILE SMRI_AMX_WGRAD_NUMBERS
#define PLACES 8 /* in one product: 2 x 8 KiB of each operand, in the first-level cache; 16 and more are 5 % slower */

static struct smri_amx_wgrad_unit unit_of(const struct smri_amx_wgrad_job *job, size_t index) {
    const size_t chunk = index % job->chunks, row = index / job->chunks;
    return (struct smri_amx_wgrad_unit){row / job->P, row % job->P, chunk * job->chunk,
                                        smri_chunk_end(job->Q, job->chunk, chunk)};
}

/* Adds the products of outputs [q, q_end) of a unit for one row of taps and all channels; x is the row under them. The
 * taps come last, as they read the same places, which then lie in the first-level cache. */
static void add_row_of_taps(const struct smri_amx_wgrad_job *job, const struct smri_amx_wgrad_unit *u, size_t q,
                            size_t q_end, size_t r, float *sums, const smri_bf16 *x, const smri_bf16 *dy) {
    const size_t taps = job->taps / job->R, blocks = job->row_blocks * job->col_blocks;
    struct smri_wtile_run runs[SMRI_AMX_WGRAD_WINDOW_MAX];
    for (size_t s = 0; s < taps; s++) runs[s] = smri_amx_wgrad_run_of(job, u, q, q_end, s, x, dy);
    for (size_t i = 0; i < job->row_blocks; i++)
        for (size_t j = 0; j < job->col_blocks; j++)
            for (size_t s = 0; s < taps; s++) {
                if (runs[s].places == 0) continue;
                const struct smri_wtile_run run = {runs[s].a + 2 * i * TILE, runs[s].b + 2 * j * TILE, runs[s].places};
                const size_t block = (r * taps + s) * blocks + i * job->col_blocks + j;
                smri_amx_wgrad_multiply(job, sums + block * SMRI_AMX_WGRAD_BLOCK_SUMS, u->group, true, &run, 1, i, j);
            }
}

/* Adds a unit's products for all taps and channels to a part's sums; row h % R of x is packed row h. */
static void add_unit(const struct smri_amx_wgrad_job *job, const struct smri_amx_wgrad_unit *u, float *sums,
                     const smri_bf16 *x, const smri_bf16 *dy) {
    for (size_t q = u->q; q < u->q_end; q += PLACES)
        for (size_t r = 0; r < job->R; r++) {
            size_t h;
            if (!smri_amx_wgrad_row_under(job, u->p, r, &h)) continue;
            add_row_of_taps(job, u, q, smri_min(q + PLACES, u->q_end), r, sums, x + h % job->R * job->x.packed_row, dy);
        }
}

static void sum_part(const struct smri_amx_wgrad_job *job, size_t part, size_t worker) {
    float *sums = job->sums + part * job->sums_floats;
    smri_bf16 *dy = (smri_bf16 *)(job->per_thread + worker * job->per_thread_stride), *x = dy + job->dy.packed_row;
    size_t kept[SMRI_AMX_WGRAD_WINDOW_MAX]; /* which row of x each place of the ring holds, over all images and chunks */
    for (size_t r = 0; r < job->R; r++) kept[r] = SIZE_MAX;
    memset(sums, 0, job->sums_floats * sizeof *sums);
    const size_t begin = part * job->part_units, end = smri_chunk_end(job->units, job->part_units, part);
    size_t group = SIZE_MAX;
    for (size_t index = begin; index < end; index++) {
        const struct smri_amx_wgrad_unit u = unit_of(job, index);
        if (u.group != group) job->kernels->begin(smri_amx_wgrad_images_of(job, u.group));
        group = u.group;
        smri_amx_wgrad_pack(job, &job->dy, dy, u.group, u.p, u.q, u.q_end - u.q);
        for (size_t r = 0; r < job->R; r++) {
            size_t h;
            if (!smri_amx_wgrad_row_under(job, u.p, r, &h)) continue;
            const size_t key = (u.group * job->H + h) * job->chunks + index % job->chunks;
            if (kept[h % job->R] != key) smri_amx_wgrad_pack_x_row(job, x + h % job->R * job->x.packed_row, &u, h);
            kept[h % job->R] = key;
        }
        add_unit(job, &u, sums, x, dy);
    }
    job->kernels->end();
}

/* dW: the sum of the parts. */
static void add_parts(const struct smri_amx_wgrad_job *job) {
    const float *sums = job->sums;
    for (size_t row = 0; row < job->taps * job->row_blocks; row++)
        for (size_t j = 0; j < job->col_blocks; j++, sums += SMRI_AMX_WGRAD_BLOCK_SUMS)
            smri_amx_wgrad_finish(job, sums, row / job->row_blocks, row % job->row_blocks, j, false);
    job->kernels->end();
}

static void run_parts(void *context, size_t begin, size_t end, size_t worker) {
    const struct smri_amx_wgrad_job *job = context;
    for (; begin < end; begin++) {
        sum_part(job, begin, worker);
        if (atomic_fetch_add_explicit(job->parts_done, 1, memory_order_acq_rel) + 1 == job->parts) add_parts(job);
    }
}

void smri_amx_wgrad_begin_parts(struct smri_amx_wgrad_job *job, smri_pool *pool) {
    smri_pool_begin_ranges(pool, job->parts, 1, run_parts, job);
}
