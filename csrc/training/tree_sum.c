/* The sum over the rows that several ranks send, in the order that pass.c adds up a rank's own micro-batches in. */
#include "smri/comm.h"

/* 64 KiB of a row: what one level of the tree wrote is still in the cache for the next. */
#define GRAIN ((size_t)1 << 14)

static void add_fp32(float *restrict sum, const float *restrict term, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] += term[i];
}

static void add_bf16(smri_bf16 *restrict sum, const smri_bf16 *restrict term, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] = smri_bf16_from_float(smri_bf16_to_float(sum[i]) + smri_bf16_to_float(term[i]));
}

static void add_rows(void *rows, size_t to, size_t from, size_t n, enum smri_precision precision) {
    void *sum = smri_elem(rows, to, precision);
    const void *term = smri_elem_const(rows, from, precision);
    if (precision == SMRI_BF16)
        add_bf16(sum, term, n);
    else
        add_fp32(sum, term, n);
}

void smri_tree_sum(void *rows, size_t n_rows, size_t n, enum smri_precision precision) {
    for (size_t first = 0; first < n; first += GRAIN) {
        const size_t count = n - first < GRAIN ? n - first : GRAIN;
        for (size_t stride = 1; stride < n_rows; stride *= 2)
            for (size_t left = 0; left + stride < n_rows; left += 2 * stride)
                add_rows(rows, left * n + first, (left + stride) * n + first, count, precision);
    }
}
