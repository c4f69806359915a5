/* A plan that does operations on the way of others gives the bits of one that does them one by one; prints what does not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smri/smri.h"

enum { SIDE = 40, BATCH = 6, OUTPUTS = 3 };

static int failures;

static void require(smri_status status) {
    if (status == SMRI_OK) return;
    fprintf(stderr, "%s\n", smri_message());
    exit(2);
}

static void draw(float *numbers, size_t n) {
    struct smri_rng rng;
    smri_rng_init(&rng, 5, 0, 0, 0, SMRI_FOR_AUGMENT);
    for (size_t i = 0; i < n; i++) numbers[i] = smri_rng_between(&rng, -1.0f, 1.0f);
}

/* Output, gradients and statistics of a step over n images, one after the other. */
static void step(float *results, smri_network *network, bool unfused, enum smri_precision precision, size_t n, smri_pool *pool) {
    static float images[BATCH * SIDE * SIDE], doutput[BATCH * OUTPUTS];
    const struct smri_plan_config config = {
        .kind = SMRI_PLAN_TRAIN, .batch = BATCH, .bn_groups = 2, .precision = precision, .unfused = unfused};
    const struct smri_masks masks = {.seed = 1};
    const float *output;
    smri_plan *plan;
    draw(images, BATCH * SIDE * SIDE);
    draw(doutput, BATCH * OUTPUTS);
    require(smri_network_initialize(network, 1, pool));
    require(smri_plan_create(&plan, network, &config, pool));
    require(smri_plan_forward(plan, &output, images, n, &masks, (struct smri_poll){0}));
    memcpy(results, output, n * OUTPUTS * sizeof *output);
    results += BATCH * OUTPUTS;
    require(smri_plan_backward(plan, results, doutput, images, (struct smri_poll){0}));
    results += smri_network_size(network);
    require(smri_plan_commit_statistics(plan, 0.1f));
    size_t count;
    const struct smri_parameter *table = smri_network_table(network, &count);
    for (size_t i = 0; i < count; i++)
        if (table[i].is_buffer) smri_network_export(network, i, results, NULL), results += table[i].floats;
    smri_plan_destroy(plan);
}

static void check(int depth, enum smri_precision precision, size_t n, smri_pool *pool) {
    const struct smri_network_config architecture = {.depth = depth, .in_channels = 1, .image_size = SIDE, .n_head = 1,
                                                     .head = {{.out_features = OUTPUTS, .dropout = 0.2f}}, .head_name = "fc"};
    smri_network *network;
    require(smri_network_create(&network, &architecture));
    size_t count, floats = BATCH * OUTPUTS + smri_network_size(network);
    const struct smri_parameter *table = smri_network_table(network, &count);
    for (size_t i = 0; i < count; i++)
        if (table[i].is_buffer) floats += table[i].floats;
    float *fused = calloc(floats, sizeof *fused), *single = calloc(floats, sizeof *single);
    step(fused, network, false, precision, n, pool);
    step(single, network, true, precision, n, pool);
    size_t differ = 0, zeros = 0;
    for (size_t i = 0; i < floats; i++) differ += memcmp(&fused[i], &single[i], sizeof *fused) != 0, zeros += fused[i] == 0.0f;
    if (differ > 0 || zeros > floats / 2) {
        printf("ResNet-%d, %s, %zu images: %zu of %zu numbers differ, %zu are zero\n", depth,
               precision == SMRI_BF16 ? "bf16" : "fp32", n, differ, floats, zeros);
        failures++;
    }
    free(fused);
    free(single);
    smri_network_destroy(network);
}

int main(void) {
    smri_pool *pool;
    require(smri_pool_create(&pool, 2));
    check(18, SMRI_FP32, BATCH, pool);
    check(50, SMRI_FP32, BATCH - 2, pool);
    check(50, SMRI_BF16, BATCH, pool);
    smri_pool_destroy(pool);
    return failures > 0;
}
