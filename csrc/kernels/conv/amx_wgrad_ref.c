/* The gradient of the weights in bf16 in plain C: what the tile registers' kernels compute, in the same order. */
#include <string.h>

#include "kernels/conv/amx_wgrad.h"

#define SIDE SMRI_AMX_WGRAD_SIDE
#define TILE SMRI_AMX_WGRAD_NUMBERS

static void pack_ref(const struct smri_wtile_pack *p) {
    const size_t channels = (p->channels + SIDE - 1) / SIDE * SIDE, pairs = (p->images + 1) / 2;
    for (size_t place = 0; place < p->places; place++)
        for (size_t image = 0; image < 2 * pairs; image++)
            for (size_t c = 0; c < channels; c++) {
                const bool inside = image < p->images && c < p->channels;
                const size_t pair = image / 2, row = p->rows ? c % SIDE : pair, col = p->rows ? pair : c % SIDE;
                p->out[place * p->out_place + c / SIDE * TILE + 2 * (row * SIDE + col) + image % 2] =
                    inside ? p->in[image * p->in_image + place * p->in_place + c] : 0;
            }
}

static void begin_ref(size_t images) { (void)images; }
static void end_ref(void) {}

/* One tile of sums, from the first of its operands' tiles on. */
static void tile_ref(const struct smri_wtile_product *p, float *sums, size_t a_offset, size_t b_offset) {
    if (!p->accumulate) memset(sums, 0, SMRI_AMX_WGRAD_SUMS * sizeof *sums);
    for (size_t run = 0; run < p->n_runs; run++)
        for (size_t place = 0; place < p->runs[run].places; place++) {
            const smri_bf16 *a = p->runs[run].a + place * p->a_step + a_offset;
            const smri_bf16 *b = p->runs[run].b + place * p->b_step + b_offset;
            for (size_t i = 0; i < SIDE; i++)
                for (size_t j = 0; j < SIDE; j++)
                    for (size_t k = 0; k < 2 * p->pairs; k++)
                        sums[i * SIDE + j] += smri_bf16_to_float(a[i * SMRI_AMX_WGRAD_IMAGES + k]) *
                                              smri_bf16_to_float(b[k / 2 * SMRI_AMX_WGRAD_IMAGES + 2 * j + k % 2]);
        }
}

static void product_ref(const struct smri_wtile_product *p) {
    for (size_t i = 0; i < p->a_tiles; i++)
        for (size_t j = 0; j < p->b_tiles; j++) tile_ref(p, p->sums + (2 * i + j) * SMRI_AMX_WGRAD_SUMS, i * TILE, j * TILE);
}

static void finish_ref(const struct smri_wtile_finish *f) {
    for (size_t i = 0; i < f->rows; i++)
        for (size_t j = 0; j < SIDE; j++) {
            float sum = 0.0f;
            for (size_t part = 0; part < f->parts && j < f->cols; part++)
                sum += f->in[part * f->part_stride + (f->transposed ? j * SIDE + i : i * SIDE + j)];
            float *out = f->out + 2 * i * SIDE + j;
            *out = f->accumulate ? *out + sum : sum;
        }
}

void smri_amx_wgrad_kernels_ref(struct smri_amx_wgrad_kernels *kernels) {
    *kernels = (struct smri_amx_wgrad_kernels){pack_ref, begin_ref, product_ref, end_ref, finish_ref};
}
