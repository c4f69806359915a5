/* The tile products in plain C: the definition of what the registers compute, up to denormals and the order of sums. */
#include <string.h>

#include "kernels/conv/amx_tile.h"

static void nothing_ref(void) {}

static float load_ref(const void *p) {
    smri_bf16 value;
    memcpy(&value, p, sizeof value);
    return smri_bf16_to_float(value);
}

static size_t panel_index(size_t c, size_t j) {
    return ((j / SMRI_AMX_HALF * SMRI_AMX_HALF + c / 2) * SMRI_AMX_HALF + j % SMRI_AMX_HALF) * 2 + c % 2;
}

static float sum_ref(const struct smri_amx_product *t, const char *source, size_t j) {
    const smri_bf16 *block = t->weights + j / SMRI_AMX_BLOCK * t->block_panels * SMRI_AMX_PANEL;
    float sum = 0.0f;
    for (size_t slice = 0; slice < t->slices; slice++)
        for (size_t tap = 0; tap < t->n_taps; tap++) {
            const char *row = source + slice * t->slice_stride + t->taps[tap].source;
            const smri_bf16 *panel = block + (slice * t->slice_panels + t->taps[tap].weights) * SMRI_AMX_PANEL;
            for (size_t c = 0; c < SMRI_AMX_SLICE; c++)
                sum += load_ref(row + c * sizeof(smri_bf16)) * load_ref(panel + panel_index(c, j % SMRI_AMX_BLOCK));
        }
    return sum;
}

static void product_ref(const struct smri_amx_product *t) {
    for (size_t i = 0; i < SMRI_AMX_PIXELS; i++) {
        if (t->out[i] == NULL) continue;
        const char *source = t->source[i / SMRI_AMX_HALF] + i % SMRI_AMX_HALF * t->pixel_stride;
        for (size_t j = 0; j < t->cols; j++) {
            const float sum = sum_ref(t, source, j);
            t->out[i][j] = smri_bf16_from_float(t->accumulate ? smri_bf16_to_float(t->out[i][j]) + sum : sum);
        }
    }
}

static void pack_ref(smri_bf16 *panel, const float *w, size_t rows) {
    for (size_t c = 0; c < SMRI_AMX_SLICE; c++)
        for (size_t j = 0; j < SMRI_AMX_BLOCK; j++)
            panel[panel_index(c, j)] = c < rows ? smri_bf16_from_float(w[c * SMRI_AMX_BLOCK + j]) : 0;
}

static void pack_transposed_ref(smri_bf16 *panel, const float *w, size_t rows) {
    for (size_t j = 0; j < SMRI_AMX_BLOCK; j++)
        for (size_t c = 0; c < SMRI_AMX_SLICE; c++)
            panel[panel_index(c, j)] = j < rows ? smri_bf16_from_float(w[j * SMRI_AMX_SLICE + c]) : 0;
}

static void slice_ref(char *out, size_t pixel_stride, size_t slice_stride, const smri_bf16 *in, size_t in_stride,
                      size_t pixels, size_t channels) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c += SMRI_AMX_SLICE) {
            char *to = out + p * pixel_stride + c / SMRI_AMX_SLICE * slice_stride;
            const size_t left = channels - c, n = left < SMRI_AMX_SLICE ? left : SMRI_AMX_SLICE;
            memcpy(to, in + p * in_stride + c, n * sizeof *in);
            memset(to + n * sizeof *in, 0, (SMRI_AMX_SLICE - n) * sizeof *in);
        }
}

void smri_amx_kernels_ref(struct smri_amx_kernels *kernels) {
    *kernels = (struct smri_amx_kernels){nothing_ref, nothing_ref, product_ref, pack_ref, pack_transposed_ref, slice_ref};
}
