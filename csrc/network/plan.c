/* A plan: a program, its arena, and the batch statistics. All memory is taken at creation. */
#include "smri/plan.h"

#include <stdlib.h>
#include <string.h>

#include "network/program.h"
#include "smri/batchnorm2d.h"
#include "smri/convert.h"
#include "smri/cpu.h"
#include "smri/memory.h"

struct smri_plan {
    struct smri_program program;
    struct smri_plan_config config;
    smri_network *network;
    smri_pool *threads;
    char *arena;
    float *statistics;
    size_t statistics_at[SMRI_CONV_BNS_MAX];
    double seconds[SMRI_OPS_MAX];
    struct smri_run run; /* of the latest forward */
    enum smri_isa isa;   /* the kernels for which scratch memory was measured */
    bool forward_done;   /* the arena holds a finished forward pass */
    struct smri_op_time times[SMRI_OPS_MAX];
};

static smri_status check_config(const struct smri_plan_config *config) {
    if ((unsigned)config->kind > SMRI_PLAN_EXPLAIN)
        return smri_fail(SMRI_ARGUMENT, "plan: expected the kind infer, train or explain, got %d", (int)config->kind);
    if ((unsigned)config->precision >= SMRI_PRECISIONS)
        return smri_fail(SMRI_ARGUMENT, "plan: expected the precision fp32 or bf16, got %d", (int)config->precision);
    if (config->batch == 0) return smri_fail(SMRI_ARGUMENT, "batch: expected at least 1 image, got 0");
    if (config->bn_groups == 0 || config->batch % config->bn_groups != 0)
        return smri_fail(SMRI_ARGUMENT, "bn_groups: expected a divisor of the batch %zu, got %zu", config->batch,
                         config->bn_groups);
    if (config->bn_groups != 1 && config->kind != SMRI_PLAN_TRAIN)
        return smri_fail(SMRI_ARGUMENT, "bn_groups: expected 1 outside training, got %zu", config->bn_groups);
    return SMRI_OK;
}

/* Offsets of the conv_bns' statistics into `at` (may be NULL), and floats in all. */
static size_t place_statistics(size_t *at, const struct smri_network *network, size_t groups) {
    size_t floats = 0;
    for (size_t i = 0; i < network->n_conv_bns; i++) {
        if (at != NULL) at[i] = floats;
        floats += 4 * groups * network->conv_bns[i].conv.K;
    }
    return floats;
}

static smri_status write_program(struct smri_program *program, const smri_network *network,
                                 const struct smri_plan_config *config, size_t n_threads) {
    smri_status status = check_config(config);
    if (status == SMRI_OK) status = smri_program_write(program, network, config, n_threads);
    if (status == SMRI_OK) status = smri_program_lay_out(program);
    return status;
}

static size_t bytes_of(const struct smri_program *program, const smri_network *network, size_t groups) {
    return sizeof(struct smri_plan) + program->arena_bytes + place_statistics(NULL, network, groups) * sizeof(float);
}

smri_status smri_plan_measure(size_t *bytes, const smri_network *network, const struct smri_plan_config *config,
                              size_t n_threads) {
    struct smri_program *program = malloc(sizeof *program);
    if (program == NULL) return smri_fail(SMRI_MEMORY, "plan: memory refused by the system");
    const smri_status status = write_program(program, network, config, n_threads);
    if (status == SMRI_OK) *bytes = bytes_of(program, network, config->bn_groups);
    free(program);
    return status;
}

smri_status smri_plan_create(smri_plan **out, smri_network *network, const struct smri_plan_config *config, smri_pool *pool) {
    *out = NULL;
    struct smri_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return smri_fail(SMRI_MEMORY, "plan: memory refused by the system");
    plan->config = *config;
    plan->network = network;
    plan->threads = pool;
    plan->isa = smri_isa_selected();
    smri_status status = write_program(&plan->program, network, config, smri_pool_size(pool));
    if (status == SMRI_OK) {
        const size_t floats = place_statistics(plan->statistics_at, network, config->bn_groups);
        status = smri_aligned_alloc((void **)&plan->statistics, floats * sizeof(float), "batch statistics");
    }
    if (status == SMRI_OK) status = smri_aligned_alloc((void **)&plan->arena, plan->program.arena_bytes, "activations");
    if (status != SMRI_OK) {
        smri_plan_destroy(plan);
        return status;
    }
    *out = plan;
    return SMRI_OK;
}

void smri_plan_destroy(smri_plan *plan) {
    if (plan == NULL) return;
    smri_aligned_free(plan->arena);
    smri_aligned_free(plan->statistics);
    free(plan);
}

size_t smri_plan_bytes(const smri_plan *plan) { return bytes_of(&plan->program, plan->network, plan->config.bn_groups); }

static const char *kind_name(const smri_plan *plan) {
    return plan->config.kind == SMRI_PLAN_TRAIN ? "training" : plan->config.kind == SMRI_PLAN_INFER ? "inference" : "explaining";
}

static const void *value_at(const smri_plan *plan, short value) {
    if (value == SMRI_VALUE_DOUTPUT) return plan->run.doutput;
    return plan->arena + plan->program.values[value].offset;
}

smri_status smri_plan_forward(smri_plan *plan, const float **output, const float *images, size_t n,
                              const struct smri_masks *masks, struct smri_poll poll) {
    const size_t groups = plan->config.bn_groups;
    plan->forward_done = false;
    if (plan->isa != smri_isa_selected())
        return smri_fail(SMRI_UNSUPPORTED, "the plan was made for the instruction set '%s', and '%s' is selected now",
                         smri_isa_name(plan->isa), smri_isa_name(smri_isa_selected()));
    if (n == 0 || n > plan->config.batch || n % groups != 0)
        return smri_fail(SMRI_SHAPE, "images: expected 1 to %zu, a multiple of %zu, got %zu", plan->config.batch, groups, n);
    plan->run = (struct smri_run){
        .program = &plan->program, .network = plan->network, .arena = plan->arena, .statistics = plan->statistics,
        .statistics_at = plan->statistics_at, .images = images, .n = n, .groups = groups, .kind = plan->config.kind,
        .precision = plan->config.precision, .masks = *masks, .threads = plan->threads, .seconds = plan->seconds,
    };
    if (plan->config.kind != SMRI_PLAN_TRAIN) smri_program_fold_running(&plan->run);
    const smri_status status = smri_program_run(&plan->run, 0, plan->program.n_forward, poll);
    if (status != SMRI_OK) return status;
    plan->forward_done = true;
    *output = value_at(plan, plan->program.output);
    return SMRI_OK;
}

const float *smri_plan_features(const smri_plan *plan, size_t *size) {
    *size = plan->network->features;
    return value_at(plan, plan->program.features);
}

smri_status smri_plan_backward(smri_plan *plan, float *gradients, const float *doutput, const float *images,
                               struct smri_poll poll) {
    if (plan->config.kind != SMRI_PLAN_TRAIN)
        return smri_fail(SMRI_ARGUMENT, "backward: expected a plan for training, got one for %s", kind_name(plan));
    if (!plan->forward_done) return smri_fail(SMRI_ARGUMENT, "backward: expected a forward pass before it, once for each");
    plan->forward_done = false; /* backward reuses the arena: once only */
    plan->run.gradients = gradients;
    plan->run.doutput = doutput;
    plan->run.images = images;
    return smri_program_run(&plan->run, plan->program.n_forward, plan->program.n_ops, poll);
}

smri_status smri_plan_commit_statistics(smri_plan *plan, float momentum) {
    if (plan->config.kind != SMRI_PLAN_TRAIN)
        return smri_fail(SMRI_ARGUMENT, "statistics: expected a plan for training, got one for %s", kind_name(plan));
    if (plan->run.program == NULL) return smri_fail(SMRI_ARGUMENT, "statistics: expected a forward pass before them");
    struct smri_network *network = plan->network;
    const struct smri_run *run = &plan->run;
    for (size_t i = 0; i < network->n_conv_bns; i++) {
        const struct smri_conv_bn *conv_bn = &network->conv_bns[i];
        const struct smri_batchnorm2d shape = {run->groups, run->n / run->groups * conv_bn->P * conv_bn->Q, conv_bn->conv.K,
                                               run->precision};
        smri_batchnorm2d_update_running(network->buffers + conv_bn->mean, network->buffers + conv_bn->var,
                                        smri_run_statistics(run, i, 0), smri_run_statistics(run, i, 1), momentum, &shape);
    }
    return SMRI_OK;
}

/* A value of the trunk into the caller's floats. */
static void copy_out(const smri_plan *plan, float *out, short value, size_t numbers) {
    const void *in = value_at(plan, value);
    if (plan->config.precision == SMRI_BF16)
        smri_widen(out, in, numbers, plan->threads);
    else
        memcpy(out, in, numbers * sizeof(float));
}

smri_status smri_plan_explain(smri_plan *plan, float *activations, float *gradients, enum smri_stage stage,
                              const float *doutput, struct smri_poll poll) {
    if (plan->config.kind != SMRI_PLAN_EXPLAIN)
        return smri_fail(SMRI_ARGUMENT, "explain: expected a plan that explains, got one for %s", kind_name(plan));
    if ((unsigned)stage > SMRI_STAGE_LAYER4) return smri_fail(SMRI_ARGUMENT, "explain: unknown stage %d", (int)stage);
    if (!plan->forward_done) return smri_fail(SMRI_ARGUMENT, "explain: expected a forward pass before it, once for each");
    plan->forward_done = false;
    plan->run.doutput = doutput;
    const struct smri_tap *tap = &plan->program.taps[stage];
    const smri_status status = smri_program_run(&plan->run, plan->program.n_forward, tap->stop, poll);
    if (status != SMRI_OK) return status;
    size_t shape[3];
    smri_network_stage_shape(shape, plan->network, stage);
    const size_t numbers = plan->run.n * shape[0] * shape[1] * shape[2];
    copy_out(plan, activations, tap->activations, numbers);
    copy_out(plan, gradients, tap->gradients, numbers);
    return SMRI_OK;
}

static const char *const op_names[SMRI_OP_KINDS] = {
    [SMRI_OP_NARROW] = "narrow",
    [SMRI_OP_WIDEN] = "widen",
    [SMRI_OP_CONV] = "conv forward",
    [SMRI_OP_CONV_NORMALISED] = "conv forward",
    [SMRI_OP_STATISTICS] = "norm statistics",
    [SMRI_OP_SCALE_SHIFT_ADD_RELU] = "normalise",
    [SMRI_OP_MAXPOOL] = "maxpool",
    [SMRI_OP_AVGPOOL] = "avgpool",
    [SMRI_OP_DROPOUT] = "dropout",
    [SMRI_OP_LINEAR] = "linear forward",
    [SMRI_OP_RELU] = "relu",
    [SMRI_OP_RELU_BACKWARD] = "relu backward",
    [SMRI_OP_NORM_BACKWARD] = "norm backward",
    [SMRI_OP_CONV_DATA] = "conv backward data",
    [SMRI_OP_CONV_WEIGHTS] = "conv backward weights",
    [SMRI_OP_MAXPOOL_BACKWARD] = "maxpool backward",
    [SMRI_OP_AVGPOOL_BACKWARD] = "avgpool backward",
    [SMRI_OP_LINEAR_BACKWARD] = "linear backward",
};

const struct smri_op_time *smri_plan_times(smri_plan *plan, size_t *count) {
    const struct smri_network *network = plan->network;
    *count = (size_t)plan->program.n_ops;
    for (size_t i = 0; i < *count; i++) {
        const struct smri_op *op = &plan->program.ops[i];
        struct smri_op_time *time = &plan->times[i];
        *time = (struct smri_op_time){.op = op_names[op->kind], .layer = "", .seconds = plan->seconds[i]};
        const bool is_conv = op->kind == SMRI_OP_CONV || op->kind == SMRI_OP_CONV_NORMALISED ||
            op->kind == SMRI_OP_CONV_DATA ||
                             op->kind == SMRI_OP_CONV_WEIGHTS;
        const bool is_norm = op->kind == SMRI_OP_STATISTICS || op->kind == SMRI_OP_SCALE_SHIFT_ADD_RELU ||
            op->kind == SMRI_OP_NORM_BACKWARD;
        if (!is_conv && !is_norm) continue;
        const struct smri_conv_bn *conv_bn = &network->conv_bns[op->conv_bn];
        time->layer = network->table[conv_bn->param].name;
        if (is_conv)
            time->flops = 2.0 * (double)(plan->run.n * conv_bn->P * conv_bn->Q * conv_bn->conv.K) *
                          (double)(conv_bn->conv.C * conv_bn->conv.R * conv_bn->conv.S);
    }
    return plan->times;
}
