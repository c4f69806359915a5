/* A plan: everything that passes of up to `batch` images need, laid out before anything is allocated.
 *
 * What a training plan keeps from forward to backward is the convolutions' outputs and the block outputs; normalised
 * activations are recomputed where backward needs them. */
#ifndef SMRI_PLAN_H
#define SMRI_PLAN_H

#include "smri/api.h"
#include "smri/network.h"
#include "smri/pool.h"
#include "smri/precision.h"

SMRI_API_BEGIN

enum smri_plan_kind {
    SMRI_PLAN_INFER,   /* running statistics, no dropout, no backward */
    SMRI_PLAN_TRAIN,   /* batch statistics, dropout, backward to the weights */
    SMRI_PLAN_EXPLAIN, /* running statistics, no dropout, backward to a stage's activations (Grad-CAM) */
};

struct smri_plan_config {
    enum smri_plan_kind kind;
    size_t batch;     /* the most images in one pass */
    size_t bn_groups; /* TRAIN: statistics apart for that many equal parts of the batch (SimCLR's views); else 1 */
    /* TRAIN: so many stages from the stem on are fixed: running statistics, which stay as they are, and no backward, so that
     * their rows of the gradients are not written. 0 to SMRI_STAGES. */
    size_t frozen_stages;
    enum smri_precision precision; /* of the activations between images and head, and of their gradients */
    bool unfused; /* for tests: one operation after the other, each on its own. Slower, and the same bits */
};

/* Between layers the pass asks; nonzero stops it with SMRI_INTERRUPTED. May be NULL. */
struct smri_poll {
    int (*ask)(void *context);
    void *context;
};

typedef struct smri_plan smri_plan;

/* Bytes that smri_plan_create would allocate, without allocating. */
smri_status smri_plan_measure(size_t *bytes, const smri_network *network, const struct smri_plan_config *config,
                              size_t n_threads);

/* The plan borrows network and pool. SMRI_MEMORY names the size asked for. */
smri_status smri_plan_create(smri_plan **out, smri_network *network, const struct smri_plan_config *config, smri_pool *pool);
void smri_plan_destroy(smri_plan *plan);

/* Bytes that this plan holds. */
size_t smri_plan_bytes(const smri_plan *plan);

/* Which dropout masks a TRAIN plan draws: those of rows first_row, first_row + 1, ... of a batch that comes in parts. */
struct smri_masks {
    uint64_t seed;
    uint32_t step;
    size_t first_row;
};

/* Forward. images[n][H][W][C], n <= batch and divisible by bn_groups. The weights are the network's.
 * *output[n][features of the last head layer] is borrowed until the next call. */
smri_status smri_plan_forward(smri_plan *plan, const float **output, const float *images, size_t n,
                              const struct smri_masks *masks, struct smri_poll poll);

/* The features (input of the head, [n][feature size], flattened ones in the order H, W, C) of the latest forward; valid
 * until a backward pass begins. */
const float *smri_plan_features(const smri_plan *plan, size_t *size);

/* Backward of the latest forward (TRAIN), once. doutput[n][...]; gradients: an arena of smri_network_size floats, every row
 * overwritten but those of frozen stages, which like the floats between rows are left alone, and are to be zero for the
 * optimizers. */
smri_status smri_plan_backward(smri_plan *plan, float *gradients, const float *doutput, const float *images,
                               struct smri_poll poll);

/* While smri_plan_backward runs, for its poll: of the gradients that decay, the arena's first, floats so-and-so and all behind
 * are final. */
size_t smri_plan_final_from(const smri_plan *plan);

/* TRAIN: blends the batch statistics of the latest forward into the running ones (momentum as PyTorch, 0.1). A pass
 * that is to leave them alone (SAM's second one, an interrupted one) simply does not call it.
 *
 * A plan of another kind, or a call without the forward pass that it needs, is SMRI_ARGUMENT, here and in the two passes. */
smri_status smri_plan_commit_statistics(smri_plan *plan, float momentum);

/* The same in two steps, for statistics that travel; with bn_groups = 1. Copy: mean and biased variance of every batch norm in
 * the latest forward, in the layout of the network's buffers. Blend: those of a forward of n images, into the running ones. */
smri_status smri_plan_copy_statistics(const smri_plan *plan, float *statistics);
smri_status smri_plan_blend_statistics(smri_plan *plan, const float *statistics, size_t n, float momentum);

/* EXPLAIN, once after a forward: activations[n][h][w][C] is the stage's output in the latest forward, gradients the
 * gradient of sum(output * doutput) with respect to it; smri_network_stage_shape tells h, w and C. fp32 in either precision,
 * the caller's, overwritten; untouched on error. */
smri_status smri_plan_explain(smri_plan *plan, float *activations, float *gradients, enum smri_stage stage,
                              const float *doutput, struct smri_poll poll);

/* How long each operation of the latest passes took, in order: forward, then backward. `layer` is the name of the weight
 * behind a convolution or batch norm, else ""; flops counts a multiply and an add as two, for convolutions only. */
struct smri_op_time {
    const char *op, *layer;
    double seconds, flops;
};
const struct smri_op_time *smri_plan_times(smri_plan *plan, size_t *count);

SMRI_API_END

#endif
