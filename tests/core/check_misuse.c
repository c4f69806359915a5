/* What a caller gets wrong is SMRI_ARGUMENT with a message, in a release build (NDEBUG) too; prints what does not hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smri/smri.h"

static int failures;

static void expect(smri_status found, smri_status expected, const char *what) {
    if (found == expected && (found == SMRI_OK || smri_message()[0] != '\0')) return;
    printf("%s: status %d, expected %d (%s)\n", what, (int)found, (int)expected, smri_message());
    failures++;
}

int main(void) {
    const struct smri_network_config architecture = {
        .depth = 18, .in_channels = 1, .image_size = 32, .n_head = 1, .head = {{.out_features = 2}}, .head_name = "fc"};
    static float images[2 * 32 * 32], doutput[4], activations[1 << 16], other[1 << 16];
    smri_pool *pool;
    smri_network *network;
    expect(smri_pool_create(&pool, 1), SMRI_OK, "pool");
    expect(smri_network_create(&network, &architecture), SMRI_OK, "network");
    expect(smri_network_initialize(network, 1, pool), SMRI_OK, "weights");
    float *gradients = calloc(smri_network_size(network), sizeof *gradients);
    for (int kind = SMRI_PLAN_INFER; kind <= SMRI_PLAN_EXPLAIN; kind++) {
        const struct smri_plan_config config = {.kind = (enum smri_plan_kind)kind, .batch = 2, .bn_groups = 1};
        const struct smri_poll poll = {0};
        const struct smri_masks masks = {0};
        const smri_status trains = kind == SMRI_PLAN_TRAIN ? SMRI_OK : SMRI_ARGUMENT;
        const smri_status explains = kind == SMRI_PLAN_EXPLAIN ? SMRI_OK : SMRI_ARGUMENT;
        const float *output;
        smri_plan *plan;
        expect(smri_plan_create(&plan, network, &config, pool), SMRI_OK, "plan");
        expect(smri_plan_backward(plan, gradients, doutput, images, poll), SMRI_ARGUMENT, "backward before forward");
        expect(smri_plan_commit_statistics(plan, 0.1f), SMRI_ARGUMENT, "statistics before forward");
        expect(smri_plan_explain(plan, activations, other, SMRI_STAGE_LAYER4, doutput, poll), SMRI_ARGUMENT, "explain before forward");
        expect(smri_plan_forward(plan, &output, images, 2, &masks, poll), SMRI_OK, "forward");
        expect(smri_plan_forward(plan, &output, images, 3, &masks, poll), SMRI_SHAPE, "forward of too many images");
        expect(smri_plan_forward(plan, &output, images, 2, &masks, poll), SMRI_OK, "forward again");
        expect(smri_plan_commit_statistics(plan, 0.1f), trains, "statistics");
        expect(smri_plan_explain(plan, activations, other, (enum smri_stage)9, doutput, poll), SMRI_ARGUMENT, "unknown stage");
        expect(smri_plan_backward(plan, gradients, doutput, images, poll), trains, "backward");
        expect(smri_plan_explain(plan, activations, other, SMRI_STAGE_LAYER4, doutput, poll), explains, "explain");
        if (trains == SMRI_OK) expect(smri_plan_backward(plan, gradients, doutput, images, poll), SMRI_ARGUMENT, "backward twice");
        if (explains == SMRI_OK)
            expect(smri_plan_explain(plan, activations, other, SMRI_STAGE_LAYER4, doutput, poll), SMRI_ARGUMENT, "explain twice");
        smri_plan_destroy(plan);
    }
    free(gradients);
    smri_network_destroy(network);
    smri_pool_destroy(pool);
    return failures > 0;
}
