/* Writes a pass as a program (program.h): forward, then the reverse walk.
 *
 * A training program keeps the convolutions' outputs z, the blocks' outputs, and a bit for each of their numbers: whether the
 * block's ReLU let it through. relu(scale * z + shift), the input of the next convolution, is nowhere in forward: that reads
 * z and does it on the way (smri_conv2d_prologue). In backward it is a temporary for the weights' gradient, which would need
 * it several times; the other ReLU masks are recomputed from z by the batch norm's backward. 1x1 convolutions work
 * part by part and do for each part what lies in front of them and behind: they make a block's output, or the gradient
 * behind a batch norm, before they multiply it, and sum up what they have made for the next batch norm. The gradients of
 * the weights, which nothing waits for, stand in front of the next backward-data, so that its tasks fill the time in which
 * theirs run out, one thread after the other. An inference program knows scale and shift beforehand, so convolutions
 * normalise, add the residual where it lies, and apply ReLU themselves; it keeps nothing, and takes the first stage a few
 * images at a time.
 *
 * In a bf16 program the images are narrowed once, and activations and gradients of the trunk are bf16; the head, from the
 * features on, is fp32. Average pooling reads one and writes the other, flattened features are converted. */
#include "program.h"

#include <assert.h>
#include <string.h>

#include "smri/batchnorm2d.h"
#include "smri/linear.h"
#include "smri/memory.h"
#include "smri/strided_scatter.h"

#define PREFIX_BYTES ((size_t)4 << 20)

struct writer {
    struct smri_program *program;
    const struct smri_network *network;
    const struct smri_plan_config *config;
    size_t n_threads;
    size_t n;                   /* images that an operation sees: the batch, or a part of it */
    smri_status status;         /* of the first size that overflowed */
    short z[SMRI_CONV_BNS_MAX];    /* the conv_bns' outputs */
    short in[SMRI_BLOCKS_MAX];  /* the blocks' inputs, and where their ReLUs let through */
    short mask[SMRI_BLOCKS_MAX];
    short images, winners; /* the stem's input, and the places of its maxima */
    short dense_in[SMRI_HEAD_MAX], dense_out[SMRI_HEAD_MAX];
    short sum;                   /* the operation that ended the block before, 0: none did */
    short norm[SMRI_CONV_BNS_MAX];  /* the conv_bns' NORM_BACKWARD */
    /* Backward: the conv_bn's gradient of the weights that is to be written next, if any. x is what x_conv_bn has
     * left, or AS_IT_IS. */
    struct {
        bool any;
        short conv_bn, x, x_conv_bn, dz;
    } weights;
    /* The sums of the norm of conv_bn `of` that the backward-data of conv_bn `by` makes on the way, 0: none does. The mask is
     * that of a block's ReLU; without one the norm's own is recomputed. */
    struct {
        short by, of, mask, values;
    } sums;
};

static bool trains(const struct writer *w) { return w->config->kind == SMRI_PLAN_TRAIN; }
static bool infers(const struct writer *w) { return w->config->kind == SMRI_PLAN_INFER; }

static short new_value(struct writer *w, size_t images, size_t numbers, size_t bytes_each) {
    struct smri_program *program = w->program;
    assert(program->n_values < SMRI_VALUES_MAX);
    struct smri_value *value = &program->values[program->n_values];
    if (w->status == SMRI_OK)
        w->status = smri_size_product(&value->bytes, "activations", 3, (size_t[]){images, numbers, bytes_each});
    return program->n_values++;
}

static short new_floats(struct writer *w, size_t numbers_per_image) {
    return new_value(w, w->n, numbers_per_image, sizeof(float));
}

static short new_activations(struct writer *w, size_t numbers_per_image) {
    return new_value(w, w->n, numbers_per_image, smri_precision_bytes(w->config->precision));
}

static short new_scratch(struct writer *w, size_t bytes) {
    return bytes > 0 ? new_value(w, 1, 1, bytes) : (short)SMRI_VALUE_NONE;
}

#define N_NAMED 8

struct named {
    short values[N_NAMED];
};

static struct named values_of(const struct smri_op *op) {
    return (struct named){{op->out, op->x, op->dy, op->aux, op->mask, op->scratch, op->sums, op->scatter}};
}

/* The values that `op` names live at operation `at`. */
static void keep_alive(struct smri_program *program, const struct smri_op *op, short at) {
    const struct named named = values_of(op);
    for (size_t i = 0; i < N_NAMED; i++) {
        struct smri_value *value = &program->values[named.values[i]];
        if (value->first > at) value->first = at;
        if (value->last < at) value->last = at;
    }
}

static short emit(struct writer *w, struct smri_op op) {
    struct smri_program *program = w->program;
    assert(program->n_ops < SMRI_OPS_MAX);
    const short at = program->n_ops++;
    program->ops[at] = op;
    keep_alive(program, &op, at);
    if (op.fused_producer != 0) {
        keep_alive(program, &program->ops[op.fused_producer], at);
        program->ops[op.fused_producer].fused_into = at;
    }
    return at;
}

static size_t conv_bn_numbers(const struct smri_conv_bn *conv_bn) { return conv_bn->P * conv_bn->Q * conv_bn->conv.K; }
static size_t conv_bn_inputs(const struct smri_conv_bn *conv_bn) { return conv_bn->conv.H * conv_bn->conv.W *
                                                                  conv_bn->conv.C; }

/* Scratch for a convolution of this and of every smaller batch, which may take another method or be cut into more parts; and
 * the threads' own is made as large, too. */
static short conv_scratch(struct writer *w, struct smri_conv2d shape, enum smri_conv2d_direction direction,
                          enum smri_conv2d_extra extra) {
    const size_t most = shape.N = w->n;
    shape.precision = w->config->precision;
    if (w->status == SMRI_OK) w->status = smri_conv2d_check(&shape);
    if (w->status != SMRI_OK) return SMRI_VALUE_NONE;
    struct smri_workspace_bytes bytes = {0, 0};
    for (shape.N = 1; shape.N <= most; shape.N++)
        smri_workspace_enlarge(&bytes, smri_conv2d_workspace_bytes(SMRI_CONV2D_AUTO, direction, extra, &shape));
    if (bytes.per_thread > w->program->per_thread_stride) w->program->per_thread_stride = smri_align(bytes.per_thread);
    return new_scratch(w, bytes.shared);
}

/* Whether a convolution works in parts, so that it can make its own source. */
static bool has_parts(const struct writer *w, struct smri_conv2d shape, enum smri_conv2d_direction direction) {
    shape.N = w->config->batch;
    shape.precision = w->config->precision;
    return trains(w) && w->status == SMRI_OK && smri_conv2d_part_rows(SMRI_CONV2D_AUTO, direction, &shape) > 0;
}

static short norm_scratch(struct writer *w, const struct smri_conv_bn *conv_bn) {
    const size_t groups = w->config->bn_groups;
    const struct smri_batchnorm2d shape = {groups, w->config->batch / groups * conv_bn->P * conv_bn->Q, conv_bn->conv.K,
                                           w->config->precision};
    return new_scratch(w, smri_batchnorm2d_workspace_bytes(&shape, w->n_threads));
}

/* Room for the sums of a conv_bn's norm where the convolution of `by` makes them in parts; none where it has no parts. */
static short sums_scratch(struct writer *w, size_t index, size_t by, enum smri_conv2d_direction direction) {
    const struct smri_conv_bn *conv_bn = &w->network->conv_bns[index];
    const size_t groups = w->config->bn_groups;
    struct smri_conv2d conv = w->network->conv_bns[by].conv;
    conv.precision = w->config->precision;
    size_t largest = 0;
    if (!trains(w) || w->status != SMRI_OK) return SMRI_VALUE_NONE;
    for (conv.N = groups; conv.N <= w->config->batch; conv.N += groups) { /* a smaller batch may be cut differently */
        const size_t part_rows = smri_conv2d_part_rows(SMRI_CONV2D_AUTO, direction, &conv);
        if (part_rows == 0) continue;
        const struct smri_batchnorm2d shape = {groups, conv.N / groups * conv_bn->P * conv_bn->Q, conv_bn->conv.K,
                                               conv.precision};
        const size_t bytes = smri_batchnorm2d_parts_workspace_bytes(&shape, part_rows);
        if (bytes > largest) largest = bytes;
    }
    return new_scratch(w, largest);
}

static short dense_scratch(struct writer *w, const struct smri_dense *dense) {
    const struct smri_linear shape = {w->config->batch, dense->in, dense->out};
    return new_scratch(w, smri_linear_workspace_bytes(&shape, w->n_threads));
}

static short new_mask(struct writer *w, const struct smri_conv_bn *conv_bn) {
    return new_value(w, w->config->batch, conv_bn->P * conv_bn->Q * smri_mask_bytes(conv_bn->conv.K), 1);
}

/* x for the trunk, from fp32. */
static short narrowed(struct writer *w, size_t numbers, short x) {
    if (w->config->precision == SMRI_FP32) return x;
    const short out = new_activations(w, numbers);
    emit(w, (struct smri_op){.kind = SMRI_OP_NARROW, .numbers = numbers, .out = out, .x = x});
    return out;
}

/* x of the trunk, as fp32. */
static short widened(struct writer *w, size_t numbers, short x) {
    if (w->config->precision == SMRI_FP32) return x;
    const short out = new_floats(w, numbers);
    emit(w, (struct smri_op){.kind = SMRI_OP_WIDEN, .numbers = numbers, .out = out, .x = x});
    return out;
}

/* ---- forward ---- */

#define AS_IT_IS 0

/* z = conv(x), and its statistics where the batch decides them. x is what the convolution of x_conv_bn has left, which is
 * normalised and cut at zero on its way, or AS_IT_IS; then it may be what operation x_op leaves to this one, or 0. */
static short convolve(struct writer *w, size_t index, short x, short x_conv_bn, short x_op) {
    const struct smri_conv_bn *conv_bn = &w->network->conv_bns[index];
    const short z = new_activations(w, conv_bn_numbers(conv_bn));
    struct smri_op conv = {.kind = SMRI_OP_CONV, .conv_bn = (short)index, .x_conv_bn = x_conv_bn, .out = z, .x = x};
    conv.scratch = conv_scratch(w, conv_bn->conv, SMRI_CONV2D_FORWARD,
                                x_conv_bn != AS_IT_IS ? SMRI_CONV2D_WITH_PROLOGUE : SMRI_CONV2D_PLAIN);
    conv.sums = sums_scratch(w, index, index, SMRI_CONV2D_FORWARD);
    if (has_parts(w, conv_bn->conv, SMRI_CONV2D_FORWARD)) conv.fused_producer = x_op;
    emit(w, conv);
    if (trains(w))
        emit(w, (struct smri_op){.kind = SMRI_OP_STATISTICS, .conv_bn = (short)index, .x = z, .sums = conv.sums,
                                 .reduced_by = conv.sums != SMRI_VALUE_NONE ? (short)index : 0,
                                     .scratch = norm_scratch(w, conv_bn)});
    w->z[index] = z;
    return z;
}

/* scale * conv(x) + shift: a new value, or added to `sum`. */
static short convolve_normalised(struct writer *w, size_t index, short x, short sum, bool relu) {
    const struct smri_conv_bn *conv_bn = &w->network->conv_bns[index];
    const short out = sum != SMRI_VALUE_NONE ? sum : new_activations(w, conv_bn_numbers(conv_bn));
    emit(w, (struct smri_op){.kind = SMRI_OP_CONV_NORMALISED, .conv_bn = (short)index, .relu = relu,
                             .accumulate = sum != SMRI_VALUE_NONE, .out = out, .x = x,
                             .scratch = conv_scratch(w, conv_bn->conv, SMRI_CONV2D_FORWARD, SMRI_CONV2D_WITH_EPILOGUE)});
    return out;
}

/* relu(scale * z + shift): a temporary. */
static short normalise(struct writer *w, size_t index) {
    const short out = new_activations(w, conv_bn_numbers(&w->network->conv_bns[index]));
    emit(w, (struct smri_op){.kind = SMRI_OP_SCALE_SHIFT_ADD_RELU, .conv_bn = (short)index, .relu = true, .out = out,
                             .x = w->z[index]});
    return out;
}

static short forward_stem(struct writer *w) {
    const struct smri_maxpool2d *pool = &w->network->maxpool;
    w->images = narrowed(w, conv_bn_inputs(&w->network->conv_bns[0]), SMRI_VALUE_IMAGES);
    short stem;
    if (infers(w)) {
        stem = convolve_normalised(w, 0, w->images, SMRI_VALUE_NONE, true);
    } else {
        convolve(w, 0, w->images, AS_IT_IS, 0);
        stem = normalise(w, 0);
    }
    const size_t numbers = smri_maxpool2d_out_rows(pool) * smri_maxpool2d_out_cols(pool) * pool->C;
    const short pooled = new_activations(w, numbers);
    if (!infers(w)) w->winners = new_value(w, w->config->batch, numbers, 1);
    emit(w, (struct smri_op){.kind = SMRI_OP_MAXPOOL, .out = pooled, .x = stem, .aux = w->winners});
    return pooled;
}

static short forward_block(struct writer *w, size_t index, short in) {
    const struct smri_block *block = &w->network->blocks[index];
    const size_t last = block->first + block->n_conv_bns - 1;
    short x = in, x_conv_bn = AS_IT_IS;
    if (infers(w)) {
        for (size_t i = block->first; i < last; i++) x = convolve_normalised(w, i, x, SMRI_VALUE_NONE, true);
        const short residual = block->projects ? convolve_normalised(w, last + 1, in, SMRI_VALUE_NONE, false) : in;
        return convolve_normalised(w, last, x, residual, true);
    }
    for (size_t i = block->first; i <= last; i++) {
        x = convolve(w, i, x, x_conv_bn, i == block->first ? w->sum : 0);
        x_conv_bn = (short)i;
    }
    struct smri_op add = {.kind = SMRI_OP_SCALE_SHIFT_ADD_RELU, .conv_bn = (short)last, .relu = true, .x = w->z[last],
                          .aux = in};
    if (block->projects) {
        add.aux_conv_bn = (short)(last + 1);
        add.aux = convolve(w, last + 1, in, AS_IT_IS, 0);
    }
    add.out = new_activations(w, conv_bn_numbers(&w->network->conv_bns[last]));
    add.mask = new_mask(w, &w->network->conv_bns[last]);
    w->sum = emit(w, add);
    w->in[index] = in;
    w->mask[index] = add.mask;
    return add.out;
}

static short forward_head(struct writer *w, short x) {
    for (size_t i = 0; i < w->network->config.n_head; i++) {
        const struct smri_dense *dense = &w->network->dense[i];
        if (trains(w) && dense->dropout > 0.0f) {
            const short kept = new_floats(w, dense->in);
            emit(w, (struct smri_op){.kind = SMRI_OP_DROPOUT, .conv_bn = (short)i, .out = kept, .x = x});
            x = kept;
        }
        const short y = new_floats(w, dense->out);
        emit(w, (struct smri_op){.kind = SMRI_OP_LINEAR, .conv_bn = (short)i, .out = y, .x = x,
                                 .scratch = dense_scratch(w, dense)});
        if (dense->relu) emit(w, (struct smri_op){.kind = SMRI_OP_RELU, .numbers = dense->out, .out = y, .x = y});
        w->dense_in[i] = x;
        w->dense_out[i] = x = y;
    }
    return x;
}

/* How many images of the first stage an inference pass takes at a time: of ResNet-50 at 128 x 128 in fp32 four, 4 MiB for
 * each of a block's tensors, of which three live at once. Later stages are smaller and have more weights to read. */
static size_t prefix_images(const struct writer *w) {
    size_t most = conv_bn_numbers(&w->network->conv_bns[0]);
    for (size_t i = 0; i < w->network->n_blocks && w->network->blocks[i].stage == SMRI_STAGE_LAYER1; i++) {
        const struct smri_block *block = &w->network->blocks[i];
        const size_t numbers = conv_bn_numbers(&w->network->conv_bns[block->first + block->n_conv_bns - 1]);
        if (numbers > most) most = numbers;
    }
    const size_t images = PREFIX_BYTES / (most * smri_precision_bytes(w->config->precision));
    return images == 0 ? 1 : images < w->config->batch ? images : w->config->batch;
}

/* From here on operations see the whole batch, which the prefix ones have left in x part by part. */
static void end_prefix(struct writer *w, size_t numbers, short x) {
    struct smri_program *program = w->program;
    program->n_prefix = program->n_ops;
    program->prefix_out = x;
    program->prefix_images = w->n;
    program->prefix_bytes = numbers * smri_precision_bytes(w->config->precision);
    w->n = w->config->batch;
    struct smri_value *value = &program->values[x];
    if (w->status == SMRI_OK)
        w->status = smri_size_product(&value->bytes, "activations", 2, (size_t[]){w->n, program->prefix_bytes});
    value->first = 0; /* one part's results live on while the next part begins */
}

static void write_forward(struct writer *w) {
    struct smri_program *program = w->program;
    const struct smri_network *network = w->network;
    if (infers(w)) w->n = prefix_images(w);
    short x = forward_stem(w);
    program->taps[SMRI_STAGE_STEM].activations = x;
    for (size_t i = 0; i < network->n_blocks; i++) {
        if (w->n < w->config->batch && network->blocks[i].stage != SMRI_STAGE_LAYER1)
            end_prefix(w, conv_bn_inputs(&network->conv_bns[network->blocks[i].first]), x);
        x = forward_block(w, i, x);
        program->taps[network->blocks[i].stage].activations = x;
    }
    if (network->config.features == SMRI_FEATURES_AVGPOOL) {
        const short mean = new_floats(w, network->channels);
        emit(w, (struct smri_op){.kind = SMRI_OP_AVGPOOL, .out = mean, .x = x});
        x = mean;
    } else {
        x = widened(w, network->features, x);
    }
    program->features = x;
    program->output = forward_head(w, x);
    program->n_forward = program->n_ops;
}

/* ---- backward ---- */

static short backward_head(struct writer *w, short dy) {
    for (size_t i = w->network->config.n_head; i-- > 0;) {
        const struct smri_dense *dense = &w->network->dense[i];
        if (dense->relu) {
            const short masked = new_floats(w, dense->out);
            emit(w, (struct smri_op){.kind = SMRI_OP_RELU_BACKWARD, .numbers = dense->out, .out = masked, .dy = dy,
                                     .x = w->dense_out[i]});
            dy = masked;
        }
        const short dx = new_floats(w, dense->in);
        emit(w, (struct smri_op){.kind = SMRI_OP_LINEAR_BACKWARD, .conv_bn = (short)i, .out = dx, .dy = dy,
                                 .x = w->dense_in[i],
                                 .scratch = dense_scratch(w, dense)});
        if (trains(w) && dense->dropout > 0.0f)
            emit(w, (struct smri_op){.kind = SMRI_OP_DROPOUT, .conv_bn = (short)i, .out = dx, .x = dx});
        dy = dx;
    }
    return dy;
}

static void emit_norm(struct writer *w, size_t index, struct smri_op op) {
    op.kind = SMRI_OP_NORM_BACKWARD, op.conv_bn = (short)index, op.x = w->z[index];
    op.scratch = norm_scratch(w, &w->network->conv_bns[index]);
    if (w->sums.by != 0 && w->sums.of == op.conv_bn) op.reduced_by = w->sums.by, op.sums = w->sums.values;
    w->norm[index] = emit(w, op);
}

/* Gradient of the conv_bn's z, in `out` (which may be dy). */
static void backward_norm(struct writer *w, size_t index, short out, short dy, bool relu) {
    emit_norm(w, index, (struct smri_op){.relu = relu, .out = out, .dy = dy});
}

/* The same: a new value if the convolution `next` makes it part by part in backward-data, else in place of dy. Returns it. */
static short backward_norm_of(struct writer *w, size_t index, short dy, bool relu, const struct smri_conv2d *next) {
    const bool in_parts = has_parts(w, *next, SMRI_CONV2D_BACKWARD_DATA);
    const short out = in_parts ? new_activations(w, conv_bn_numbers(&w->network->conv_bns[index])) : dy;
    backward_norm(w, index, out, dy, relu);
    return out;
}

/* The same behind a block's ReLU, from the gradient of the block's output; ds (which may be dout) is that in front of it. */
static void backward_sum(struct writer *w, size_t index, short out, short ds, short dout, short mask) {
    emit_norm(w, index, (struct smri_op){.out = out, .dy = dout, .aux = ds, .mask = mask});
}

/* Where the backward-data of conv_bn `by` comes in parts and completes the gradient that the norm of conv_bn `of`
 * begins with, the sums of that are made on the way. */
static void plan_sums(struct writer *w, size_t by, size_t of, short mask) {
    w->sums.values = sums_scratch(w, of, by, SMRI_CONV2D_BACKWARD_DATA);
    w->sums.by = w->sums.values != SMRI_VALUE_NONE ? (short)by : 0;
    w->sums.of = (short)of, w->sums.mask = mask;
}

static void write_weights(struct writer *w) {
    if (!w->weights.any) return;
    w->weights.any = false;
    const size_t index = (size_t)w->weights.conv_bn;
    const short x = w->weights.x_conv_bn != AS_IT_IS ? normalise(w, (size_t)w->weights.x_conv_bn) : w->weights.x;
    emit(w, (struct smri_op){.kind = SMRI_OP_CONV_WEIGHTS, .conv_bn = (short)index, .x = x, .dy = w->weights.dz,
                             .scratch = conv_scratch(w, w->network->conv_bns[index].conv, SMRI_CONV2D_BACKWARD_WEIGHTS,
                                                     SMRI_CONV2D_PLAIN)});
}

static void backward_weights(struct writer *w, size_t index, short x, short x_conv_bn, short dz) {
    if (!trains(w)) return;
    write_weights(w);
    w->weights.any = true;
    w->weights.conv_bn = (short)index, w->weights.x = x, w->weights.x_conv_bn = x_conv_bn, w->weights.dz = dz;
}

/* `op` says how dx is written. */
static void backward_data(struct writer *w, size_t index, short dx, short dz, struct smri_op op) {
    write_weights(w);
    const struct smri_conv2d *conv_bn = &w->network->conv_bns[index].conv,
        conv = op.compact_pointwise ? smri_conv2d_compact_pointwise(conv_bn) : *conv_bn;
    op.kind = SMRI_OP_CONV_DATA, op.conv_bn = (short)index, op.out = dx, op.dy = dz;
    op.scratch = conv_scratch(w, conv, SMRI_CONV2D_BACKWARD_DATA, SMRI_CONV2D_PLAIN);
    if (has_parts(w, conv, SMRI_CONV2D_BACKWARD_DATA)) op.fused_producer = w->norm[index];
    if (w->sums.by == (short)index) {
        op.reduces_bn_of = w->sums.of, op.x = w->z[w->sums.of], op.sums = w->sums.values, op.mask = w->sums.mask;
        if (op.mask != SMRI_VALUE_NONE) op.aux = dx;
        else op.relu = true;
    }
    emit(w, op);
}

/* The shortcut comes first: what the main path adds completes dx, which is returned, and may be summed up on the way. If that
 * works in parts, the gradient of a strided shortcut stays dense, and `added` says to spread it. */
static short backward_shortcut(struct writer *w, size_t index, short ds, struct smri_op *added) {
    const struct smri_block *block = &w->network->blocks[index];
    const struct smri_conv_bn *conv_bns = w->network->conv_bns;
    const size_t shortcut = block->first + block->n_conv_bns;
    struct smri_conv2d conv = conv_bns[shortcut].conv;
    struct smri_op op = {.compact_pointwise = smri_conv2d_is_strided_pointwise(&conv) && has_parts(w,
                                                                                                   conv_bns[block->first].conv, SMRI_CONV2D_BACKWARD_DATA)};
    if (op.compact_pointwise) conv = smri_conv2d_compact_pointwise(&conv);
    const short dz = backward_norm_of(w, shortcut, ds, false, &conv), dx = new_activations(w, conv.H * conv.W * conv.C);
    backward_data(w, shortcut, dx, dz, op);
    backward_weights(w, shortcut, w->in[index], AS_IT_IS, dz);
    if (!op.compact_pointwise) return dx;
    added->scatter = dx, added->scatter_of = (short)shortcut;
    return new_activations(w, conv_bn_inputs(&conv_bns[block->first]));
}

/* From the gradient of the block's output to that of its input. ds, the gradient in front of the block's ReLU, goes into
 * both paths: the identity's share stays where it is and the main path's is added to it. */
static short backward_block(struct writer *w, size_t index, short dout) {
    const struct smri_block *block = &w->network->blocks[index];
    const struct smri_conv_bn *conv_bns = w->network->conv_bns;
    const size_t last = block->first + block->n_conv_bns - 1;
    const short ds = dout != SMRI_VALUE_DOUTPUT ? dout : new_activations(w, conv_bn_numbers(&conv_bns[last]));
    short dz = new_activations(w, conv_bn_numbers(&conv_bns[last]));
    backward_sum(w, last, dz, ds, dout, w->mask[index]);
    for (size_t i = last; i > block->first; i--) {
        const short dx = new_activations(w, conv_bn_inputs(&conv_bns[i]));
        plan_sums(w, i, i - 1, SMRI_VALUE_NONE);
        backward_data(w, i, dx, dz, (struct smri_op){0}); /* first: it may make dz */
        backward_weights(w, i, SMRI_VALUE_NONE, (short)(i - 1), dz);
        dz = backward_norm_of(w, i - 1, dx, true, &conv_bns[i - 1].conv);
    }
    struct smri_op added = {.accumulate = true};
    short dx = ds;
    if (block->projects) dx = backward_shortcut(w, index, ds, &added);
    w->sums.by = 0;
    if (index > 0) plan_sums(w, block->first, block[-1].first + block[-1].n_conv_bns - 1, w->mask[index - 1]);
    backward_data(w, block->first, dx, dz, added);
    backward_weights(w, block->first, w->in[index], AS_IT_IS, dz);
    return dx;
}

static void set_tap(struct writer *w, enum smri_stage stage, short gradients) {
    struct smri_tap *tap = &w->program->taps[stage];
    tap->gradients = gradients;
    tap->stop = w->program->n_ops;
    /* Both must survive until the caller has looked: their lives reach the operation in front of which they are read. */
    struct smri_value *pair[] = {&w->program->values[tap->activations], &w->program->values[gradients]};
    for (size_t i = 0; i < 2; i++)
        if (pair[i]->last < tap->stop) pair[i]->last = tap->stop;
}

static void write_backward(struct writer *w) {
    const struct smri_network *network = w->network;
    short d = backward_head(w, SMRI_VALUE_DOUTPUT);
    if (network->config.features == SMRI_FEATURES_AVGPOOL) {
        const short dx = new_activations(w, network->channels * network->side * network->side);
        emit(w, (struct smri_op){.kind = SMRI_OP_AVGPOOL_BACKWARD, .out = dx, .dy = d});
        d = dx;
    } else {
        d = narrowed(w, network->features, d);
    }
    enum smri_stage stage = SMRI_STAGE_LAYER4;
    set_tap(w, stage, d);
    for (size_t i = network->n_blocks; i-- > 0;) {
        if (network->blocks[i].stage != stage) set_tap(w, stage = network->blocks[i].stage, d);
        d = backward_block(w, i, d);
    }
    set_tap(w, SMRI_STAGE_STEM, d);
    if (!trains(w)) return;
    const short da = new_activations(w, conv_bn_numbers(&network->conv_bns[0]));
    emit(w, (struct smri_op){.kind = SMRI_OP_MAXPOOL_BACKWARD, .out = da, .dy = d, .aux = w->winners});
    backward_norm(w, 0, da, da, true);
    backward_weights(w, 0, w->images, AS_IT_IS, da);
    write_weights(w);
}

/* Whether the operations name different values. */
static bool disjoint(const struct smri_op *a, const struct smri_op *b) {
    const struct named of_a = values_of(a), of_b = values_of(b);
    for (size_t i = 0; i < N_NAMED; i++)
        for (size_t j = 0; j < N_NAMED; j++)
            if (of_a.values[i] != SMRI_VALUE_NONE && of_a.values[i] == of_b.values[j]) return false;
    return true;
}

/* A convolution that makes its own source does what the operation it carries would have done. */
static void let_overlap(struct smri_program *program) {
    for (short i = program->n_forward; i + 1 < program->n_ops; i++) {
        struct smri_op *op = &program->ops[i];
        const struct smri_op *next = op + 1;
        if (op->kind != SMRI_OP_CONV_WEIGHTS) continue;
        if (!disjoint(op, next) || (next->fused_producer != 0 && !disjoint(op,
                                                                           &program->ops[next->fused_producer]))) continue;
        op->overlaps = true;
        keep_alive(program, op, (short)(i + 1));
    }
}

/* The threads' own memory is nobody else's from the first operation to the last, so that it stays in their caches. */
static void keep_per_thread(struct writer *w) {
    struct smri_program *program = w->program;
    if (program->per_thread_stride == 0) return;
    program->per_thread = new_value(w, 1, w->n_threads, program->per_thread_stride);
    program->values[program->per_thread].first = 0;
    program->values[program->per_thread].last = program->n_ops;
}

smri_status smri_program_write(struct smri_program *program, const smri_network *network,
                               const struct smri_plan_config *config, size_t n_threads) {
    memset(program, 0, sizeof *program);
    for (size_t i = 0; i < SMRI_VALUES_MAX; i++) program->values[i] = (struct smri_value){.first = SMRI_OPS_MAX, .last = -1};
    program->n_values = SMRI_VALUE_FIRST;
    struct writer w = {.program = program, .network = network, .config = config, .n_threads = n_threads, .n = config->batch};
    write_forward(&w);
    if (config->kind != SMRI_PLAN_INFER) write_backward(&w);
    let_overlap(program);
    /* What the caller may look at after a pass: the output for good, the features until backward begins. */
    program->values[program->output].last = program->n_ops;
    struct smri_value *features = &program->values[program->features];
    if (features->last < program->n_forward) features->last = program->n_forward;
    keep_per_thread(&w);
    return w.status;
}
