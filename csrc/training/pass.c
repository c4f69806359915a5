/* One pass of a training step: forward, loss, backward.
 *
 * A batch may come in micro-batches of which one is in memory at a time (GradCache: Gao et al., "Scaling deep contrastive
 * learning batch size under memory limited setup", RepL4NLP 2021): all go forward and only their outputs are kept; the
 * loss of the whole batch gives the gradient of every output; then each goes forward again, to the same bits, and backward,
 * and their gradients are added. The loss and its negatives are those of the whole batch; batch norm sees micro-batches.
 *
 * The micro-batches may be dealt over several processes, the ranks of smri/comm.h. Their outputs are gathered, every rank
 * computes the loss of the whole batch, and goes backward over its own. Gradients are added in a binary tree over the
 * micro-batches, ((0 + 1) + (2 + 3)) + 4, of which each rank has a branch; running statistics are blended in their order. So
 * the result is the same bits for any number of ranks. While a rank's last backward pass goes on, the gradients that are final
 * travel (Li et al., "PyTorch Distributed", VLDB 2020, section 3.2). */
#include "training/trainer_internal.h"

#include <math.h>
#include <string.h>

/* 64 KiB of each of two arrays, as the optimizers' pieces. */
#define SUM_GRAIN ((size_t)1 << 14)
/* Floats that are sent at a time, 8 MiB: of ResNet-50's 94 MiB a twelfth. Larger ones begin to travel later, smaller ones cost
 * more calls. A multiple of a cache line, so that no two jobs write one. */
#define BUCKET ((size_t)1 << 21)

smri_status smri_trainer_refuse(const char *what, double value, const struct smri_step *step) {
    const char *found = isnan(value) ? "nan" : value > 0.0 ? "inf" : "-inf"; /* printf tells two signs of nan apart */
    return smri_fail(SMRI_NUMERIC, "the %s is %s in step %u; the step was discarded", what, found, (unsigned)step->index);
}

struct smri_deal smri_deal_of(const struct smri_trainer_config *config, size_t n_images) {
    const size_t rank = config->comm != NULL ? config->comm->rank : 0, size = config->comm != NULL ? config->comm->size : 1;
    struct smri_deal deal = {.n_images = n_images, .n_parts = smri_chunk_count(n_images, smri_part_size(config)), .per_rank = 1};
    while (deal.per_rank < smri_chunk_count(deal.n_parts, size)) deal.per_rank *= 2;
    deal.n_ranks = smri_chunk_count(deal.n_parts, deal.per_rank);
    deal.first = smri_deal_part(&deal, rank);
    deal.end = smri_deal_part(&deal, rank + 1);
    return deal;
}

size_t smri_tree_arenas(size_t n_parts) {
    size_t count = 1;
    for (size_t rest = n_parts; rest > 1; rest -= rest / 2) count++;
    return count;
}

/* One micro-batch, or all of the batch: images first .. first + n - 1. */
struct part {
    const float *images;
    size_t first, n;
};

static struct part part_at(const smri_trainer *trainer, const float *images, const struct smri_deal *deal, size_t index) {
    const struct smri_network_config *config = smri_network_config_of(trainer->network);
    const size_t first = smri_deal_image(deal, index), n = smri_deal_image(deal, index + 1) - first;
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

/* The batch statistics of the part that went forward last: into the running ones, or aside until those of all ranks are there. */
static smri_status take_statistics(smri_trainer *trainer, size_t index) {
    if (trainer->config.comm == NULL) return smri_plan_commit_statistics(trainer->plan, trainer->config.bn_momentum);
    return smri_plan_copy_statistics(trainer->plan, trainer->statistics + index * trainer->network->n_buffers);
}

static smri_status gather(const smri_trainer *trainer, const struct smri_deal *deal, bool by_image, float *data, size_t width) {
    const struct smri_comm *comm = trainer->config.comm;
    for (size_t rank = 0; rank <= comm->size; rank++) {
        const size_t part = smri_deal_part(deal, rank);
        trainer->bounds[rank] = (by_image ? smri_deal_image(deal, part) : part) * width;
    }
    return comm->gather(comm->context, data, trainer->bounds);
}

/* After the forward pass of all ranks: every rank gets what the others put out, and blends the statistics of all parts. */
static smri_status exchange(smri_trainer *trainer, const struct smri_deal *deal, bool commits) {
    if (trainer->config.comm == NULL) return SMRI_OK;
    const size_t n_buffers = trainer->network->n_buffers;
    smri_status status = gather(trainer, deal, true, trainer->pass_output, smri_network_output_count(trainer->network));
    if (status == SMRI_OK && commits) status = gather(trainer, deal, false, trainer->statistics, n_buffers);
    for (size_t i = 0; commits && i < deal->n_parts && status == SMRI_OK; i++) {
        const size_t n = smri_deal_image(deal, i + 1) - smri_deal_image(deal, i);
        status = smri_plan_blend_statistics(trainer->plan, trainer->statistics + i * n_buffers, n, trainer->config.bn_momentum);
    }
    return status;
}

/* Sums of parts that wait for their left neighbours: a stack, whose bottom ends as the sum of all. */
struct tree {
    smri_trainer *trainer;
    size_t n_leaves, held;
};

static float *arena_at(const struct tree *tree, size_t index) {
    const smri_trainer *trainer = tree->trainer;
    return index == 0 ? trainer->gradients : trainer->part_gradients + (index - 1) * trainer->network->size;
}

struct sum_job {
    float *sum;
    const float *term; /* NULL: sum alone is rounded */
    size_t n;
    enum smri_precision wire;
};

static void sum_task(void *context, size_t index, size_t worker) {
    const struct sum_job *job = context;
    const size_t begin = index * SUM_GRAIN, end = smri_chunk_end(job->n, SUM_GRAIN, index);
    for (size_t i = begin; job->term != NULL && i < end; i++) job->sum[i] += job->term[i];
    for (size_t i = begin; job->wire == SMRI_BF16 && i < end; i++)
        job->sum[i] = smri_bf16_to_float(smri_bf16_from_float(job->sum[i]));
}

/* Floats begin .. end - 1 of arena `to`, to which those of the next one are added if there is any above. */
static void sum_arenas(const struct tree *tree, size_t to, bool adds, size_t begin, size_t end) {
    const smri_trainer *trainer = tree->trainer;
    struct sum_job job = {arena_at(tree, to) + begin, NULL, end - begin, trainer->config.wire};
    if (adds) job.term = arena_at(tree, to + 1) + begin;
    smri_pool_run(trainer->pool, smri_chunk_count(job.n, SUM_GRAIN), sum_task, &job);
}

/* Floats begin .. end - 1 of leaf `leaf`, which lies on the stack above the `held` sums, are final: they are joined with their
 * neighbours. While what they stand for is a left neighbour, its right one, if there is any, lies below. Returns how many sums
 * the stack holds then. */
static size_t join_neighbours(const struct tree *tree, size_t leaf, size_t begin, size_t end) {
    size_t node = leaf, held = tree->held + 1;
    if (tree->trainer->config.wire == SMRI_BF16) sum_arenas(tree, held - 1, false, begin, end);
    for (size_t n_nodes = tree->n_leaves; n_nodes > 1 && node % 2 == 0; node /= 2, n_nodes -= n_nodes / 2) {
        if (node + 1 == n_nodes) continue; /* without a neighbour */
        sum_arenas(tree, held - 2, true, begin, end);
        held--;
    }
    return held;
}

/* What the last leaf's backward pass ends with goes to the other ranks while the rest is computed: the gradients that decay, from
 * the arena's end of them down, since the pass goes from the head to the stem; then the others, which are few. Every rank cuts
 * them at the same places. */
struct outgoing {
    const struct tree *tree;
    const struct smri_deal *deal;
    struct smri_poll poll; /* the caller's */
    size_t end;            /* floats .. end - 1 of those that decay have not been sent */
    smri_status status;    /* of the calls */
};

/* The first float that is trained; those of frozen stages lie in front of it, and nobody has any gradients for them. */
static size_t first_trained(const smri_trainer *trainer) {
    const smri_network *network = trainer->network;
    const size_t unit = smri_network_conv_bn_behind(network, trainer->config.frozen_stages);
    if (unit < network->n_conv_bns) return network->conv_bns[unit].weight;
    return network->config.n_head > 0 ? network->dense[0].weight : network->n_decaying;
}

/* `joins`: the floats are final; else the pass has failed, and they are sent because the others wait for them. */
static void send(struct outgoing *outgoing, size_t begin, size_t end, bool joins) {
    smri_trainer *trainer = outgoing->tree->trainer;
    const struct smri_comm *comm = trainer->config.comm;
    if (joins && outgoing->tree->n_leaves > 0) join_neighbours(outgoing->tree, 0, begin, end);
    if (comm == NULL || begin == end || outgoing->status != SMRI_OK) return;
    outgoing->status =
        comm->begin_sum(comm->context, trainer->gradients + begin, end - begin, outgoing->deal->n_ranks, trainer->config.wire);
}

/* Sends what is whole buckets of the floats from `final_from` on. */
static void send_buckets(struct outgoing *outgoing, size_t final_from, bool joins) {
    const size_t floor = first_trained(outgoing->tree->trainer);
    while (outgoing->end > floor) {
        const size_t begin = outgoing->end - floor > BUCKET ? outgoing->end - BUCKET : floor;
        if (begin < final_from) return;
        send(outgoing, begin, outgoing->end, joins);
        outgoing->end = begin;
    }
}

static int send_final(void *context) {
    struct outgoing *outgoing = context;
    send_buckets(outgoing, smri_plan_final_from(outgoing->tree->trainer->plan), true);
    if (outgoing->status != SMRI_OK) return 1;
    return outgoing->poll.ask != NULL ? outgoing->poll.ask(outgoing->poll.context) : 0;
}

/* The rest, once the backward pass is done or has failed; then all sums are waited for. */
static smri_status finish_sums(struct outgoing *outgoing, smri_status status) {
    const smri_trainer *trainer = outgoing->tree->trainer;
    const struct smri_comm *comm = trainer->config.comm;
    send_buckets(outgoing, 0, status == SMRI_OK);
    send(outgoing, trainer->network->n_decaying, trainer->network->size, status == SMRI_OK);
    const smri_status finished = comm != NULL ? comm->finish_sums(comm->context) : SMRI_OK;
    if (status != SMRI_OK) return status;
    return outgoing->status != SMRI_OK ? outgoing->status : finished;
}

/* Backward of the part that went forward last. */
static smri_status backward_part(struct tree *tree, const struct part *part, size_t leaf, struct smri_poll poll) {
    smri_trainer *trainer = tree->trainer;
    const float *doutput = trainer->doutput + part->first * smri_network_output_count(trainer->network);
    const smri_status status =
        smri_plan_backward(trainer->plan, arena_at(tree, tree->held), doutput, part->images, poll);
    if (status == SMRI_OK && leaf > 0) tree->held = join_neighbours(tree, leaf, 0, trainer->network->size);
    return status;
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
        status = smri_softmax_cross_entropy(&result->loss, &result->n_correct, trainer->doutput, output, objective->labels,
                                            n, outputs, objective->cross_entropy);
    if (status != SMRI_OK) return status;
    return isfinite(result->loss) ? SMRI_OK : smri_trainer_refuse("loss", result->loss, step);
}

/* The parts go backward in reverse, so that the last one need not go forward again; the first one's gradients complete the sum
 * of this rank. */
static smri_status run_backward(struct tree *tree, struct outgoing *outgoing, const float *images,
                                const struct smri_step *step, struct smri_poll poll) {
    smri_trainer *trainer = tree->trainer;
    const struct smri_poll sends = trainer->config.comm != NULL ? (struct smri_poll){send_final, outgoing} : poll;
    smri_status status = SMRI_OK;
    for (size_t leaf = tree->n_leaves; leaf-- > 0 && status == SMRI_OK;) {
        const struct part part = part_at(trainer, images, outgoing->deal, outgoing->deal->first + leaf);
        if (leaf + 1 < tree->n_leaves) status = forward_part(trainer, &part, step, poll);
        if (status == SMRI_OK) status = backward_part(tree, &part, leaf, leaf == 0 ? sends : poll);
    }
    return status;
}

static smri_status agree(const smri_trainer *trainer, smri_status status) {
    const struct smri_comm *comm = trainer->config.comm;
    return comm != NULL ? comm->agree(comm->context, status) : status;
}

smri_status smri_trainer_run_pass(smri_trainer *trainer, struct smri_step_result *result, const float *images,
                                  const struct smri_objective *objective, const struct smri_step *step, bool commits,
                                  struct smri_poll poll) {
    const struct smri_deal deal = smri_deal_of(&trainer->config, objective->n_images);
    struct tree tree = {trainer, deal.end - deal.first, 0};
    struct outgoing outgoing = {&tree, &deal, poll, trainer->network->n_decaying, SMRI_OK};
    smri_status status = SMRI_OK;
    for (size_t i = deal.first; i < deal.end && status == SMRI_OK; i++) {
        const struct part part = part_at(trainer, images, &deal, i);
        status = forward_part(trainer, &part, step, poll);
        if (status == SMRI_OK && commits) status = take_statistics(trainer, i);
    }
    status = agree(trainer, status);
    if (status == SMRI_OK) status = exchange(trainer, &deal, commits);
    if (status != SMRI_OK) return status;
    status = run_loss(trainer, result, objective, step);
    if (status == SMRI_OK) status = run_backward(&tree, &outgoing, images, step, poll);
    status = finish_sums(&outgoing, status); /* also after an error: the other ranks wait in theirs */
    return agree(trainer, status);
}
