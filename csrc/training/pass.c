/* One pass of a training step: forward, loss, backward.
 *
 * A batch may come in micro-batches of which one is in memory at a time (GradCache: Gao et al., "Scaling deep contrastive
 * learning batch size under memory limited setup", RepL4NLP 2021): all go forward and only their outputs are kept; the
 * loss of the whole batch gives the gradient of every output; then each goes forward again, to the same bits, and backward,
 * and their gradients are added. The loss and its negatives are those of the whole batch; batch norm sees micro-batches. */
#include "training/trainer_internal.h"

#include <math.h>
#include <string.h>

/* 64 KiB of each of two arrays, as the optimizers' pieces. */
#define SUM_GRAIN ((size_t)1 << 14)

smri_status smri_trainer_refuse(const char *what, double value, const struct smri_step *step) {
    const char *found = isnan(value) ? "nan" : value > 0.0 ? "inf" : "-inf"; /* printf tells two signs of nan apart */
    return smri_fail(SMRI_NUMERIC, "the %s is %s in step %u; the step was discarded", what, found, (unsigned)step->index);
}

/* One micro-batch, or all of the batch: images first .. first + n - 1. */
struct part {
    const float *images;
    size_t first, n;
};

static struct part part_at(const smri_trainer *trainer, const float *images, size_t first, size_t n_images) {
    const struct smri_network_config *config = smri_network_config_of(trainer->network);
    const size_t n = smri_part_size(&trainer->config) < n_images ? smri_part_size(&trainer->config) : n_images;
    return (struct part){images + first * config->image_size * config->image_size * config->in_channels, first, n};
}

static smri_status forward_part(smri_trainer *trainer, const struct part *part, const struct smri_step *step,
                                struct smri_poll poll) {
    const size_t outputs = smri_network_output_count(trainer->network);
    const struct smri_masks masks = {step->seed, step->index, part->first};
    const float *output;
    const smri_status status = smri_plan_forward(trainer->plan, &output, part->images, part->n, &masks, poll);
    if (status == SMRI_OK)
        memcpy(trainer->pass_output + part->first * outputs, output, part->n * outputs * sizeof(float));
    return status;
}

struct sum_job {
    float *sum;
    const float *term;
    size_t n;
};

static void sum_task(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct sum_job *job = context;
    const size_t end = smri_chunk_end(job->n, SUM_GRAIN, index);
    for (size_t i = index * SUM_GRAIN; i < end; i++) job->sum[i] += job->term[i];
}

/* Backward of the part that went forward last; its gradients are added to those of the parts before it. */
static smri_status backward_part(smri_trainer *trainer, const struct part *part, bool is_first, struct smri_poll poll) {
    const size_t outputs = smri_network_output_count(trainer->network);
    float *gradients = is_first ? trainer->gradients : trainer->part_gradients;
    const float *doutput = trainer->doutput + part->first * outputs;
    const smri_status status = smri_plan_backward(trainer->plan, gradients, doutput, part->images, poll);
    if (status != SMRI_OK || is_first) return status;
    struct sum_job job = {trainer->gradients, trainer->part_gradients, trainer->network->size};
    smri_pool_run(trainer->pool, smri_chunk_count(job.n, SUM_GRAIN), sum_task, &job);
    return SMRI_OK;
}

static smri_status run_loss(smri_trainer *trainer, struct smri_step_result *result, const struct smri_objective *objective,
                            const struct smri_step *step) {
    const size_t n = objective->n_images, outputs = smri_network_output_count(trainer->network);
    const float *output = trainer->pass_output;
    smri_status status;
    if (objective->ntxent != NULL)
        status = smri_ntxent(&result->loss, trainer->doutput, output, n / 2, outputs, objective->ntxent,
                             trainer->loss_workspace, trainer->pool);
    else
        status = smri_softmax_cross_entropy(&result->loss, &result->n_correct, trainer->doutput, output, objective->labels, n,
                                            outputs, objective->cross_entropy);
    if (status != SMRI_OK) return status;
    return isfinite(result->loss) ? SMRI_OK : smri_trainer_refuse("loss", result->loss, step);
}

/* The parts go backward in reverse, so that the last one need not go forward again. */
smri_status smri_trainer_run_pass(smri_trainer *trainer, struct smri_step_result *result, const float *images,
                                  const struct smri_objective *objective, const struct smri_step *step, bool commits,
                                  struct smri_poll poll) {
    const size_t n = objective->n_images;
    struct part part = part_at(trainer, images, 0, n);
    smri_status status = SMRI_OK;
    for (size_t first = 0; first < n && status == SMRI_OK; first += part.n) {
        part = part_at(trainer, images, first, n);
        status = forward_part(trainer, &part, step, poll);
        if (status == SMRI_OK && commits) status = smri_plan_commit_statistics(trainer->plan, trainer->config.bn_momentum);
    }
    if (status == SMRI_OK) status = run_loss(trainer, result, objective, step);
    for (size_t end = n; end > 0 && status == SMRI_OK; end -= part.n) {
        part = part_at(trainer, images, end - part.n, n);
        if (end < n) status = forward_part(trainer, &part, step, poll);
        if (status == SMRI_OK) status = backward_part(trainer, &part, end == n, poll);
    }
    return status;
}
