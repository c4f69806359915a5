/* Writes a pass operation by operation, as a textbook's ResNet reads: forward, then the reverse walk. What may be done on the
 * way of another operation is the business of fuse.c.
 *
 * A training program keeps the convolutions' outputs z, the blocks' outputs, and a bit for each of their numbers: whether the
 * block's ReLU let it through. An inference program knows scale and shift beforehand, so its convolutions normalise, add the
 * residual where it lies, and apply ReLU themselves; it keeps nothing, and takes the first stage a few images at a time. So do
 * the frozen stages of a training program, whose backward pass ends behind them.
 *
 * In a bf16 program the images are narrowed once, and activations and gradients of the trunk are bf16; the head, from the
 * features on, is fp32. Average pooling reads one and writes the other, flattened features are converted. */
#include <assert.h>

#include "program.h"
#include "smri/batchnorm2d.h"
#include "smri/memory.h"

#define PREFIX_BYTES ((size_t)4 << 20)

struct builder {
    struct smri_program *program;
    const struct smri_network *network;
    const struct smri_plan_config *config;
    size_t n;                        /* images that an operation sees: the batch, or a part of it */
    smri_status status;              /* of the first size that overflowed */
    short x[SMRI_CONV_BNS_MAX];      /* the convolutions' inputs */
    short z[SMRI_CONV_BNS_MAX];      /* and outputs */
    short mask[SMRI_BLOCKS_MAX];     /* where the blocks' ReLUs let through */
    short stage[SMRI_STAGE_LAYER4 + 1]; /* the stages' outputs */
    short winners;                   /* the places of the stem's maxima */
    short dense_in[SMRI_HEAD_MAX], dense_out[SMRI_HEAD_MAX];
};

static bool trains(const struct builder *b) { return b->config->kind == SMRI_PLAN_TRAIN; }
static bool infers(const struct builder *b) { return b->config->kind == SMRI_PLAN_INFER; }

/* Whether a stage normalises with the running statistics and keeps nothing for a backward pass. */
static bool is_fixed(const struct builder *b, enum smri_stage stage) {
    return infers(b) || (size_t)stage < b->config->frozen_stages;
}

static short new_value(struct builder *b, size_t numbers, size_t bytes_each) {
    return smri_program_new_value(b->program, &b->status, b->n, numbers, bytes_each);
}

static short new_floats(struct builder *b, size_t numbers) { return new_value(b, numbers, sizeof(float)); }

static short new_activations(struct builder *b, size_t numbers) {
    return new_value(b, numbers, smri_precision_bytes(b->config->precision));
}

static void emit(struct builder *b, struct smri_op op) {
    assert(b->program->n_ops < SMRI_OPS_MAX);
    op.n = b->n;
    op.producer = op.reduces = SMRI_NO_OP;
    if (op.residual == SMRI_VALUE_NONE) op.residual_unit = SMRI_NO_UNIT;
    b->program->ops[b->program->n_ops++] = op;
}

static const struct smri_conv_bn *conv_bn_of(const struct builder *b, size_t unit) { return &b->network->conv_bns[unit]; }
static size_t outputs_of(const struct builder *b, size_t unit) {
    const struct smri_conv_bn *conv_bn = conv_bn_of(b, unit);
    return conv_bn->P * conv_bn->Q * conv_bn->conv.K;
}
static size_t inputs_of(const struct builder *b, size_t unit) {
    const struct smri_conv2d *conv = &conv_bn_of(b, unit)->conv;
    return conv->H * conv->W * conv->C;
}

/* x for the trunk, from fp32. */
static short narrowed(struct builder *b, size_t numbers, short x) {
    if (b->config->precision == SMRI_FP32) return x;
    const short out = new_activations(b, numbers);
    emit(b, (struct smri_op){.kind = SMRI_OP_NARROW, .unit = SMRI_NO_UNIT, .numbers = numbers, .out = out, .x = x});
    return out;
}

/* x of the trunk, as fp32. */
static short widened(struct builder *b, size_t numbers, short x) {
    if (b->config->precision == SMRI_FP32) return x;
    const short out = new_floats(b, numbers);
    emit(b, (struct smri_op){.kind = SMRI_OP_WIDEN, .unit = SMRI_NO_UNIT, .numbers = numbers, .out = out, .x = x});
    return out;
}

/* ---- forward ---- */

static void check_conv(struct builder *b, size_t unit) {
    struct smri_conv2d shape = conv_bn_of(b, unit)->conv;
    shape.N = b->n;
    if (b->status == SMRI_OK) b->status = smri_conv2d_check(&shape);
}

/* z = conv(x), and its statistics where the batch decides them. */
static short convolve(struct builder *b, size_t unit, short x) {
    check_conv(b, unit);
    const short z = b->z[unit] = new_activations(b, outputs_of(b, unit));
    b->x[unit] = x;
    emit(b, (struct smri_op){.kind = SMRI_OP_CONV, .unit = (short)unit, .out = z, .x = x});
    if (trains(b)) emit(b, (struct smri_op){.kind = SMRI_OP_STATISTICS, .unit = (short)unit, .x = z});
    return z;
}

/* relu(scale * conv(x) + shift) */
static short conv_bn_relu(struct builder *b, size_t unit, short x) {
    const short z = convolve(b, unit, x), out = new_activations(b, outputs_of(b, unit));
    emit(b, (struct smri_op){.kind = SMRI_OP_SCALE_SHIFT_ADD_RELU, .unit = (short)unit, .relu = true, .out = out, .x = z});
    return out;
}

/* (relu of) scale * conv(x) + shift with the running statistics: a new value, or added to `sum`. */
static short conv_bn_running(struct builder *b, size_t unit, short x, short sum, bool relu) {
    check_conv(b, unit);
    const short out = sum != SMRI_VALUE_NONE ? sum : new_activations(b, outputs_of(b, unit));
    emit(b, (struct smri_op){.kind = SMRI_OP_CONV_NORMALISED, .unit = (short)unit, .relu = relu,
                             .accumulate = sum != SMRI_VALUE_NONE, .out = out, .x = x});
    return out;
}

static short forward_stem(struct builder *b) {
    const struct smri_maxpool2d *pool = &b->network->maxpool;
    const short images = narrowed(b, inputs_of(b, 0), SMRI_VALUE_IMAGES);
    const bool fixed = is_fixed(b, SMRI_STAGE_STEM);
    const short x = fixed ? conv_bn_running(b, 0, images, SMRI_VALUE_NONE, true) : conv_bn_relu(b, 0, images);
    const size_t numbers = smri_maxpool2d_out_rows(pool) * smri_maxpool2d_out_cols(pool) * pool->C;
    const short pooled = new_activations(b, numbers);
    if (!fixed) b->winners = new_value(b, numbers, 1);
    emit(b, (struct smri_op){.kind = SMRI_OP_MAXPOOL, .unit = SMRI_NO_UNIT, .out = pooled, .x = x, .winners = b->winners});
    return pooled;
}

static short infer_block(struct builder *b, const struct smri_block *block, short in) {
    const size_t last = block->first + block->n_conv_bns - 1, shortcut = last + 1;
    short x = in;
    for (size_t unit = block->first; unit < last; unit++) x = conv_bn_running(b, unit, x, SMRI_VALUE_NONE, true);
    const short residual = block->projects ? conv_bn_running(b, shortcut, in, SMRI_VALUE_NONE, false) : in;
    return conv_bn_running(b, last, x, residual, true);
}

static short forward_block(struct builder *b, size_t index, short in) {
    const struct smri_block *block = &b->network->blocks[index];
    if (is_fixed(b, block->stage)) return infer_block(b, block, in);
    const size_t last = block->first + block->n_conv_bns - 1, shortcut = last + 1;
    short x = in;
    for (size_t unit = block->first; unit < last; unit++) x = conv_bn_relu(b, unit, x);
    const short z = convolve(b, last, x), residual = block->projects ? convolve(b, shortcut, in) : in;
    const short out = new_activations(b, outputs_of(b, last));
    const struct smri_conv_bn *conv_bn = conv_bn_of(b, last);
    b->mask[index] = new_value(b, conv_bn->P * conv_bn->Q * smri_mask_bytes(conv_bn->conv.K), 1);
    emit(b, (struct smri_op){.kind = SMRI_OP_SCALE_SHIFT_ADD_RELU, .unit = (short)last, .relu = true, .out = out, .x = z,
                             .residual = residual, .residual_unit = block->projects ? (short)shortcut : SMRI_NO_UNIT,
                             .mask = b->mask[index]});
    return out;
}

static short forward_head(struct builder *b, short x) {
    for (size_t i = 0; i < b->network->config.n_head; i++) {
        const struct smri_dense *dense = &b->network->dense[i];
        if (trains(b) && dense->dropout > 0.0f) {
            const short kept = new_floats(b, dense->in);
            emit(b, (struct smri_op){.kind = SMRI_OP_DROPOUT, .unit = (short)i, .out = kept, .x = x});
            x = kept;
        }
        const short y = new_floats(b, dense->out);
        emit(b, (struct smri_op){.kind = SMRI_OP_LINEAR, .unit = (short)i, .out = y, .x = x});
        if (dense->relu)
            emit(b, (struct smri_op){.kind = SMRI_OP_RELU, .unit = (short)i, .numbers = dense->out, .out = y, .x = y});
        b->dense_in[i] = x;
        b->dense_out[i] = x = y;
    }
    return x;
}

/* How many images of the first stage a pass takes at a time where that is fixed: of ResNet-50 at 128 x 128 in fp32 four,
 * 4 MiB for each of a block's tensors, of which three live at once. Later stages are smaller and have more weights to read. */
static size_t prefix_images(const struct builder *b) {
    size_t most = outputs_of(b, 0);
    for (size_t i = 0; i < b->network->n_blocks && b->network->blocks[i].stage == SMRI_STAGE_LAYER1; i++) {
        const struct smri_block *block = &b->network->blocks[i];
        const size_t numbers = outputs_of(b, block->first + block->n_conv_bns - 1);
        if (numbers > most) most = numbers;
    }
    const size_t images = PREFIX_BYTES / (most * smri_precision_bytes(b->config->precision));
    return images == 0 ? 1 : images;
}

/* The stem and the blocks of layer1; *next is the first block behind them. */
static short forward_first_stage(struct builder *b, size_t *next) {
    short x = b->stage[SMRI_STAGE_STEM] = forward_stem(b);
    for (*next = 0; *next < b->network->n_blocks && b->network->blocks[*next].stage == SMRI_STAGE_LAYER1; ++*next)
        x = b->stage[SMRI_STAGE_LAYER1] = forward_block(b, *next, x);
    return x;
}

/* The first stage over all of the batch, or in parts: as many whole ones as there are, then the rest. */
static short forward_prefix(struct builder *b, size_t *next) {
    struct smri_program *program = b->program;
    const size_t batch = b->config->batch, images = prefix_images(b);
    if (!is_fixed(b, SMRI_STAGE_LAYER1) || images >= batch) return forward_first_stage(b, next);
    const size_t counts[2] = {batch / images, batch % images > 0}, sizes[2] = {images, batch % images};
    for (size_t i = 0; i < 2 && counts[i] > 0; i++) {
        struct smri_segment *segment = &program->prefix[i];
        segment->begin = program->n_ops, segment->count = counts[i], segment->images = b->n = sizes[i];
        const short x = forward_first_stage(b, next);
        segment->end = program->n_prefix = program->n_ops;
        b->n = batch;
        if (i == 0) {
            const size_t numbers = inputs_of(b, b->network->blocks[*next].first);
            program->prefix_bytes = numbers * smri_precision_bytes(b->config->precision);
            program->prefix_out = new_activations(b, numbers);
        }
        for (short op = segment->begin; op < segment->end; op++) {
            if (program->ops[op].out == x) program->ops[op].out = program->prefix_out;
            if (program->ops[op].x == x) program->ops[op].x = program->prefix_out;
        }
    }
    return program->prefix_out;
}

static void build_forward(struct builder *b) {
    struct smri_program *program = b->program;
    const struct smri_network *network = b->network;
    size_t block;
    short x = forward_prefix(b, &block);
    for (; block < network->n_blocks; block++) x = b->stage[network->blocks[block].stage] = forward_block(b, block, x);
    if (network->config.features == SMRI_FEATURES_AVGPOOL) {
        const short mean = new_floats(b, network->channels);
        emit(b, (struct smri_op){.kind = SMRI_OP_AVGPOOL, .unit = SMRI_NO_UNIT, .out = mean, .x = x});
        x = mean;
    } else {
        x = widened(b, network->features, x);
    }
    program->features = x;
    program->output = forward_head(b, x);
    program->n_forward = program->n_ops;
}

/* ---- backward ---- */

static short backward_head(struct builder *b, short dy) {
    for (size_t i = b->network->config.n_head; i-- > 0;) {
        const struct smri_dense *dense = &b->network->dense[i];
        if (dense->relu) {
            const short masked = new_floats(b, dense->out);
            emit(b, (struct smri_op){.kind = SMRI_OP_RELU_BACKWARD, .unit = (short)i, .numbers = dense->out, .out = masked,
                                     .dy = dy, .x = b->dense_out[i]});
            dy = masked;
        }
        const short dx = new_floats(b, dense->in);
        emit(b, (struct smri_op){.kind = SMRI_OP_LINEAR_BACKWARD, .unit = (short)i, .out = dx, .dy = dy,
                                 .x = b->dense_in[i]});
        if (trains(b) && dense->dropout > 0.0f)
            emit(b, (struct smri_op){.kind = SMRI_OP_DROPOUT, .unit = (short)i, .out = dx, .x = dx});
        dy = dx;
    }
    return dy;
}

/* The gradient of the unit's z; `op` says from what. */
static short norm_backward(struct builder *b, size_t unit, struct smri_op op) {
    op.kind = SMRI_OP_NORM_BACKWARD, op.unit = (short)unit, op.x = b->z[unit];
    op.out = new_activations(b, outputs_of(b, unit));
    emit(b, op);
    return op.out;
}

/* The gradients of the unit's weights and of its input, which is a new value or added to `sum`. */
static void conv_weights(struct builder *b, size_t unit, short dz) {
    emit(b, (struct smri_op){.kind = SMRI_OP_CONV_WEIGHTS, .unit = (short)unit, .x = b->x[unit], .dy = dz});
}

static short conv_backward(struct builder *b, size_t unit, short dz, short sum) {
    const short dx = sum != SMRI_VALUE_NONE ? sum : new_activations(b, inputs_of(b, unit));
    emit(b, (struct smri_op){.kind = SMRI_OP_CONV_DATA, .unit = (short)unit, .accumulate = sum != SMRI_VALUE_NONE, .out = dx,
                             .dy = dz});
    if (trains(b)) conv_weights(b, unit, dz);
    return dx;
}

/* Whether what is in front of a block needs its gradient. */
static bool wants_input_gradient(const struct builder *b, size_t index) {
    return !is_fixed(b, index > 0 ? b->network->blocks[index - 1].stage : SMRI_STAGE_STEM);
}

/* From the gradient of the block's output to that of its input, or none where nobody wants it. ds, the gradient in front of
 * the block's ReLU, goes into both paths: the identity's share stays where it is and the main path's is added to it. */
static short backward_block(struct builder *b, size_t index, short dout) {
    const struct smri_block *block = &b->network->blocks[index];
    const size_t first = block->first, last = first + block->n_conv_bns - 1, shortcut = last + 1;
    const short ds = dout != SMRI_VALUE_DOUTPUT ? dout : new_activations(b, outputs_of(b, last));
    short dz = norm_backward(b, last, (struct smri_op){.dy = dout, .ds = ds, .mask = b->mask[index]});
    for (size_t unit = last; unit > first; unit--) {
        const short dx = conv_backward(b, unit, dz, SMRI_VALUE_NONE);
        dz = norm_backward(b, unit - 1, (struct smri_op){.relu = true, .dy = dx});
    }
    const bool goes_on = wants_input_gradient(b, index);
    short dx = ds;
    if (block->projects) {
        const short dz_shortcut = norm_backward(b, shortcut, (struct smri_op){.dy = ds});
        if (goes_on) dx = conv_backward(b, shortcut, dz_shortcut, SMRI_VALUE_NONE);
        else conv_weights(b, shortcut, dz_shortcut);
    }
    if (goes_on) return conv_backward(b, first, dz, dx);
    conv_weights(b, first, dz);
    return SMRI_VALUE_NONE;
}

static void tap(struct builder *b, enum smri_stage stage, short gradients) {
    if (trains(b)) return;
    emit(b, (struct smri_op){.kind = SMRI_OP_TAP, .unit = (short)stage, .x = b->stage[stage], .dy = gradients});
}

static void build_backward(struct builder *b) {
    const struct smri_network *network = b->network;
    short d = backward_head(b, SMRI_VALUE_DOUTPUT);
    if (is_fixed(b, SMRI_STAGE_LAYER4)) return;
    if (network->config.features == SMRI_FEATURES_AVGPOOL) {
        const short dx = new_activations(b, network->channels * network->side * network->side);
        emit(b, (struct smri_op){.kind = SMRI_OP_AVGPOOL_BACKWARD, .unit = SMRI_NO_UNIT, .out = dx, .dy = d});
        d = dx;
    } else {
        d = narrowed(b, network->features, d);
    }
    enum smri_stage stage = SMRI_STAGE_LAYER4;
    tap(b, stage, d);
    for (size_t i = network->n_blocks; i-- > 0;) {
        if (is_fixed(b, network->blocks[i].stage)) return;
        if (network->blocks[i].stage != stage) tap(b, stage = network->blocks[i].stage, d);
        d = backward_block(b, i, d);
    }
    tap(b, SMRI_STAGE_STEM, d);
    if (!trains(b) || is_fixed(b, SMRI_STAGE_STEM)) return;
    const short da = new_activations(b, outputs_of(b, 0));
    emit(b, (struct smri_op){.kind = SMRI_OP_MAXPOOL_BACKWARD, .unit = SMRI_NO_UNIT, .out = da, .dy = d,
                             .winners = b->winners});
    const short dz = norm_backward(b, 0, (struct smri_op){.relu = true, .dy = da});
    conv_weights(b, 0, dz);
}

smri_status smri_program_build(struct smri_program *program, const smri_network *network) {
    struct builder b = {.program = program, .network = network, .config = &program->config, .n = program->config.batch};
    build_forward(&b);
    if (!infers(&b)) build_backward(&b);
    return b.status;
}
