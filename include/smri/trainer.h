/* One training step: forward, loss, backward, update; with SAM or ASAM, forward and backward twice.
 *
 * On any error, an interruption or a loss or gradient that is not finite, weights, running statistics and optimizer are
 * as they were before the step. */
#ifndef SMRI_TRAINER_H
#define SMRI_TRAINER_H

#include "smri/api.h"
#include "smri/comm.h"
#include "smri/loss.h"
#include "smri/plan.h"

SMRI_API_BEGIN

/* LARS adapts the rate of each weight that decays, of convolutions and linear layers; biases and batch norm take SGD's step, as
 * SimCLR's authors have it. */
enum smri_optimizer { SMRI_SGD, SMRI_ADAMW, SMRI_LARS };
#define SMRI_LARS_TRUST 0.001f
/* ASAM scales the ascent of every parameter by |w|, as the recipe of the seed does. ASAM_AUTHORS is the form of its authors'
 * released code: |w| + SMRI_ASAM_ETA for weights (of convolutions, linear layers and batch norm), 1 for biases. */
enum smri_sharpness { SMRI_PLAIN, SMRI_SAM, SMRI_ASAM, SMRI_ASAM_AUTHORS };
#define SMRI_ASAM_ETA 0.01f

struct smri_trainer_config {
    enum smri_optimizer optimizer;
    enum smri_sharpness sharpness;
    bool nesterov;       /* SGD */
    double beta2, eps;   /* AdamW: 0.999, 1e-8 */
    double weight_decay;
    bool decay_all;      /* decay biases and batch norm too, as the seed recipe does */
    size_t frozen_stages; /* of the plan: stem, layer1, ... whose weights and statistics stay as they are */
    /* [SMRI_STAGES + 1], or NULL: by what the learning rate of the stem, layer1 .. layer4 and the head is multiplied. Read at
     * creation. */
    const double *stage_rates;
    float bn_momentum;   /* 0.1 */
    size_t batch;        /* the most images a step sees: 2 * pairs for SimCLR */
    size_t bn_groups;
    /* The most images that are in memory at once; 0: the whole batch. Less than the batch costs one more forward pass and
     * gives the gradients of the batch in one pass with bn_groups = batch / micro_batch: batch norm sees micro-batches. A batch
     * that is no multiple comes in parts whose sizes differ by one at most. */
    size_t micro_batch;
    /* NULL: this process alone. Else the ranks share the micro-batches of every step: all are given the same arguments, of the
     * images their own alone (smri_trainer_rows), and all get the same bits, those of one process. Borrowed. */
    const struct smri_comm *comm;
    /* What gradients travel in. With SMRI_BF16 the gradients of every micro-batch, and every sum of two in the tree over all of
     * them, are rounded to bfloat16, also in one process: the bits still do not depend on the number of ranks. */
    enum smri_precision wire;
    enum smri_precision precision; /* of the plan; weights, gradients of weights and optimizer are fp32 */
};

/* What changes from step to step. */
struct smri_step {
    double lr;
    double momentum; /* SGD's momentum, or AdamW's beta1 */
    float rho;       /* SAM's radius */
    uint64_t seed;   /* dropout */
    uint32_t index;  /* counts steps from 0; part of the dropout streams */
};

struct smri_step_result {
    double loss;          /* of the first pass */
    double gradient_norm; /* of the first pass; for ASAM in its scaled metric */
    size_t n_correct;     /* supervised: rows whose largest logit is the label */
};

typedef struct smri_trainer smri_trainer;

smri_status smri_trainer_measure(size_t *bytes, const smri_network *network, const struct smri_trainer_config *config,
                                 size_t n_threads);
smri_status smri_trainer_create(smri_trainer **out, smri_network *network, const struct smri_trainer_config *config,
                                smri_pool *pool);
void smri_trainer_destroy(smri_trainer *trainer);

/* Bytes that this trainer holds, its plan included. */
size_t smri_trainer_bytes(const smri_trainer *trainer);

/* Images begin .. end - 1 of a batch of n are those that a step reads at this rank. */
void smri_trainer_rows(const smri_trainer *trainer, size_t n, size_t *begin, size_t *end);

/* views[2 n_pairs][H][W][C]: images i and i + n_pairs are the two views of one slice. With micro-batches their number is
 * to be a multiple of micro_batch. */
smri_status smri_trainer_simclr_step(smri_trainer *trainer, struct smri_step_result *result, const float *views,
                                     size_t n_pairs, const struct smri_ntxent *options, const struct smri_step *step,
                                     struct smri_poll poll);

smri_status smri_trainer_supervised_step(smri_trainer *trainer, struct smri_step_result *result, const float *images,
                                         const int32_t *labels, size_t n, const struct smri_cross_entropy *options,
                                         const struct smri_step *step, struct smri_poll poll);

/* The output (embeddings or logits, [n][size]) of the latest step's first pass. */
const float *smri_trainer_output(const smri_trainer *trainer, size_t *n, size_t *size);

/* The gradients of the latest step (SAM: of its second pass), an arena like the network's weights. */
const float *smri_trainer_gradients(const smri_trainer *trainer);

/* Optimizer state, for checkpoints: arena `index` ("momentum"; or "exp_avg", "exp_avg_sq"), shaped like the weights, and
 * AdamW's count of steps. NULL beyond the last. */
float *smri_trainer_state(smri_trainer *trainer, size_t index, const char **name);
uint64_t *smri_trainer_step_count(smri_trainer *trainer);

/* Times of the latest pass's operations (plan.h); with SAM, of the second one. */
const struct smri_op_time *smri_trainer_times(smri_trainer *trainer, size_t *count);

SMRI_API_END

#endif
