/* Convolutions by the AMX method, whose kernels are linked with their instructions emulated (emulated/immintrin.h), against the
 * definition: `make -C csrc check-amx`, on any processor. Prints a line for each; returns 1 if any is wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smri/smri.h"

static const struct smri_conv2d shapes[] = {
    {3, 5, 7, 64, 64, 1, 1, 1, 0, SMRI_BF16},   /* read where it lies; 105 pixels */
    {2, 4, 4, 40, 72, 1, 1, 1, 0, SMRI_BF16},   /* half a slice */
    {2, 7, 6, 33, 40, 1, 1, 2, 0, SMRI_BF16},   /* phases */
    {3, 8, 8, 32, 48, 3, 3, 1, 1, SMRI_BF16},   /* a border of zeros */
    {2, 9, 8, 17, 35, 3, 3, 2, 1, SMRI_BF16},   /* four planes */
    {33, 2, 2, 32, 32, 3, 3, 1, 1, SMRI_BF16},  /* two groups of images; taps in the padding are left out */
    {5, 13, 12, 1, 36, 7, 7, 2, 3, SMRI_BF16},  /* windows as channels */
    {1, 20, 40, 3, 16, 3, 3, 1, 1, SMRI_BF16},  /* the same with rows longer than a register */
    {2, 3, 3, 600, 160, 3, 3, 1, 1, SMRI_BF16}, /* dW of more than 640 KiB: all is packed first */
};

static void *filled(size_t n, size_t bytes_each, uint32_t name) {
    void *out;
    if (smri_aligned_alloc(&out, n * bytes_each, "check") != SMRI_OK) exit(2);
    struct smri_rng rng;
    smri_rng_init(&rng, 13, name, 0, 0, SMRI_FOR_NOISE);
    for (size_t i = 0; i < n; i++) {
        const float value = smri_rng_between(&rng, -1.0f, 1.0f);
        if (bytes_each == sizeof(float)) ((float *)out)[i] = value;
        else ((smri_bf16 *)out)[i] = smri_bf16_from_float(value);
    }
    return out;
}

static void run(struct smri_conv2d_call call, enum smri_conv2d_direction direction, enum smri_conv2d_method method) {
    const struct smri_workspace_bytes bytes = smri_conv2d_workspace_bytes(method, direction, false, call.shape);
    void *shared, *per_thread;
    const size_t stride = smri_align(bytes.per_thread);
    if (smri_aligned_alloc(&shared, bytes.shared, "check") != SMRI_OK) exit(2);
    if (smri_aligned_alloc(&per_thread, stride * smri_pool_size(call.pool), "check") != SMRI_OK) exit(2);
    call.method = method;
    call.workspace = (struct smri_workspace){shared, per_thread, stride};
    if (direction == SMRI_CONV2D_FORWARD) smri_conv2d_forward(&call);
    if (direction == SMRI_CONV2D_BACKWARD_DATA) smri_conv2d_backward_data(&call);
    if (direction == SMRI_CONV2D_BACKWARD_WEIGHTS) smri_conv2d_backward_weights(&call);
    smri_aligned_free(shared);
    smri_aligned_free(per_thread);
}

/* The largest error relative to the largest number. */
static double error_of(const void *found, const void *expected, size_t n, enum smri_precision precision) {
    double largest = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        const bool narrow = precision == SMRI_BF16;
        const double a = narrow ? (double)smri_bf16_to_float(((const smri_bf16 *)found)[i]) : (double)((const float *)found)[i];
        const double b = narrow ? (double)smri_bf16_to_float(((const smri_bf16 *)expected)[i]) : (double)((const float *)expected)[i];
        if (!(fabs(a - b) <= largest)) largest = fabs(a - b); /* NaN counts */
        size = fmax(size, fabs(b));
    }
    return largest / size;
}

/* Whether one direction is right; bf16 results are rounded once, by half of 2^-8 and their sums' rounding at most. */
static bool check(const struct smri_conv2d *s, enum smri_conv2d_direction direction, bool accumulate, smri_pool *pool) {
    static const char *const names[] = {"forward", "backward-data", "backward-weights"};
    const bool of_weights = direction == SMRI_CONV2D_BACKWARD_WEIGHTS, forward = direction == SMRI_CONV2D_FORWARD;
    const size_t x_n = s->N * s->H * s->W * s->C, w_n = smri_conv2d_packed_size(s);
    const size_t y_n = s->N * smri_conv2d_out_rows(s) * smri_conv2d_out_cols(s) * s->K;
    const size_t out_n = forward ? y_n : of_weights ? w_n : x_n, out_bytes = of_weights ? sizeof(float) : sizeof(smri_bf16);
    void *x = filled(x_n, sizeof(smri_bf16), 1), *dy = filled(y_n, sizeof(smri_bf16), 2);
    void *kcrs = filled(s->K * s->C * s->R * s->S, sizeof(float), 3), *w = filled(w_n, sizeof(float), 4);
    void *found = filled(out_n, out_bytes, 5), *expected = filled(out_n, out_bytes, 5);
    smri_conv2d_pack(w, kcrs, s);
    struct smri_conv2d_call call = {.shape = s, .out = found, .accumulate = accumulate, .pool = pool};
    call.x = direction != SMRI_CONV2D_BACKWARD_DATA ? x : NULL;
    call.dy = forward ? NULL : dy;
    call.w = of_weights ? NULL : w;
    run(call, direction, SMRI_CONV2D_AMX);
    call.out = expected;
    run(call, direction, SMRI_CONV2D_REFERENCE);
    const double error = error_of(found, expected, out_n, of_weights ? SMRI_FP32 : SMRI_BF16);
    const bool is_right = error <= (of_weights ? 1e-5 : 0x1p-8);
    printf("%-16s%s %zux%zux%zux%zu -> %zu, %zux%zu/%zu: %.1e %s\n", names[direction], accumulate ? ", added," : "", s->N, s->H, s->W,
           s->C, s->K, s->R, s->S, s->stride, error, is_right ? "ok" : "WRONG");
    void *const arrays[] = {x, dy, kcrs, w, found, expected};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) smri_aligned_free(arrays[i]);
    return is_right;
}

int main(void) {
    smri_pool *pool;
    int wrong = 0;
    if (smri_pool_create(&pool, 2) != SMRI_OK || smri_isa_select(SMRI_ISA_REF) != SMRI_OK) return 2;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        wrong += !check(&shapes[i], SMRI_CONV2D_FORWARD, false, pool);
        wrong += !check(&shapes[i], SMRI_CONV2D_BACKWARD_DATA, false, pool);
        wrong += !check(&shapes[i], SMRI_CONV2D_BACKWARD_DATA, true, pool);
        wrong += !check(&shapes[i], SMRI_CONV2D_BACKWARD_WEIGHTS, false, pool);
    }
    smri_pool_destroy(pool);
    return wrong > 0;
}
