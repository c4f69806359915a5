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
    struct smri_plan_config config;
    smri_network *network;
    smri_pool *threads;
    /* One program for `batch` images, and one for the number of the latest incomplete batch, once there was one. */
    struct smri_program *whole, *incomplete;
    char *arena;
    size_t arena_bytes; /* for the larger of the two */
    float *statistics;
    size_t statistics_at[SMRI_CONV_BNS_MAX];
    double seconds[SMRI_OPS_MAX];
    short n_done;        /* operations of the latest passes that are done */
    struct smri_run run; /* of the latest forward */
    unsigned isa;        /* the kernels for which scratch memory was measured */
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
    if (config->frozen_stages > (config->kind == SMRI_PLAN_TRAIN ? SMRI_STAGES : 0))
        return smri_fail(SMRI_ARGUMENT, "frozen_stages: expected 0 to %d, and 0 outside training, got %zu", SMRI_STAGES,
                         config->frozen_stages);
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

/* A program for n images. */
static smri_status write_program(struct smri_program **out, const smri_network *network,
                                 const struct smri_plan_config *config, size_t n, size_t n_threads) {
    struct smri_plan_config exact = *config;
    exact.batch = n;
    struct smri_program *program = malloc(sizeof *program);
    if (program == NULL) return smri_fail(SMRI_MEMORY, "plan: memory refused by the system");
    const smri_status status = smri_program_write(program, network, &exact, n_threads);
    if (status == SMRI_OK) *out = program;
    else free(program);
    return status;
}

static size_t bytes_of(size_t n_programs, size_t arena_bytes, const smri_network *network, size_t groups) {
    return sizeof(struct smri_plan) + n_programs * sizeof(struct smri_program) + arena_bytes +
           place_statistics(NULL, network, groups) * sizeof(float);
}

smri_status smri_plan_measure(size_t *bytes, const smri_network *network, const struct smri_plan_config *config,
                              size_t n_threads) {
    struct smri_program *program = NULL;
    smri_status status = check_config(config);
    if (status == SMRI_OK) status = write_program(&program, network, config, config->batch, n_threads);
    if (status == SMRI_OK) *bytes = bytes_of(1, program->arena_bytes, network, config->bn_groups);
    free(program);
    return status;
}

smri_status smri_plan_create(smri_plan **out, smri_network *network, const struct smri_plan_config *config, smri_pool *pool) {
    *out = NULL;
    smri_status status = check_config(config);
    if (status != SMRI_OK) return status;
    struct smri_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return smri_fail(SMRI_MEMORY, "plan: memory refused by the system");
    plan->config = *config;
    plan->network = network;
    plan->threads = pool;
    plan->isa = smri_isa_selected();
    status = write_program(&plan->whole, network, config, config->batch, smri_pool_size(pool));
    if (status == SMRI_OK) {
        const size_t floats = place_statistics(plan->statistics_at, network, config->bn_groups);
        status = smri_aligned_alloc((void **)&plan->statistics, floats * sizeof(float), "batch statistics");
    }
    if (status == SMRI_OK) {
        plan->arena_bytes = plan->whole->arena_bytes;
        status = smri_aligned_alloc_shared((void **)&plan->arena, plan->arena_bytes, "activations", pool);
    }
    if (status != SMRI_OK) {
        smri_plan_destroy(plan);
        return status;
    }
    *out = plan;
    return SMRI_OK;
}

void smri_plan_destroy(smri_plan *plan) {
    if (plan == NULL) return;
    free(plan->whole);
    free(plan->incomplete);
    smri_aligned_free(plan->arena);
    smri_aligned_free(plan->statistics);
    free(plan);
}

size_t smri_plan_bytes(const smri_plan *plan) {
    return bytes_of(plan->incomplete != NULL ? 2 : 1, plan->arena_bytes, plan->network, plan->config.bn_groups);
}

/* The program for n images, written anew when the latest incomplete batch had another number (about 1 ms). A smaller batch may
 * take another method that needs more memory; then the arena grows. */
static smri_status program_for(const struct smri_program **out, struct smri_plan *plan, size_t n) {
    if (n == plan->config.batch || (plan->incomplete != NULL && plan->incomplete->config.batch == n)) {
        *out = n == plan->config.batch ? plan->whole : plan->incomplete;
        return SMRI_OK;
    }
    struct smri_program *program = NULL;
    char *arena = NULL;
    smri_status status = write_program(&program, plan->network, &plan->config, n, smri_pool_size(plan->threads));
    if (status == SMRI_OK && program->arena_bytes > plan->arena_bytes)
        status = smri_aligned_alloc_shared((void **)&arena, program->arena_bytes, "activations", plan->threads);
    if (status != SMRI_OK) {
        free(program);
        return status;
    }
    if (arena != NULL) {
        smri_aligned_free(plan->arena);
        plan->arena = arena, plan->arena_bytes = program->arena_bytes;
    }
    free(plan->incomplete);
    *out = plan->incomplete = program;
    return SMRI_OK;
}

static const char *kind_name(const smri_plan *plan) {
    return plan->config.kind == SMRI_PLAN_TRAIN ? "training" : plan->config.kind == SMRI_PLAN_INFER ? "inference" : "explaining";
}

static const void *value_at(const smri_plan *plan, short value) {
    if (value == SMRI_VALUE_DOUTPUT) return plan->run.doutput;
    return plan->arena + plan->run.program->values[value].offset;
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
    const struct smri_program *program;
    smri_status status = program_for(&program, plan, n);
    if (status != SMRI_OK) return status;
    plan->run = (struct smri_run){
        .program = program, .network = plan->network, .arena = plan->arena, .statistics = plan->statistics,
        .statistics_at = plan->statistics_at, .images = images, .masks = *masks, .threads = plan->threads,
        .seconds = plan->seconds, .n_done = &plan->n_done,
    };
    if (plan->config.kind != SMRI_PLAN_TRAIN || plan->config.frozen_stages > 0) smri_program_fold_running(&plan->run);
    status = smri_program_run(&plan->run, 0, program->n_forward, poll);
    if (status != SMRI_OK) return status;
    plan->forward_done = true;
    *output = value_at(plan, program->output);
    return SMRI_OK;
}

const float *smri_plan_features(const smri_plan *plan, size_t *size) {
    *size = plan->network->features;
    return value_at(plan, plan->run.program->features);
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
    plan->n_done = plan->run.program->n_forward;
    return smri_program_run(&plan->run, plan->run.program->n_forward, plan->run.program->n_ops, poll);
}

/* Where the gradient that an operation writes ends among those that decay; 0 where it writes none. */
static size_t gradient_end(const smri_network *network, const struct smri_op *op) {
    if (op->kind == SMRI_OP_CONV_WEIGHTS) {
        const struct smri_conv_bn *conv_bn = &network->conv_bns[op->unit];
        return conv_bn->weight + network->table[conv_bn->param].floats;
    }
    if (op->kind != SMRI_OP_LINEAR_BACKWARD) return 0;
    const struct smri_dense *dense = &network->dense[op->unit];
    return dense->weight + dense->in * dense->out;
}

size_t smri_plan_final_from(const smri_plan *plan) {
    const struct smri_program *program = plan->run.program;
    size_t from = 0;
    for (short i = plan->n_done; i < program->n_ops; i++) {
        const size_t end = gradient_end(plan->network, &program->ops[i]);
        if (end > from) from = end;
    }
    return from;
}

/* Batch norm `unit` in a forward of n images: mean and var are [groups][K]. */
static void blend_unit(smri_plan *plan, size_t unit, const float *mean, const float *var, size_t groups, size_t n,
                       float momentum) {
    const struct smri_conv_bn *conv_bn = &plan->network->conv_bns[unit];
    const struct smri_batchnorm2d shape = {groups, n / groups * conv_bn->P * conv_bn->Q, conv_bn->conv.K,
                                           plan->config.precision};
    float *buffers = plan->network->buffers;
    smri_batchnorm2d_update_running(buffers + conv_bn->mean, buffers + conv_bn->var, mean, var, momentum, &shape);
}

/* The first batch norm whose statistics change: those of frozen stages are fixed. */
static size_t first_unit(const smri_plan *plan) {
    return smri_network_conv_bn_behind(plan->network, plan->config.frozen_stages);
}

static smri_status check_statistics(const smri_plan *plan) {
    if (plan->config.kind != SMRI_PLAN_TRAIN)
        return smri_fail(SMRI_ARGUMENT, "statistics: expected a plan for training, got one for %s", kind_name(plan));
    if (plan->run.program == NULL) return smri_fail(SMRI_ARGUMENT, "statistics: expected a forward pass before them");
    return SMRI_OK;
}

smri_status smri_plan_commit_statistics(smri_plan *plan, float momentum) {
    const smri_status status = check_statistics(plan);
    if (status != SMRI_OK) return status;
    const struct smri_run *run = &plan->run;
    const struct smri_plan_config *config = &run->program->config;
    for (size_t i = first_unit(plan); i < plan->network->n_conv_bns; i++)
        blend_unit(plan, i, smri_run_statistics(run, i, 0), smri_run_statistics(run, i, 1), config->bn_groups, config->batch,
                   momentum);
    return SMRI_OK;
}

static smri_status check_one_group(const smri_plan *plan) {
    if (plan->config.bn_groups == 1) return SMRI_OK;
    return smri_fail(SMRI_ARGUMENT, "statistics: expected a plan of one group to copy, got %zu", plan->config.bn_groups);
}

smri_status smri_plan_copy_statistics(const smri_plan *plan, float *statistics) {
    smri_status status = check_statistics(plan);
    if (status == SMRI_OK) status = check_one_group(plan);
    if (status != SMRI_OK) return status;
    for (size_t i = first_unit(plan); i < plan->network->n_conv_bns; i++) {
        const struct smri_conv_bn *conv_bn = &plan->network->conv_bns[i];
        const size_t bytes = conv_bn->conv.K * sizeof(float);
        memcpy(statistics + conv_bn->mean, smri_run_statistics(&plan->run, i, 0), bytes);
        memcpy(statistics + conv_bn->var, smri_run_statistics(&plan->run, i, 1), bytes);
    }
    return SMRI_OK;
}

smri_status smri_plan_blend_statistics(smri_plan *plan, const float *statistics, size_t n, float momentum) {
    const smri_status status = check_one_group(plan);
    for (size_t i = first_unit(plan); i < plan->network->n_conv_bns && status == SMRI_OK; i++) {
        const struct smri_conv_bn *conv_bn = &plan->network->conv_bns[i];
        blend_unit(plan, i, statistics + conv_bn->mean, statistics + conv_bn->var, 1, n, momentum);
    }
    return status;
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
    const struct smri_program *program = plan->run.program;
    short stop = program->n_forward;
    while (program->ops[stop].kind != SMRI_OP_TAP || program->ops[stop].unit != (short)stage) stop++;
    const smri_status status = smri_program_run(&plan->run, program->n_forward, stop, poll);
    if (status != SMRI_OK) return status;
    size_t shape[3];
    smri_network_stage_shape(shape, plan->network, stage);
    const size_t numbers = program->config.batch * shape[0] * shape[1] * shape[2];
    copy_out(plan, activations, program->ops[stop].x, numbers);
    copy_out(plan, gradients, program->ops[stop].dy, numbers);
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
    [SMRI_OP_TAP] = "stage reached",
};

const struct smri_op_time *smri_plan_times(smri_plan *plan, size_t *count) {
    const struct smri_network *network = plan->network;
    const struct smri_program *program = plan->run.program != NULL ? plan->run.program : plan->whole;
    *count = (size_t)program->n_ops;
    for (size_t i = 0; i < *count; i++) {
        const struct smri_op *op = &program->ops[i];
        struct smri_op_time *time = &plan->times[i];
        *time = (struct smri_op_time){.op = op_names[op->kind], .layer = "", .seconds = plan->seconds[i]};
        const bool is_norm = op->kind == SMRI_OP_STATISTICS || op->kind == SMRI_OP_SCALE_SHIFT_ADD_RELU ||
                             op->kind == SMRI_OP_NORM_BACKWARD;
        if (!smri_op_is_conv(op) && !is_norm) continue;
        const struct smri_conv_bn *conv_bn = &network->conv_bns[op->unit];
        time->layer = network->table[conv_bn->param].name;
        if (!is_norm)
            time->flops = 2.0 * (double)(op->n * conv_bn->P * conv_bn->Q * conv_bn->conv.K) *
                          (double)(conv_bn->conv.C * conv_bn->conv.R * conv_bn->conv.S);
    }
    return plan->times;
}
