/* Training and inference passes of several builds of libsmri, in turn in one process, beside the first one's:
 *
 *     compare_libraries DEPTH fp32|bf16 IMAGES ROUNDS THREADS LIBRARY...
 *
 * A line for each library and kind of pass: the paired ratios' median and quartiles, and the ratio of what is robust
 * against busy neighbours, each operation's least time (and lower quartile) over the rounds, summed. One thread:
 * processor time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smri/smri.h"

enum { LIBRARIES = 32, ROUNDS = 128, OPS = 1024, SIDE = 128, CLASSES = 8, PASSES = 2 };

struct library {
    void *handle;
    smri_pool *pool;
    smri_network *network;
    smri_plan *plans[PASSES];             /* training and inference */
    double seconds[PASSES][ROUNDS];       /* of whole passes */
    double (*operations[PASSES])[ROUNDS]; /* [OPS] */
    size_t n_ops[PASSES];
};

#define CALL(library, name) ((__typeof__(&name))dlsym((library)->handle, #name))

static clockid_t clock_id;

static double now(void) {
    struct timespec t;
    clock_gettime(clock_id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void require(const struct library *library, smri_status status) {
    if (status == SMRI_OK) return;
    fprintf(stderr, "%s\n", CALL(library, smri_message)());
    exit(1);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The number that a share of n is below. */
static double quantile(const double *numbers, size_t n, double share) {
    double sorted[ROUNDS];
    memcpy(sorted, numbers, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    return sorted[(size_t)(share * (double)(n - 1))];
}

static void open_library(struct library *l, const char *path, int depth, enum smri_precision precision, size_t n,
                         size_t threads) {
    l->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (l->handle == NULL) fprintf(stderr, "%s\n", dlerror()), exit(1);
    const struct smri_network_config architecture = {.depth = depth,
                                                     .in_channels = 1,
                                                     .image_size = SIDE,
                                                     .n_head = 1,
                                                     .head = {{.out_features = CLASSES}},
                                                     .head_name = "fc"};
    require(l, CALL(l, smri_pool_create)(&l->pool, threads));
    require(l, CALL(l, smri_network_create)(&l->network, &architecture));
    require(l, CALL(l, smri_network_initialize)(l->network, 1, l->pool));
    for (int pass = 0; pass < PASSES; pass++) {
        const struct smri_plan_config config = {.kind = pass == 0 ? SMRI_PLAN_TRAIN : SMRI_PLAN_INFER,
                                                .batch = n,
                                                .bn_groups = 1,
                                                .precision = precision};
        require(l, CALL(l, smri_plan_create)(&l->plans[pass], l->network, &config, l->pool));
        l->operations[pass] = calloc(OPS, sizeof *l->operations[pass]);
    }
}

static void run(struct library *l, int pass, int round, const float *images, const float *doutput, float *gradients,
                size_t n) {
    const struct smri_masks masks = {1, 1, 0};
    const struct smri_poll poll = {0};
    const float *output;
    const double begin = now();
    require(l, CALL(l, smri_plan_forward)(l->plans[pass], &output, images, n, &masks, poll));
    if (pass == 0) require(l, CALL(l, smri_plan_backward)(l->plans[0], gradients, doutput, images, poll));
    if (round < 0) return; /* warming up */
    l->seconds[pass][round] = now() - begin;
    const struct smri_op_time *times = CALL(l, smri_plan_times)(l->plans[pass], &l->n_ops[pass]);
    for (size_t i = 0; i < l->n_ops[pass]; i++) l->operations[pass][i][round] = times[i].seconds;
}

static double sum_of_quantiles(const struct library *l, int pass, size_t rounds, double share) {
    double sum = 0;
    for (size_t i = 0; i < l->n_ops[pass]; i++) sum += quantile(l->operations[pass][i], rounds, share);
    return sum;
}

int main(int argc, char **argv) {
    if (argc < 7 || argc - 6 > LIBRARIES) return 2;
    const int depth = atoi(argv[1]), n_libraries = argc - 6;
    const enum smri_precision precision = strcmp(argv[2], "bf16") == 0 ? SMRI_BF16 : SMRI_FP32;
    const size_t n = (size_t)atoi(argv[3]), rounds = (size_t)atoi(argv[4]), threads = (size_t)atoi(argv[5]);
    if (rounds == 0 || rounds > ROUNDS) return 2;
    clock_id = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    static struct library libraries[LIBRARIES];
    float *images = malloc(n * SIDE * SIDE * sizeof *images), *doutput = malloc(n * CLASSES * sizeof *doutput);
    for (size_t i = 0; i < n * SIDE * SIDE; i++) images[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (size_t i = 0; i < n * CLASSES; i++) doutput[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int i = 0; i < n_libraries; i++) open_library(&libraries[i], argv[6 + i], depth, precision, n, threads);
    float *gradients = calloc(CALL(&libraries[0], smri_network_size)(libraries[0].network), sizeof *gradients);
    for (int round = -1; round < (int)rounds; round++)
        for (int i = 0; i < n_libraries; i++) {
            struct library *l = &libraries[round % 2 == 0 ? i : n_libraries - 1 - i];
            for (int pass = 0; pass < PASSES; pass++) run(l, pass, round, images, doutput, gradients, n);
        }
    for (int i = 0; i < n_libraries; i++)
        for (int pass = 0; pass < PASSES; pass++) {
            double ratios[ROUNDS];
            for (size_t r = 0; r < rounds; r++)
                ratios[r] = libraries[i].seconds[pass][r] / libraries[0].seconds[pass][r];
            double least[2], low[2];
            for (int k = 0; k < 2; k++) {
                least[k] = sum_of_quantiles(&libraries[k * i], pass, rounds, 0);
                low[k] = sum_of_quantiles(&libraries[k * i], pass, rounds, 0.25);
            }
            printf("%s\t%s\t%.1f ms\t%.4f (%.4f to %.4f)\t%.4f\t%.4f\n", argv[6 + i],
                   pass == 0 ? "training" : "inference", 1e3 * least[1], quantile(ratios, rounds, 0.5), quantile(ratios, rounds, 0.25),
                   quantile(ratios, rounds, 0.75), least[1] / least[0], low[1] / low[0]);
        }
    return 0;
}
