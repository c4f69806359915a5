/* Runs a program: one call of a layer for each operation, a look at the poll between two. */
#define _POSIX_C_SOURCE 200809L
#include "program.h"

#include <time.h>

#include "smri/activation.h"
#include "smri/batchnorm2d.h"
#include "smri/convert.h"
#include "smri/linear.h"

enum { MEAN, VAR, SCALE, SHIFT };

static void *at(const struct smri_run *run, short value) {
    if (value == SMRI_VALUE_NONE) return NULL;
    char *numbers = run->arena + run->program->values[value].offset;
    return value == run->program->prefix_out ? numbers + run->first * run->program->prefix_bytes : numbers;
}

/* A value that is only read: it may be the caller's. */
static const void *read_at(const struct smri_run *run, short value) {
    if (value == SMRI_VALUE_IMAGES) return run->images;
    if (value == SMRI_VALUE_DOUTPUT) return run->doutput;
    return at(run, value);
}

/* A convolution's call, but for what goes along with it. */
static struct smri_conv2d_call call_of(const struct smri_run *run, const struct smri_op *op,
                                       const struct smri_conv2d *shape) {
    const struct smri_workspace workspace = {at(run, op->scratch), at(run, run->program->per_thread),
                                             run->program->per_thread_stride};
    return (struct smri_conv2d_call){.shape = shape,
                                     .method = op->method,
                                     .out = at(run, op->out),
                                     .x = read_at(run, op->x),
                                     .dy = read_at(run, op->dy),
                                     .w = run->network->weights + run->network->conv_bns[op->unit].weight,
                                     .workspace = workspace,
                                     .pool = run->threads};
}

static struct smri_conv2d conv_of(const struct smri_run *run, const struct smri_op *op) {
    return smri_op_conv(run->program, run->network, op);
}

static struct smri_maxpool2d maxpool_of(const struct smri_run *run, const struct smri_op *op) {
    struct smri_maxpool2d shape = run->network->maxpool;
    shape.N = op->n;
    shape.precision = run->program->config.precision;
    return shape;
}

/* What a norm is computed from, and what a convolution needs to do one of its passes part by part. */
struct norm {
    struct smri_batchnorm2d shape;
    struct smri_batchnorm2d_gradient from;
    struct smri_batchnorm2d_parts parts;
};

/* Of a STATISTICS or a NORM_BACKWARD. `norm` must stay where it is while it is used. */
static void norm_of(struct norm *norm, const struct smri_run *run, const struct smri_op *op) {
    const size_t u = (size_t)op->unit;
    norm->shape = smri_op_norm(run->program, run->network, op);
    norm->from = (struct smri_batchnorm2d_gradient){
        .dy = read_at(run, op->dy),
        .x = read_at(run, op->x),
        .gamma = run->network->weights + run->network->conv_bns[u].gamma,
        .mean = smri_run_statistics(run, u, MEAN),
        .var = smri_run_statistics(run, u, VAR),
        .scale = smri_run_statistics(run, u, SCALE),
        .shift = smri_run_statistics(run, u, SHIFT),
        .eps = SMRI_BN_EPS,
        .relu = op->relu,
        .mask = at(run, op->mask),
        .ds = at(run, op->ds),
    };
    norm->parts =
        (struct smri_batchnorm2d_parts){at(run, op->out), &norm->from, &norm->shape, op->part_rows, at(run, op->scratch)};
}

typedef void (*first_pass)(void *parts, size_t first, size_t rows, size_t channel, size_t channels);

static first_pass first_pass_of(const struct smri_op *norm) {
    return norm->kind == SMRI_OP_STATISTICS ? smri_batchnorm2d_moments_part : smri_batchnorm2d_sum_part;
}

struct part_job {
    first_pass pass;
    struct smri_batchnorm2d_parts *parts;
};

static void run_part(void *context, size_t index, size_t worker) {
    const struct part_job *job = context;
    const struct smri_batchnorm2d *shape = job->parts->shape;
    const size_t first = index * job->parts->rows, end = smri_chunk_end(shape->groups * shape->rows, job->parts->rows, index);
    job->pass(job->parts, first, end - first, 0, shape->C);
}

/* The first pass of a norm where no convolution has done it, cut as that would have done. */
static void run_first_pass(const struct smri_run *run, const struct smri_op *op, struct norm *norm) {
    if (op->part_rows == 0 || op->is_reduced) return;
    struct part_job job = {first_pass_of(op), &norm->parts};
    smri_pool_run(run->threads, smri_chunk_count(norm->shape.groups * norm->shape.rows, op->part_rows), run_part, &job);
}

static void run_statistics(const struct smri_run *run, const struct smri_op *op) {
    struct norm norm;
    norm_of(&norm, run, op);
    run_first_pass(run, op, &norm);
    const size_t u = (size_t)op->unit;
    float *mean = smri_run_statistics(run, u, MEAN), *var = smri_run_statistics(run, u, VAR);
    smri_batchnorm2d_statistics(mean, var, norm.from.x, &norm.shape, op->part_rows, norm.parts.workspace, run->threads);
    smri_batchnorm2d_fold(smri_run_statistics(run, u, SCALE), smri_run_statistics(run, u, SHIFT), norm.from.gamma,
                          run->network->weights + run->network->conv_bns[u].beta, mean, var, SMRI_BN_EPS, &norm.shape);
}

static struct smri_scale_shift_add_relu scale_shift_of(const struct smri_run *run, const struct smri_op *op) {
    const size_t u = (size_t)op->unit;
    struct smri_scale_shift_add_relu terms = {.x = read_at(run, op->x),
                                              .residual = read_at(run, op->residual),
                                              .scale = smri_run_statistics(run, u, SCALE),
                                              .shift = smri_run_statistics(run, u, SHIFT),
                                              .relu = op->relu,
                                              .mask = at(run, op->mask)};
    if (op->residual_unit != SMRI_NO_UNIT) {
        terms.residual_scale = smri_run_statistics(run, (size_t)op->residual_unit, SCALE);
        terms.residual_shift = smri_run_statistics(run, (size_t)op->residual_unit, SHIFT);
    }
    return terms;
}

static void run_scale_shift(const struct smri_run *run, const struct smri_op *op) {
    if (op->is_produced) return;
    const struct smri_batchnorm2d shape = smri_op_norm(run->program, run->network, op);
    const struct smri_scale_shift_add_relu terms = scale_shift_of(run, op);
    smri_scale_shift_add_relu(at(run, op->out), &terms, &shape, run->threads);
}

static void run_norm_backward(const struct smri_run *run, const struct smri_op *op) {
    struct norm norm;
    norm_of(&norm, run, op);
    run_first_pass(run, op, &norm);
    const struct smri_conv_bn *conv_bn = &run->network->conv_bns[op->unit];
    void *dx = op->is_produced ? NULL : norm.parts.dx, *scratch = norm.parts.workspace;
    if (run->program->config.kind == SMRI_PLAN_EXPLAIN)
        smri_batchnorm2d_backward_fixed(dx, NULL, NULL, &norm.from, &norm.shape, scratch, run->threads);
    else
        smri_batchnorm2d_backward(dx, run->gradients + conv_bn->gamma, run->gradients + conv_bn->beta, &norm.from,
                                  &norm.shape, op->part_rows, scratch, run->threads);
}

/* What a convolution does for its neighbours; must stay where it is while it is used. */
struct fused {
    struct smri_conv2d_fusion fusion;
    struct norm producer, reduced;
    struct smri_scale_shift_add_relu terms;
    struct smri_scale_shift_call map;
};

static void make_source(struct fused *fused, const struct smri_run *run, const struct smri_op *producer) {
    struct smri_conv2d_fusion *fusion = &fused->fusion;
    norm_of(&fused->producer, run, producer);
    if (producer->kind == SMRI_OP_NORM_BACKWARD) {
        const struct smri_batchnorm2d_gradient *from = &fused->producer.from;
        fusion->produce_src = smri_batchnorm2d_make_dx, fusion->producer = &fused->producer.parts;
        fusion->producer_reads[0] = from->ds != NULL ? from->ds : from->dy, fusion->producer_reads[1] = from->x;
    } else {
        fused->terms = scale_shift_of(run, producer);
        fused->map = (struct smri_scale_shift_call){at(run, producer->out), &fused->terms, &fused->producer.shape};
        fusion->produce_src = smri_scale_shift_produce, fusion->producer = &fused->map;
        fusion->producer_reads[0] = fused->terms.x, fusion->producer_reads[1] = fused->terms.residual;
    }
}

/* The fusion of a convolution, or NULL. */
static const struct smri_conv2d_fusion *fusion_of(struct fused *fused, const struct smri_run *run, const struct smri_op *op) {
    const struct smri_op *ops = run->program->ops;
    struct smri_conv2d_fusion *fusion = &fused->fusion;
    *fusion = (struct smri_conv2d_fusion){0};
    if (op->producer != SMRI_NO_OP) make_source(fused, run, &ops[op->producer]);
    if (op->reduces != SMRI_NO_OP) {
        norm_of(&fused->reduced, run, &ops[op->reduces]);
        fusion->consume_dst = first_pass_of(&ops[op->reduces]), fusion->consumer = &fused->reduced.parts;
        if (op->kind == SMRI_OP_CONV_DATA) fusion->consumer_reads = fused->reduced.from.x;
    }
    return op->producer != SMRI_NO_OP || op->reduces != SMRI_NO_OP ? fusion : NULL;
}

static void run_conv_data(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv2d shape = conv_of(run, op);
    struct fused fused;
    struct smri_conv2d_call call = call_of(run, op, &shape);
    call.accumulate = op->accumulate;
    call.fusion = fusion_of(&fused, run, op);
    smri_conv2d_backward_data(&call);
}

static void run_conv(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv2d shape = conv_of(run, op);
    struct fused fused;
    struct smri_conv2d_call call = call_of(run, op, &shape);
    call.fusion = fusion_of(&fused, run, op);
    smri_conv2d_forward(&call);
}

/* Forward with the batch norm of the running statistics. */
static void run_conv_normalised(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv2d shape = conv_of(run, op);
    const size_t u = (size_t)op->unit;
    const struct smri_conv2d_epilogue epilogue = {smri_run_statistics(run, u, SCALE), smri_run_statistics(run, u, SHIFT),
                                                  op->accumulate, op->relu};
    struct smri_conv2d_call call = call_of(run, op, &shape);
    call.epilogue = &epilogue;
    smri_conv2d_forward(&call);
}

static void run_conv_weights(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv2d shape = conv_of(run, op);
    struct smri_conv2d_call call = call_of(run, op, &shape);
    call.out = run->gradients + run->network->conv_bns[op->unit].weight;
    smri_conv2d_backward_weights_begin(&call);
}

static void run_linear(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_dense *dense = &run->network->dense[op->unit];
    const struct smri_linear shape = {op->n, dense->in, dense->out};
    const float *w = run->network->weights + dense->weight, *b = run->network->weights + dense->bias;
    float *dw = run->gradients != NULL ? run->gradients + dense->weight : NULL;
    float *db = run->gradients != NULL ? run->gradients + dense->bias : NULL;
    if (op->kind == SMRI_OP_LINEAR)
        smri_linear_forward(at(run, op->out), read_at(run, op->x), w, b, &shape, at(run, op->scratch), run->threads);
    else
        smri_linear_backward(at(run, op->out), dw, db, read_at(run, op->dy), read_at(run, op->x), w, &shape,
                             at(run, op->scratch), run->threads);
}

static void run_dropout(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_dense *dense = &run->network->dense[op->unit];
    const struct smri_masks *masks = &run->masks;
    const struct smri_dropout dropout = {dense->dropout, masks->seed, masks->step, (uint32_t)op->unit, masks->first_row};
    smri_dropout_apply(at(run, op->out), read_at(run, op->x), &dropout, op->n, dense->in, run->threads);
}

static void run_op(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_network *network = run->network;
    const struct smri_maxpool2d maxpool = maxpool_of(run, op);
    const size_t pixels = network->side * network->side, channels = network->channels, numbers = op->n * op->numbers;
    const enum smri_precision precision = run->program->config.precision;
    const void *x = read_at(run, op->x), *dy = read_at(run, op->dy);
    void *out = at(run, op->out);
    smri_pool *pool = run->threads;
    switch (op->kind) {
    case SMRI_OP_NARROW: smri_narrow(out, x, numbers, pool); break;
    case SMRI_OP_WIDEN: smri_widen(out, x, numbers, pool); break;
    case SMRI_OP_CONV: run_conv(run, op); break;
    case SMRI_OP_CONV_NORMALISED: run_conv_normalised(run, op); break;
    case SMRI_OP_CONV_WEIGHTS: run_conv_weights(run, op); break;
    case SMRI_OP_CONV_DATA: run_conv_data(run, op); break;
    case SMRI_OP_STATISTICS: run_statistics(run, op); break;
    case SMRI_OP_SCALE_SHIFT_ADD_RELU: run_scale_shift(run, op); break;
    case SMRI_OP_NORM_BACKWARD: run_norm_backward(run, op); break;
    case SMRI_OP_MAXPOOL: smri_maxpool2d_forward(out, at(run, op->winners), x, &maxpool, pool); break;
    case SMRI_OP_MAXPOOL_BACKWARD: smri_maxpool2d_backward(out, dy, at(run, op->winners), &maxpool, pool); break;
    case SMRI_OP_AVGPOOL: smri_avgpool_forward(out, x, op->n, pixels, channels, precision, pool); break;
    case SMRI_OP_AVGPOOL_BACKWARD: smri_avgpool_backward(out, dy, op->n, pixels, channels, precision, pool); break;
    case SMRI_OP_LINEAR:
    case SMRI_OP_LINEAR_BACKWARD: run_linear(run, op); break;
    case SMRI_OP_DROPOUT: run_dropout(run, op); break;
    case SMRI_OP_RELU: smri_relu_forward(out, x, numbers, pool); break;
    case SMRI_OP_RELU_BACKWARD: smri_relu_backward(out, dy, x, numbers, pool); break;
    case SMRI_OP_TAP:
    case SMRI_OP_KINDS: break;
    }
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* An operation begins when all but the one in front of it are done, and that one too unless it says otherwise. */
static smri_status run_ops(const struct smri_run *run, short first, short end, struct smri_poll poll) {
    double before = now_s();
    unsigned begun = smri_pool_begun(run->threads);
    for (short i = first; i < end; i++) {
        if (poll.ask != NULL && poll.ask(poll.context) != 0) {
            smri_pool_finish(run->threads, begun);
            return smri_fail(SMRI_INTERRUPTED, "interrupted");
        }
        const struct smri_op *op = &run->program->ops[i];
        const unsigned in_front = begun;
        run_op(run, op);
        begun = smri_pool_begun(run->threads);
        const bool runs_on = op->overlaps && i + 1 < end;
        smri_pool_finish(run->threads, runs_on ? in_front : begun);
        *run->n_done = runs_on ? i : (short)(i + 1);
        const double after = now_s();
        run->seconds[i] += after - before;
        before = after;
    }
    return SMRI_OK;
}

/* The first stage, a few images at a time. */
static smri_status run_prefix(const struct smri_run *run, struct smri_poll poll) {
    const struct smri_conv2d *stem = &run->network->conv_bns[0].conv;
    struct smri_run part = *run;
    smri_status status = SMRI_OK;
    for (size_t i = 0; i < 2; i++) {
        const struct smri_segment *segment = &run->program->prefix[i];
        for (size_t count = 0; count < segment->count && status == SMRI_OK; count++) {
            status = run_ops(&part, segment->begin, segment->end, poll);
            part.first += segment->images;
            part.images += segment->images * stem->H * stem->W * stem->C;
        }
    }
    return status;
}

smri_status smri_program_run(const struct smri_run *run, short first, short end, struct smri_poll poll) {
    for (short i = first; i < end; i++) run->seconds[i] = 0.0;
    const short prefix = run->program->n_prefix;
    if (first >= prefix) return run_ops(run, first, end, poll);
    const smri_status status = run_prefix(run, poll);
    return status == SMRI_OK ? run_ops(run, prefix, end, poll) : status;
}

void smri_program_fold_running(const struct smri_run *run) {
    const struct smri_network *network = run->network;
    for (size_t u = 0; u < network->n_conv_bns; u++) {
        const struct smri_conv_bn *conv_bn = &network->conv_bns[u];
        const struct smri_batchnorm2d shape = {1, 1, conv_bn->conv.K, run->program->config.precision};
        smri_batchnorm2d_fold(smri_run_statistics(run, u, SCALE), smri_run_statistics(run, u, SHIFT),
                              network->weights + conv_bn->gamma, network->weights + conv_bn->beta,
                              network->buffers + conv_bn->mean, network->buffers + conv_bn->var, SMRI_BN_EPS, &shape);
    }
}
