/* Runs the kernels of every instruction set that this machine has against the portable reference: `make -C csrc check`.
 *
 * One line for each instruction set and check: the hash of the results, the largest error relative to the reference's largest
 * number, and "ok" or "WRONG". Hashes of different machines may be compared: AVX2 and NEON give the same bits. With names of
 * instruction sets as arguments only those are run. Returns 1 if anything is wrong. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smri/smri.h"

enum { MOST = 1 << 20 }; /* bytes of any array below */

static smri_pool *pool;

/* ---- arrays ---- */

static void *array(void) {
    void *memory;
    if (smri_aligned_alloc(&memory, MOST, "check") != SMRI_OK) exit(2);
    return memory;
}

/* Normal numbers, the same in every run. */
static void fill(void *out, size_t n, uint32_t name, enum smri_precision precision) {
    struct smri_rng rng;
    smri_rng_init(&rng, 11, name, 0, 0, SMRI_FOR_NOISE);
    for (size_t i = 0; i < n; i++) {
        const float value = (float)(int32_t)smri_rng_u32(&rng) * 0x1p-31f;
        if (precision == SMRI_BF16) ((smri_bf16 *)out)[i] = smri_bf16_from_float(value);
        else ((float *)out)[i] = value;
    }
}

/* What a check leaves: numbers of one precision. */
struct result {
    void *numbers;
    size_t n;
    enum smri_precision precision;
};

static uint64_t hash_of(const struct result *result) { /* FNV-1a */
    const unsigned char *bytes = result->numbers;
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < result->n * smri_precision_bytes(result->precision); i++) hash = (hash ^ bytes[i]) * 0x100000001B3u;
    return hash;
}

static double number(const struct result *result, size_t i) {
    return result->precision == SMRI_BF16 ? (double)smri_bf16_to_float(((const smri_bf16 *)result->numbers)[i])
                                          : (double)((const float *)result->numbers)[i];
}

static double error_of(const struct result *found, const struct result *expected) {
    double largest = 0.0, size = 0.0;
    for (size_t i = 0; i < found->n; i++) {
        const double difference = fabs(number(found, i) - number(expected, i));
        if (!(difference <= largest)) largest = difference; /* NaN counts */
        size = fmax(size, fabs(number(expected, i)));
    }
    return size > 0.0 ? largest / size : largest;
}

/* ---- checks ---- */

struct check {
    const char *name;
    int kind, variant;
    enum smri_precision precision;
};

static const struct smri_conv2d shapes[] = {
    {3, 9, 9, 33, 70, 1, 1, 1, 0, SMRI_FP32}, /* 1x1: tails of pixels and of channels */
    {2, 9, 8, 16, 40, 3, 3, 2, 1, SMRI_FP32}, {3, 8, 8, 32, 64, 3, 3, 1, 1, SMRI_FP32}, {4, 13, 12, 1, 36, 7, 7, 2, 3, SMRI_FP32},
    {9, 4, 4, 48, 33, 1, 1, 2, 0, SMRI_FP32},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* The three directions by the method that the instruction set chooses. */
static void run_conv(const struct check *check, int direction, void *const a[4], struct result *out) {
    struct smri_conv2d shape = shapes[check->variant];
    shape.precision = check->precision;
    const size_t x_n = shape.N * shape.H * shape.W * shape.C, w_n = smri_conv2d_packed_size(&shape);
    const size_t y_n = shape.N * smri_conv2d_out_rows(&shape) * smri_conv2d_out_cols(&shape) * shape.K;
    const struct smri_workspace_bytes bytes =
        smri_conv2d_workspace_bytes(SMRI_CONV2D_AUTO, (enum smri_conv2d_direction)direction, false, &shape);
    void *shared, *per_thread;
    if (smri_aligned_alloc(&shared, bytes.shared, "check") != SMRI_OK) exit(2);
    if (smri_aligned_alloc(&per_thread, smri_align(bytes.per_thread) * smri_pool_size(pool), "check") != SMRI_OK) exit(2);
    const struct smri_workspace workspace = {shared, per_thread, smri_align(bytes.per_thread)};
    float *kcrs = malloc(shape.K * shape.C * shape.R * shape.S * sizeof *kcrs);
    fill(a[0], direction == 0 ? x_n : y_n, 1, shape.precision);
    fill(a[1], x_n, 2, shape.precision);
    fill(kcrs, shape.K * shape.C * shape.R * shape.S, 3, SMRI_FP32);
    smri_conv2d_pack(a[2], kcrs, &shape);
    free(kcrs);
    struct smri_conv2d_call call = {.shape = &shape, .out = a[3], .workspace = workspace, .pool = pool};
    if (direction == 0) call.x = a[0], call.w = a[2], smri_conv2d_forward(&call);
    if (direction == 1) call.dy = a[0], call.w = a[2], smri_conv2d_backward_data(&call);
    if (direction == 2) call.x = a[1], call.dy = a[0], smri_conv2d_backward_weights(&call);
    *out = (struct result){a[3], direction == 0 ? y_n : direction == 1 ? x_n : w_n, direction == 2 ? SMRI_FP32 : shape.precision};
    smri_aligned_free(shared);
    smri_aligned_free(per_thread);
}

/* Forward, or the gradient behind a ReLU. */
static void run_norm(const struct check *check, bool backward, void *const a[4], struct result *out) {
    const struct smri_batchnorm2d shape = {2, 61, (size_t)check->variant, check->precision};
    const size_t n = shape.groups * shape.rows * shape.C, C = shape.groups * shape.C;
    float *numbers = a[2], *mean = numbers, *var = mean + C, *scale = var + C, *shift = scale + C, *gamma = shift + C;
    float *beta = gamma + shape.C, *workspace = beta + shape.C + 64;
    workspace = (float *)(((uintptr_t)workspace + 63) & ~(uintptr_t)63);
    fill(a[0], n, 4, shape.precision);
    fill(a[1], n, 5, shape.precision);
    fill(gamma, 2 * shape.C, 6, SMRI_FP32);
    smri_batchnorm2d_statistics(mean, var, a[0], &shape, 0, workspace, pool);
    smri_batchnorm2d_fold(scale, shift, gamma, beta, mean, var, 1e-5f, &shape);
    const struct smri_scale_shift_add_relu terms = {.x = a[0], .residual = a[1], .scale = scale, .shift = shift, .relu = true};
    const struct smri_batchnorm2d_gradient from = {
        .dy = a[1], .x = a[0], .gamma = gamma, .mean = mean, .var = var, .scale = scale, .shift = shift, .eps = 1e-5f, .relu = true};
    if (backward) smri_batchnorm2d_backward(a[3], gamma + 2 * shape.C, beta + 2 * shape.C, &from, &shape, 0, workspace + 4 * C, pool);
    else smri_scale_shift_add_relu(a[3], &terms, &shape, pool);
    *out = (struct result){a[3], n, shape.precision};
}

static void run_pool(const struct check *check, bool backward, void *const a[4], struct result *out) {
    const struct smri_maxpool2d shape = {2, 17, 16, (size_t)check->variant, 3, 2, 1, check->precision};
    const size_t x_n = shape.N * shape.H * shape.W * shape.C;
    const size_t y_n = shape.N * smri_maxpool2d_out_rows(&shape) * smri_maxpool2d_out_cols(&shape) * shape.C;
    fill(a[0], x_n, 7, shape.precision);
    fill(a[1], y_n, 8, shape.precision);
    smri_maxpool2d_forward(a[3], a[2], a[0], &shape, pool);
    if (backward) smri_maxpool2d_backward(a[3], a[1], a[2], &shape, pool);
    *out = (struct result){a[3], backward ? x_n : y_n, shape.precision};
}

static void run_flat(const struct check *check, void *const a[4], struct result *out) {
    const size_t n = 4099;
    float *w = a[3], *m = a[0], *g = a[1], *v = a[2];
    fill(w, n, 9, SMRI_FP32), fill(m, n, 10, SMRI_FP32), fill(g, n, 11, SMRI_FP32), fill(v, n, 12, SMRI_FP32);
    for (size_t i = 0; i < n; i++) v[i] = v[i] * v[i];
    const struct smri_sgd sgd = {0.1f, 0.9f, 1e-4f, true, NULL};
    const struct smri_adamw adamw = {1e-2, 0.9, 0.999, 1e-8, 0.05, 3, NULL};
    *out = (struct result){w, n, SMRI_FP32};
    switch (check->variant) {
    case 0: smri_sgd_step(w, m, g, &sgd, n, pool); break;
    case 1: smri_adamw_step(w, m, v, g, &adamw, n, pool); break;
    case 2: smri_sam_perturb(w, m, g, 0.5f, 2.0, true, 0.01f, n, pool); break;
    case 3: smri_relu_forward(w, g, n, pool); break;
    case 4: smri_relu_backward(w, g, m, n, pool); break;
    case 5: smri_dropout_apply(w, g, &(struct smri_dropout){0.3f, 5, 1, 2, 0}, 1, n, pool); break;
    case 6: smri_narrow((smri_bf16 *)w, g, n, pool), out->precision = SMRI_BF16; break;
    case 7: fill(a[1], n, 11, SMRI_BF16), smri_widen(w, a[1], n, pool); break;
    case 8: smri_rng_normals(w, n, &(struct smri_rng){.key = {11, 12}, .used = 4}); break;
    }
}

static void run_losses(const struct check *check, void *const a[4], struct result *out) {
    const size_t n = 24, D = 35;
    int32_t labels[24];
    for (size_t i = 0; i < n; i++) labels[i] = (int32_t)(i % D);
    fill(a[0], n * D, 13, SMRI_FP32);
    double loss;
    size_t correct;
    if (check->variant == 0) smri_ntxent(&loss, a[3], a[0], n / 2, D, &(struct smri_ntxent){.temperature = 0.5f}, a[1], pool);
    else smri_softmax_cross_entropy(&loss, &correct, a[3], a[0], labels, n, D, &(struct smri_cross_entropy){0});
    ((float *)a[3])[n * D] = (float)loss;
    *out = (struct result){a[3], n * D + 1, SMRI_FP32};
}

enum kind { CONV, CONV_DATA, CONV_WEIGHTS, NORM, NORM_BACKWARD, MAXPOOL, MAXPOOL_BACKWARD, FLAT, LOSSES };

static void run(const struct check *check, void *const a[4], struct result *out) {
    memset(a[3], 0, MOST);
    switch (check->kind) {
    case CONV:
    case CONV_DATA:
    case CONV_WEIGHTS: run_conv(check, check->kind - CONV, a, out); break;
    case NORM:
    case NORM_BACKWARD: run_norm(check, check->kind == NORM_BACKWARD, a, out); break;
    case MAXPOOL:
    case MAXPOOL_BACKWARD: run_pool(check, check->kind == MAXPOOL_BACKWARD, a, out); break;
    case FLAT: run_flat(check, a, out); break;
    case LOSSES: run_losses(check, a, out); break;
    }
}

/* ---- the program ---- */

static int run_checks(unsigned isa, const struct check *checks, size_t n_checks, void *const found[4], void *const expected[4]) {
    int wrong = 0;
    for (size_t i = 0; i < n_checks; i++) {
        const struct check *check = &checks[i];
        struct result here, reference;
        smri_isa_select(SMRI_ISA_REF);
        run(check, expected, &reference);
        smri_isa_select(isa);
        run(check, found, &here);
        /* A bf16 result may be rounded to the neighbour, 2^-8 of it; sums of fp32 differ by their order. */
        const double error = error_of(&here, &reference), most = check->precision == SMRI_BF16 ? 0x1p-7 : 1e-4;
        const bool holds = error <= most;
        printf("%-10s %-16s %-4s %2d  %016llx  %.1e  %s\n", smri_isa_name(isa), check->name,
               check->precision == SMRI_BF16 ? "bf16" : "fp32", check->variant, (unsigned long long)hash_of(&here), error,
               holds ? "ok" : "WRONG");
        wrong += !holds;
    }
    return wrong;
}

static size_t list_checks(struct check *checks) {
    static const char *const names[] = {"conv",    "conv data",        "conv weights", "norm", "norm backward",
                                        "maxpool", "maxpool backward", "flat",         "losses"};
    static const int channels[] = {1, 7, 8, 16, 40, 75};
    size_t n = 0;
    for (int p = 0; p < SMRI_PRECISIONS; p++)
        for (int kind = CONV; kind <= MAXPOOL_BACKWARD; kind++)
            for (int i = 0; i < (kind <= CONV_WEIGHTS ? SHAPES : 6); i++)
                checks[n++] = (struct check){names[kind], kind, kind <= CONV_WEIGHTS ? i : channels[i], (enum smri_precision)p};
    for (int i = 0; i < 9; i++) checks[n++] = (struct check){names[FLAT], FLAT, i, SMRI_FP32};
    for (int i = 0; i < 2; i++) checks[n++] = (struct check){names[LOSSES], LOSSES, i, SMRI_FP32};
    return n;
}

static bool is_wanted(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return true;
    return argc == 1;
}

int main(int argc, char **argv) {
    static struct check checks[256];
    const size_t n = list_checks(checks);
    void *found[4], *expected[4];
    for (int i = 0; i < 4; i++) found[i] = array(), expected[i] = array();
    if (smri_pool_create(&pool, 2) != SMRI_OK) return 2;
    int wrong = 0, run_any = 0;
    const char *name;
    for (size_t i = 0; (name = smri_isa_list(i)) != NULL; i++) {
        unsigned parsed;
        if (!is_wanted(argc, argv, name) || smri_isa_parse(&parsed, name) != SMRI_OK) continue;
        wrong += run_checks(parsed, checks, n, found, expected);
        run_any = 1;
    }
    smri_pool_destroy(pool);
    for (int i = 0; i < 4; i++) smri_aligned_free(found[i]), smri_aligned_free(expected[i]);
    if (!run_any) fprintf(stderr, "no such instruction set here\n");
    return wrong > 0 || !run_any;
}
