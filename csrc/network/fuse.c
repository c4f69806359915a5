/* Lets operations do work for their neighbours, so that a number is used while it is in a cache. The results have the same bits.
 *
 *   activate_on_the_way  relu(scale * z + shift) in front of a convolution is left to the convolution (its prologue). For the
 *                        weights' gradient, which would need it several times, it is computed again.
 *   delay_weights        gradients of weights, which nothing waits for, go in front of the next backward-data, so that threads
 *                        that run out of work in one start the other.
 *   compact_shortcuts    the gradient of a strided 1x1 shortcut stays compact where the main path adds to it.
 *   fuse_producers       a convolution that works part by part makes its source itself: a block's output, or the gradient
 *                        behind a batch norm.
 *   fuse_reductions      it sums up what it writes for the batch norm that follows.
 *   write_in_place       what is still a pass of its own overwrites its input where nobody else reads it. */
#include <assert.h>

#include "program.h"
#include "smri/batchnorm2d.h"
#include "smri/strided_scatter.h"

static bool is_activation(const struct smri_op *op) {
    return op->kind == SMRI_OP_SCALE_SHIFT_ADD_RELU && op->residual == SMRI_VALUE_NONE;
}

/* A program that is copied while it is changed. */
struct rewriting {
    struct smri_program *program;
    struct smri_op old[SMRI_OPS_MAX];
    short activation[SMRI_VALUES_MAX]; /* the old operation that writes a value and is left out, or NO_OP */
    const struct smri_op *weights;     /* to be written yet, or NULL */
};

static void append(struct rewriting *r, struct smri_op op) {
    assert(r->program->n_ops < SMRI_OPS_MAX);
    r->program->ops[r->program->n_ops++] = op;
}

static void append_weights(struct rewriting *r) {
    if (r->weights == NULL) return;
    const short activation = r->activation[r->weights->x];
    if (activation != SMRI_NO_OP) append(r, r->old[activation]);
    append(r, *r->weights);
    r->weights = NULL;
}

/* activate_on_the_way and delay_weights. */
static void rewrite(struct rewriting *r, struct smri_program *program) {
    const short n_ops = program->n_ops, n_forward = program->n_forward;
    r->program = program, r->weights = NULL;
    for (short i = 0; i < SMRI_VALUES_MAX; i++) r->activation[i] = SMRI_NO_OP;
    for (short i = 0; i < n_ops; i++) r->old[i] = program->ops[i];
    program->n_ops = 0;
    for (short i = 0; i < n_ops; i++) {
        struct smri_op op = r->old[i];
        const struct smri_op *next = i + 1 < n_ops ? &r->old[i + 1] : NULL;
        if (i == n_forward) program->n_forward = program->n_ops;
        if (is_activation(&op) && next != NULL && next->kind == SMRI_OP_CONV && next->x == op.out) {
            r->activation[op.out] = i;
            continue;
        }
        if (op.kind == SMRI_OP_CONV && r->activation[op.x] != SMRI_NO_OP) {
            const struct smri_op *activation = &r->old[r->activation[op.x]];
            op.prologue_unit = activation->unit, op.x = activation->x;
        }
        if (op.kind == SMRI_OP_CONV_WEIGHTS || op.kind == SMRI_OP_CONV_DATA) append_weights(r);
        if (op.kind == SMRI_OP_CONV_WEIGHTS) r->weights = &r->old[i];
        else append(r, op);
    }
    append_weights(r);
}

/* The last operation before `at` that writes the value, or NO_OP. */
static short writer_of(const struct smri_program *program, short value, short at) {
    while (at-- > 0)
        if (program->ops[at].out == value || program->ops[at].ds == value) return at;
    return SMRI_NO_OP;
}

static size_t part_rows_of(const struct smri_program *program, const smri_network *network, const struct smri_op *op) {
    const struct smri_conv2d shape = smri_op_conv(program, network, op);
    return smri_conv2d_part_rows(SMRI_CONV2D_AUTO, smri_op_direction(op), &shape);
}

static void compact_shortcuts(struct smri_program *program, const smri_network *network, short at) {
    struct smri_op *main_path = &program->ops[at];
    if (main_path->kind != SMRI_OP_CONV_DATA || !main_path->accumulate) return;
    if (part_rows_of(program, network, main_path) == 0) return;
    const short writer = writer_of(program, main_path->out, at);
    struct smri_op *op = &program->ops[writer];
    if (writer == SMRI_NO_OP || op->kind != SMRI_OP_CONV_DATA) return;
    const struct smri_conv2d shape = smri_op_conv(program, network, op);
    if (!smri_conv2d_is_strided_pointwise(&shape)) return;
    const struct smri_conv2d compact = smri_conv2d_compact_pointwise(&shape);
    smri_status status = SMRI_OK; /* it is smaller than what has been measured */
    op->out = smri_program_new_value(program, &status, compact.N * compact.H * compact.W, compact.C,
                                     smri_precision_bytes(compact.precision));
    op->is_compact = true, main_path->scatters = writer;
}

static void choose_method(struct smri_program *program, const smri_network *network, struct smri_op *op) {
    if (!smri_op_is_conv(op)) return;
    const struct smri_conv2d shape = smri_op_conv(program, network, op);
    op->method = smri_conv2d_choose(smri_op_direction(op), &shape);
    if (program->config.kind == SMRI_PLAN_TRAIN)
        op->part_rows = smri_conv2d_part_rows(op->method, smri_op_direction(op), &shape);
}

/* The convolution that writes what a norm's first pass sums up, if that works in parts; else NULL. */
static struct smri_op *reducer_of(struct smri_program *program, short at) {
    const struct smri_op *op = &program->ops[at];
    if (op->kind != SMRI_OP_STATISTICS && op->kind != SMRI_OP_NORM_BACKWARD) return NULL;
    const short writer = writer_of(program, op->kind == SMRI_OP_STATISTICS ? op->x : op->dy, at);
    if (writer == SMRI_NO_OP || program->ops[writer].part_rows == 0) return NULL;
    struct smri_op *conv = &program->ops[writer];
    return conv->kind == SMRI_OP_CONV || conv->kind == SMRI_OP_CONV_DATA ? conv : NULL;
}

static void fuse_reduction(struct smri_program *program, short at) {
    struct smri_op *conv = reducer_of(program, at);
    if (conv == NULL) return;
    conv->reduces = at, program->ops[at].is_reduced = true;
}

static void fuse_producer(struct smri_program *program, short at) {
    struct smri_op *conv = &program->ops[at];
    if ((conv->kind != SMRI_OP_CONV && conv->kind != SMRI_OP_CONV_DATA) || conv->part_rows == 0) return;
    const bool forward = conv->kind == SMRI_OP_CONV;
    if (conv->prologue_unit != SMRI_NO_UNIT) return;
    const short writer = writer_of(program, forward ? conv->x : conv->dy, at);
    if (writer == SMRI_NO_OP) return;
    struct smri_op *op = &program->ops[writer];
    if (op->kind != (forward ? SMRI_OP_SCALE_SHIFT_ADD_RELU : SMRI_OP_NORM_BACKWARD)) return;
    if (forward && writer != at - 1) return; /* what stands between would have to wait for it */
    conv->producer = writer, op->is_produced = true;
}

static bool is_read_after(const struct smri_program *program, short value, short at) {
    short values[SMRI_OP_VALUES_MAX];
    while (++at < program->n_ops)
        for (size_t i = smri_op_values(values, program, at); i-- > 0;)
            if (values[i] == value) return true;
    return false;
}

static void rename_value(struct smri_op *op, short from, short to) {
    short *const slots[] = {&op->out, &op->x, &op->dy, &op->residual, &op->ds};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        if (*slots[i] == from) *slots[i] = to;
}

static void write_in_place(struct smri_program *program, short at) {
    const struct smri_op op = program->ops[at];
    if (op.kind != SMRI_OP_NORM_BACKWARD || op.is_produced || op.dy < SMRI_VALUE_FIRST) return;
    if (is_read_after(program, op.dy, at)) return;
    for (short i = at; i < program->n_ops; i++) rename_value(&program->ops[i], op.out, op.dy);
}

static void let_overlap(struct smri_program *program, short at) {
    if (program->ops[at].kind != SMRI_OP_CONV_WEIGHTS || at + 1 == program->n_ops) return;
    short own[SMRI_OP_VALUES_MAX], next[SMRI_OP_VALUES_MAX];
    const size_t n_own = smri_op_values(own, program, at), n_next = smri_op_values(next, program, (short)(at + 1));
    for (size_t i = 0; i < n_own; i++)
        for (size_t j = 0; j < n_next; j++)
            if (own[i] == next[j]) return;
    program->ops[at].overlaps = true;
}

void smri_program_fuse(struct smri_program *program, const smri_network *network) {
    const bool fuses = !program->config.unfused;
    struct rewriting rewriting;
    if (fuses) rewrite(&rewriting, program);
    if (fuses && program->config.kind == SMRI_PLAN_TRAIN)
        for (short i = program->n_forward; i < program->n_ops; i++) compact_shortcuts(program, network, i);
    for (short i = 0; i < program->n_ops; i++) choose_method(program, network, &program->ops[i]);
    for (short i = 0; i < program->n_ops; i++) {
        const struct smri_op *conv = reducer_of(program, i);
        if (conv != NULL) program->ops[i].part_rows = conv->part_rows;
    }
    for (short i = 0; i < program->n_ops && fuses; i++) fuse_reduction(program, i), fuse_producer(program, i);
    for (short i = 0; i < program->n_ops && fuses; i++) write_in_place(program, i);
    for (short i = 0; i < program->n_ops && fuses; i++) let_overlap(program, i);
}
