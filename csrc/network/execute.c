/* Runs a program: one call of a layer for each operation, a look at the poll between two. */
#define _POSIX_C_SOURCE 200809L
#include "program.h"

#include <time.h>

#include "smri/activation.h"
#include "smri/batchnorm2d.h"
#include "smri/convert.h"
#include "smri/linear.h"
#include "smri/strided_scatter.h"

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

static struct smri_conv2d conv_shape(const struct smri_run *run, const struct smri_conv_bn *conv_bn) {
    struct smri_conv2d shape = conv_bn->conv;
    shape.N = run->n;
    shape.precision = run->precision;
    return shape;
}

/* A convolution's call, but for what goes along with it. */
static struct smri_conv2d_call call_of(const struct smri_run *run, const struct smri_op *op,
                                       const struct smri_conv2d *shape) {
    const struct smri_workspace workspace = {at(run, op->scratch), at(run, run->program->per_thread),
                                             run->program->per_thread_stride};
    return (struct smri_conv2d_call){.shape = shape,
                                     .out = at(run, op->out),
                                     .x = read_at(run, op->x),
                                     .dy = read_at(run, op->dy),
                                     .w = run->network->weights + run->network->conv_bns[op->conv_bn].weight,
                                     .workspace = workspace,
                                     .pool = run->threads};
}

static struct smri_batchnorm2d norm_shape(const struct smri_run *run, const struct smri_conv_bn *conv_bn) {
    return (struct smri_batchnorm2d){run->groups, run->n / run->groups * conv_bn->P * conv_bn->Q, conv_bn->conv.K,
                                     run->precision};
}

static struct smri_maxpool2d maxpool_shape(const struct smri_run *run) {
    struct smri_maxpool2d shape = run->network->maxpool;
    shape.N = run->n;
    shape.precision = run->precision;
    return shape;
}

/* The rows of the parts in which a conv_bn's convolution works, if it does. */
static size_t part_rows(const struct smri_run *run, enum smri_conv2d_direction direction, short conv_bn) {
    const struct smri_conv2d shape = conv_shape(run, &run->network->conv_bns[conv_bn]);
    return smri_conv2d_part_rows(SMRI_CONV2D_AUTO, direction, &shape);
}

/* What a CONV_DATA computes the gradient of. */
static struct smri_conv2d data_shape(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv2d shape = conv_shape(run, &run->network->conv_bns[op->conv_bn]);
    return op->compact_pointwise ? smri_conv2d_compact_pointwise(&shape) : shape;
}

static void run_statistics(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv_bn *conv_bn = &run->network->conv_bns[op->conv_bn];
    const size_t u = (size_t)op->conv_bn;
    const struct smri_batchnorm2d shape = norm_shape(run, conv_bn);
    float *mean = smri_run_statistics(run, u, MEAN), *var = smri_run_statistics(run, u, VAR);
    const float *weights = run->network->weights;
    const size_t rows = op->reduced_by != 0 ? part_rows(run, SMRI_CONV2D_FORWARD, op->reduced_by) : 0;
    smri_batchnorm2d_statistics(mean, var, read_at(run, op->x), &shape, rows, at(run, rows > 0 ? op->sums : op->scratch),
                                run->threads);
    smri_batchnorm2d_fold(smri_run_statistics(run, u, SCALE), smri_run_statistics(run, u, SHIFT), weights + conv_bn->gamma,
                          weights + conv_bn->beta, mean, var, SMRI_BN_EPS, &shape);
}

/* Whether the convolution `op` makes its own source, which another operation has left to it. */
static bool makes_source(const struct smri_run *run, const struct smri_op *op) {
    if (op->fused_producer == 0) return false;
    if (op->kind == SMRI_OP_CONV) return part_rows(run, SMRI_CONV2D_FORWARD, op->conv_bn) > 0;
    const struct smri_conv2d shape = data_shape(run, op);
    return smri_conv2d_part_rows(SMRI_CONV2D_AUTO, SMRI_CONV2D_BACKWARD_DATA, &shape) > 0;
}

static bool leaves_out(const struct smri_run *run, const struct smri_op *op) {
    return op->fused_into != 0 && makes_source(run, &run->program->ops[op->fused_into]);
}

static struct smri_scale_shift_add_relu scale_shift_of(const struct smri_run *run, const struct smri_op *op) {
    const size_t u = (size_t)op->conv_bn;
    struct smri_scale_shift_add_relu terms = {.x = read_at(run, op->x), .residual = read_at(run, op->aux), .relu = op->relu};
    terms.mask = at(run, op->mask);
    terms.scale = smri_run_statistics(run, u, SCALE);
    terms.shift = smri_run_statistics(run, u, SHIFT);
    if (op->aux != SMRI_VALUE_NONE && op->aux_conv_bn != 0) {
        terms.residual_scale = smri_run_statistics(run, (size_t)op->aux_conv_bn, SCALE);
        terms.residual_shift = smri_run_statistics(run, (size_t)op->aux_conv_bn, SHIFT);
    }
    return terms;
}

static void run_scale_shift(const struct smri_run *run, const struct smri_op *op) {
    if (leaves_out(run, op)) return;
    const struct smri_batchnorm2d shape = norm_shape(run, &run->network->conv_bns[op->conv_bn]);
    const struct smri_scale_shift_add_relu terms = scale_shift_of(run, op);
    smri_scale_shift_add_relu(at(run, op->out), &terms, &shape, run->threads);
}

/* What the gradient of conv_bn u's norm is computed from, but for dy. */
static struct smri_batchnorm2d_gradient gradient_of(const struct smri_run *run, const struct smri_op *op, size_t u) {
    struct smri_batchnorm2d_gradient from = {.x = read_at(run, op->x), .eps = SMRI_BN_EPS, .relu = op->relu};
    from.gamma = run->network->weights + run->network->conv_bns[u].gamma;
    from.mean = smri_run_statistics(run, u, MEAN);
    from.var = smri_run_statistics(run, u, VAR);
    from.scale = smri_run_statistics(run, u, SCALE);
    from.shift = smri_run_statistics(run, u, SHIFT);
    from.mask = at(run, op->mask);
    from.ds = at(run, op->aux);
    return from;
}

static size_t sums_rows(const struct smri_run *run, const struct smri_op *op) {
    return op->reduced_by != 0 ? part_rows(run, SMRI_CONV2D_BACKWARD_DATA, op->reduced_by) : 0;
}

static void run_norm_backward(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv_bn *conv_bn = &run->network->conv_bns[op->conv_bn];
    const struct smri_batchnorm2d shape = norm_shape(run, conv_bn);
    struct smri_batchnorm2d_gradient from = gradient_of(run, op, (size_t)op->conv_bn);
    from.dy = read_at(run, op->dy);
    const size_t rows = sums_rows(run, op);
    void *dx = leaves_out(run, op) ? NULL : at(run, op->out), *scratch = at(run, rows > 0 ? op->sums : op->scratch);
    if (run->kind == SMRI_PLAN_EXPLAIN)
        smri_batchnorm2d_backward_fixed(dx, NULL, NULL, &from, &shape, scratch, run->threads);
    else
        smri_batchnorm2d_backward(dx, run->gradients + conv_bn->gamma, run->gradients + conv_bn->beta, &from, &shape,
                                  rows, scratch,
                                  run->threads);
}

/* A norm's gradient, and what a convolution needs to do one of its passes part by part. */
struct norm_parts {
    struct smri_batchnorm2d shape;
    struct smri_batchnorm2d_gradient from;
    struct smri_batchnorm2d_parts parts;
};

static void norm_parts_of(struct norm_parts *norm, const struct smri_run *run, const struct smri_op *op, short conv_bn,
                          const void *dy, size_t rows, void *workspace) {
    norm->shape = norm_shape(run, &run->network->conv_bns[conv_bn]);
    norm->from = gradient_of(run, op, (size_t)conv_bn);
    norm->from.dy = dy;
    norm->parts = (struct smri_batchnorm2d_parts){NULL, &norm->from, &norm->shape, rows, workspace};
}

/* Backward-data. On the way, where the op names them and there are parts: dy from the norm in front of it (as seen
 * from here), what it is added to from a shortcut's, and the sums of the norm behind it. */
static void run_conv_data(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv2d shape = data_shape(run, op);
    const size_t rows = smri_conv2d_part_rows(SMRI_CONV2D_AUTO, SMRI_CONV2D_BACKWARD_DATA, &shape);
    const struct smri_conv2d scatter_shape = conv_shape(run, &run->network->conv_bns[op->scatter_of]);
    struct smri_strided_scatter scatter = {at(run, op->out), read_at(run, op->scatter), &scatter_shape};
    struct smri_conv2d_fusion parts = {0};
    struct norm_parts in_front, behind;
    if (makes_source(run, op)) {
        const struct smri_op *norm = &run->program->ops[op->fused_producer];
        const size_t summed_rows = sums_rows(run, norm);
        norm_parts_of(&in_front, run, norm, norm->conv_bn, read_at(run, norm->dy), summed_rows,
                      at(run, summed_rows > 0 ? norm->sums : norm->scratch));
        in_front.parts.dx = at(run, op->dy);
        parts.produce_src = smri_batchnorm2d_make_dx, parts.producer = &in_front.parts;
        parts.producer_reads[0] = in_front.from.ds != NULL ? in_front.from.ds : in_front.from.dy;
        parts.producer_reads[1] = in_front.from.x;
    }
    if (op->scatter != SMRI_VALUE_NONE) {
        if (rows > 0) parts.init_dst = smri_strided_scatter_part, parts.init_ctx = &scatter;
        else smri_strided_scatter(&scatter, run->threads);
    }
    if (op->reduces_bn_of != 0 && rows > 0) {
        norm_parts_of(&behind, run, op, op->reduces_bn_of, at(run, op->out), rows, at(run, op->sums));
        parts.consume_dst = smri_batchnorm2d_sum_part, parts.consumer = &behind.parts;
        parts.consumer_reads = behind.from.x;
    }
    struct smri_conv2d_call call = call_of(run, op, &shape);
    call.accumulate = op->accumulate;
    if (parts.produce_src != NULL || parts.init_dst != NULL || parts.consume_dst != NULL) call.fusion = &parts;
    smri_conv2d_backward_data(&call);
}

/* Forward. On the way: x from the block's end in front of it, and the sums of its own statistics. */
static void run_conv_forward(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv_bn *conv_bn = &run->network->conv_bns[op->conv_bn];
    const struct smri_conv2d shape = conv_shape(run, conv_bn);
    const struct smri_conv2d_prologue prologue = {smri_run_statistics(run, (size_t)op->x_conv_bn, SCALE),
                                                  smri_run_statistics(run, (size_t)op->x_conv_bn, SHIFT), run->groups};
    struct smri_conv2d_fusion parts = {0};
    struct smri_batchnorm2d norm;
    struct smri_scale_shift_add_relu terms;
    struct smri_scale_shift_call map = {at(run, op->x), &terms, &norm};
    if (makes_source(run, op)) {
        const struct smri_op *scale_shift = &run->program->ops[op->fused_producer];
        norm = norm_shape(run, &run->network->conv_bns[scale_shift->conv_bn]);
        terms = scale_shift_of(run, scale_shift);
        parts.produce_src = smri_scale_shift_produce, parts.producer = &map;
        parts.producer_reads[0] = terms.x, parts.producer_reads[1] = terms.residual;
    }
    const struct smri_batchnorm2d behind = norm_shape(run, conv_bn);
    const struct smri_batchnorm2d_gradient from = {.x = at(run, op->out)};
    struct smri_batchnorm2d_parts sums = {NULL, &from, &behind, 0, at(run, op->sums)};
    if (op->sums != SMRI_VALUE_NONE) sums.rows = part_rows(run, SMRI_CONV2D_FORWARD, op->conv_bn);
    if (sums.rows > 0) parts.consume_dst = smri_batchnorm2d_moments_part, parts.consumer = &sums;
    struct smri_conv2d_call call = call_of(run, op, &shape);
    if (parts.produce_src != NULL || parts.consume_dst != NULL) call.fusion = &parts;
    if (op->x_conv_bn != 0) call.prologue = &prologue;
    smri_conv2d_forward(&call);
}

/* Forward with the batch norm of the running statistics. */
static void run_conv_normalised(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv2d shape = conv_shape(run, &run->network->conv_bns[op->conv_bn]);
    const size_t u = (size_t)op->conv_bn;
    const struct smri_conv2d_epilogue epilogue = {smri_run_statistics(run, u, SCALE), smri_run_statistics(run, u, SHIFT),
                                                  op->accumulate, op->relu};
    struct smri_conv2d_call call = call_of(run, op, &shape);
    call.epilogue = &epilogue;
    smri_conv2d_forward(&call);
}

static void run_conv_weights(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_conv_bn *conv_bn = &run->network->conv_bns[op->conv_bn];
    const struct smri_conv2d shape = conv_shape(run, conv_bn);
    struct smri_conv2d_call call = call_of(run, op, &shape);
    call.out = run->gradients + conv_bn->weight;
    smri_conv2d_backward_weights_begin(&call);
}

static void run_linear(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_dense *dense = &run->network->dense[op->conv_bn];
    const struct smri_linear shape = {run->n, dense->in, dense->out};
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
    const struct smri_dense *dense = &run->network->dense[op->conv_bn];
    const struct smri_masks *masks = &run->masks;
    const struct smri_dropout dropout = {dense->dropout, masks->seed, masks->step, (uint32_t)op->conv_bn, masks->first_row};
    smri_dropout_apply(at(run, op->out), read_at(run, op->x), &dropout, run->n, dense->in, run->threads);
}

static void run_op(const struct smri_run *run, const struct smri_op *op) {
    const struct smri_network *network = run->network;
    const struct smri_maxpool2d maxpool = maxpool_shape(run);
    const size_t pixels = network->side * network->side;
    void *out = at(run, op->out);
    switch (op->kind) {
    case SMRI_OP_NARROW: smri_narrow(out, read_at(run, op->x), run->n * op->numbers, run->threads); break;
    case SMRI_OP_WIDEN: smri_widen(out, read_at(run, op->x), run->n * op->numbers, run->threads); break;
    case SMRI_OP_CONV: run_conv_forward(run, op); break;
    case SMRI_OP_CONV_NORMALISED: run_conv_normalised(run, op); break;
    case SMRI_OP_CONV_WEIGHTS: run_conv_weights(run, op); break;
    case SMRI_OP_CONV_DATA: run_conv_data(run, op); break;
    case SMRI_OP_STATISTICS: run_statistics(run, op); break;
    case SMRI_OP_SCALE_SHIFT_ADD_RELU: run_scale_shift(run, op); break;
    case SMRI_OP_NORM_BACKWARD: run_norm_backward(run, op); break;
    case SMRI_OP_MAXPOOL: smri_maxpool2d_forward(out, at(run, op->aux), read_at(run, op->x), &maxpool, run->threads); break;
    case SMRI_OP_MAXPOOL_BACKWARD: smri_maxpool2d_backward(out, read_at(run, op->dy), at(run, op->aux), &maxpool,
                                                           run->threads); break;
    case SMRI_OP_AVGPOOL:
        smri_avgpool_forward(out, read_at(run, op->x), run->n, pixels, network->channels, run->precision, run->threads);
        break;
    case SMRI_OP_AVGPOOL_BACKWARD:
        smri_avgpool_backward(out, read_at(run, op->dy), run->n, pixels, network->channels, run->precision, run->threads);
        break;
    case SMRI_OP_LINEAR:
    case SMRI_OP_LINEAR_BACKWARD: run_linear(run, op); break;
    case SMRI_OP_DROPOUT: run_dropout(run, op); break;
    case SMRI_OP_RELU: smri_relu_forward(out, read_at(run, op->x), run->n * op->numbers, run->threads); break;
    case SMRI_OP_RELU_BACKWARD:
        smri_relu_backward(out, read_at(run, op->dy), read_at(run, op->x), run->n * op->numbers, run->threads);
        break;
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
        smri_pool_finish(run->threads, op->overlaps && i + 1 < end ? in_front : begun);
        const double after = now_s();
        run->seconds[i] += after - before;
        before = after;
    }
    return SMRI_OK;
}

/* The prefix operations, a few images at a time. */
static smri_status run_prefix(const struct smri_run *run, short end, struct smri_poll poll) {
    const struct smri_conv2d *stem = &run->network->conv_bns[0].conv;
    const size_t images = run->program->prefix_images;
    smri_status status = SMRI_OK;
    for (size_t first = 0; first < run->n && status == SMRI_OK; first += images) {
        struct smri_run part = *run;
        part.first = first;
        part.n = run->n - first < images ? run->n - first : images;
        part.images = run->images + first * stem->H * stem->W * stem->C;
        status = run_ops(&part, 0, end, poll);
    }
    return status;
}

smri_status smri_program_run(const struct smri_run *run, short first, short end, struct smri_poll poll) {
    for (short i = first; i < end; i++) run->seconds[i] = 0.0;
    const short prefix = run->program->n_prefix;
    if (first >= prefix) return run_ops(run, first, end, poll);
    const smri_status status = run_prefix(run, prefix, poll);
    return status == SMRI_OK ? run_ops(run, prefix, end, poll) : status;
}

void smri_program_fold_running(const struct smri_run *run) {
    const struct smri_network *network = run->network;
    for (size_t u = 0; u < network->n_conv_bns; u++) {
        const struct smri_conv_bn *conv_bn = &network->conv_bns[u];
        const struct smri_batchnorm2d shape = norm_shape(run, conv_bn);
        smri_batchnorm2d_fold(smri_run_statistics(run, u, SCALE), smri_run_statistics(run, u, SHIFT),
                              network->weights + conv_bn->gamma, network->weights + conv_bn->beta,
                                  network->buffers + conv_bn->mean,
                              network->buffers + conv_bn->var, SMRI_BN_EPS, &shape);
    }
}
