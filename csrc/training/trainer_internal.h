/* What a trainer is made of, for the files of this folder. */
#pragma once

#include "network/network_internal.h"
#include "smri/trainer.h"

struct smri_trainer {
    struct smri_trainer_config config;
    smri_network *network;
    smri_pool *pool;
    smri_plan *plan;
    float *gradients, *moments[2];      /* like the network's weights; moments[1] is AdamW's */
    float *part_gradients;              /* arenas of sums of micro-batches that wait for their neighbours (pass.c) */
    float *kept_weights, *kept_buffers; /* what undoes SAM's excursion and a step that fails */
    float *output;                      /* [batch][outputs], of the latest step's first pass */
    float *pass_output, *doutput;       /* [batch][outputs], of the latest pass */
    float *statistics;                  /* with ranks: [parts][buffers], of the batch norms in each micro-batch */
    size_t *bounds;                     /* with ranks: [ranks + 1], of a gathering */
    void *loss_workspace;
    double *param_rates; /* of each row of the network's table, a factor; NULL: 1 for all */
    uint64_t step_count;
    size_t n; /* rows of `output` */
};

/* What a step minimises: NT-Xent of pairs, or the cross-entropy of labels. */
struct smri_objective {
    size_t n_images;
    const struct smri_ntxent *ntxent; /* NULL: supervised */
    const struct smri_cross_entropy *cross_entropy;
    const int32_t *labels;
};

/* The most images of one pass. */
static inline size_t smri_part_size(const struct smri_trainer_config *config) {
    return config->micro_batch != 0 ? config->micro_batch : config->batch;
}

/* How the parts (micro-batches) of n_images are dealt. Every rank takes `per_rank` neighbours, as far as there are any: a power
 * of two, so that the sum over a rank's parts is a whole branch of the binary tree over all parts. */
struct smri_deal {
    size_t n_images, n_parts, per_rank;
    size_t first, end; /* this rank's parts */
    size_t n_ranks;    /* that have parts */
};
struct smri_deal smri_deal_of(const struct smri_trainer_config *config, size_t n_images);

/* The first part of a rank; n_parts for a rank behind the last part. And the first image of a part. */
static inline size_t smri_deal_part(const struct smri_deal *deal, size_t rank) {
    return rank < deal->n_ranks ? rank * deal->per_rank : deal->n_parts;
}
static inline size_t smri_deal_image(const struct smri_deal *deal, size_t part) {
    const size_t more = deal->n_images % deal->n_parts; /* parts of one image more */
    return part * (deal->n_images / deal->n_parts) + (part < more ? part : more);
}

/* Arenas that the tree over n parts holds at once, its result included. */
size_t smri_tree_arenas(size_t n_parts);

/* SMRI_NUMERIC for a value that is not finite, named. */
smri_status smri_trainer_refuse(const char *what, double value, const struct smri_step *step);

/* Forward, loss, backward: `pass_output` and `gradients` are the trainer's. The batch statistics reach the running ones if
 * `commits`. */
smri_status smri_trainer_run_pass(smri_trainer *trainer, struct smri_step_result *result, const float *images,
                                  const struct smri_objective *objective, const struct smri_step *step, bool commits,
                                  struct smri_poll poll);
