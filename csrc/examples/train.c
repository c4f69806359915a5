/* Trains a ResNet-18 to tell two kinds of pictures apart, discs on the left and discs on the right, and prints the loss.
 *
 *     cc train.c $(pkg-config --cflags --libs smri) -o train */
#include <stdio.h>
#include <stdlib.h>

#include "smri/smri.h"

enum { SIDE = 32, BATCH = 16, STEPS = 12 };

/* A bright disc on noise, in the half that the label names. */
static void draw(float *image, int32_t label, struct smri_rng *rng) {
    const float row = smri_rng_between(rng, 8, SIDE - 8), column = label * SIDE / 2 + smri_rng_between(rng, 5, SIDE / 2 - 5);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const float distance2 = (y - row) * (y - row) + (x - column) * (x - column);
            image[y * SIDE + x] = smri_rng_between(rng, 0, 0.3f) + (distance2 < 16 ? 0.7f : 0);
        }
}

static void draw_batch(float *images, int32_t *labels, uint32_t step) {
    for (int i = 0; i < BATCH; i++) {
        struct smri_rng rng;
        smri_rng_init(&rng, 7, step, (uint64_t)i, 0, SMRI_FOR_AUGMENT);
        labels[i] = i % 2;
        draw(images + i * SIDE * SIDE, labels[i], &rng);
    }
}

static void require(smri_status status) {
    if (status == SMRI_OK) return;
    fprintf(stderr, "%s\n", smri_message());
    exit(1);
}

int main(void) {
    const struct smri_network_config architecture = {
        .depth = 18, .in_channels = 1, .image_size = SIDE, .n_head = 1, .head = {{.out_features = 2}}, .head_name = "fc"};
    const struct smri_trainer_config options = {.batch = BATCH, .bn_groups = 1, .bn_momentum = 0.1f, .weight_decay = 1e-4};
    const struct smri_cross_entropy loss = {0};
    static float images[BATCH * SIDE * SIDE];
    int32_t labels[BATCH];
    smri_pool *threads;
    smri_network *network;
    smri_trainer *trainer;
    require(smri_pool_create(&threads, 0));
    require(smri_network_create(&network, &architecture));
    require(smri_network_initialize(network, 1, threads));
    require(smri_trainer_create(&trainer, network, &options, threads));
    printf("libsmri %s on %s, %zu threads\n", smri_version(), smri_cpu_name(), smri_pool_size(threads));
    for (uint32_t i = 0; i < STEPS; i++) {
        struct smri_step_result result;
        const struct smri_step step = {.lr = 0.05, .momentum = 0.9, .seed = 1, .index = i};
        draw_batch(images, labels, i);
        require(smri_trainer_supervised_step(trainer, &result, images, labels, BATCH, &loss, &step, (struct smri_poll){0}));
        printf("step %2u: loss %.4f, %zu of %d right\n", i, result.loss, result.n_correct, BATCH);
    }
    smri_trainer_destroy(trainer);
    smri_network_destroy(network);
    smri_pool_destroy(threads);
    return 0;
}
