/* Lets operations do work for their neighbours, so that a number is used while it is in a cache. The results have the same bits.
 *
 *   activate_again       relu(scale * z + shift) in front of a convolution is not kept for its weights' gradient, but computed
 *                        again, so that it does not live from one pass to the other.
 *   delay_weights        gradients of weights, which nothing waits for, go in front of the next backward-data, so that threads
 *                        that run out of work in one start the other.
 *   fuse_producers       a convolution that works part by part makes its source itself: a block's output, or the gradient
 *                        behind a batch norm.
 *   fuse_reductions      it sums up what it writes for the batch norm that follows. */
#include <assert.h>

#include "program.h"
#include "smri/batchnorm2d.h"

static bool is_activation(const struct smri_op *op) {
    return op->kind == SMRI_OP_SCALE_SHIFT_ADD_RELU && op->residual == SMRI_VALUE_NONE;
}

/* A program that is copied while it is changed. */
struct rewriting {
    struct smri_program *program;
    struct smri_op old[SMRI_OPS_MAX];
    short activation[SMRI_VALUES_MAX]; /* the old operation that computes a value and will do so again, or NO_OP */
    const struct smri_op *weights;     /* to be written yet, or NULL */
};

static void append(struct rewriting *r, struct smri_op op) {
    assert(r->program->n_ops < SMRI_OPS_MAX);
    r->program->ops[r->program->n_ops++] = op;
}

static void append_weights(struct rewriting *r) {
    if (r->weights == NULL) return;
    struct smri_op weights = *r->weights;
    const short activation = r->activation[weights.x];
    if (activation != SMRI_NO_OP) {
        struct smri_op again = r->old[activation];
        smri_status status = SMRI_OK; /* as large as what it replaces */
        again.out = smri_program_new_value(r->program, &status, 1, 1, r->program->values[weights.x].bytes);
        weights.x = again.out;
        append(r, again);
    }
    append(r, weights);
    r->weights = NULL;
}

/* activate_again and delay_weights. */
static void rewrite(struct rewriting *r, struct smri_program *program) {
    const short n_ops = program->n_ops, n_forward = program->n_forward;
    r->program = program, r->weights = NULL;
    for (short i = 0; i < SMRI_VALUES_MAX; i++) r->activation[i] = SMRI_NO_OP;
    for (short i = 0; i < n_ops; i++) r->old[i] = program->ops[i];
    program->n_ops = 0;
    for (short i = 0; i < n_ops; i++) {
        const struct smri_op op = r->old[i];
        const struct smri_op *next = i + 1 < n_ops ? &r->old[i + 1] : NULL;
        if (i == n_forward) program->n_forward = program->n_ops;
        if (is_activation(&op) && next != NULL && next->kind == SMRI_OP_CONV && next->x == op.out) r->activation[op.out] = i;
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
    const short writer = writer_of(program, forward ? conv->x : conv->dy, at);
    if (writer == SMRI_NO_OP) return;
    struct smri_op *op = &program->ops[writer];
    if (op->kind != (forward ? SMRI_OP_SCALE_SHIFT_ADD_RELU : SMRI_OP_NORM_BACKWARD)) return;
    if (forward && writer != at - 1) return; /* what stands between would have to wait for it */
    conv->producer = writer, op->is_produced = true;
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
    for (short i = 0; i < program->n_ops; i++) choose_method(program, network, &program->ops[i]);
    for (short i = 0; i < program->n_ops; i++) {
        const struct smri_op *conv = reducer_of(program, i);
        if (conv != NULL) program->ops[i].part_rows = conv->part_rows;
    }
    for (short i = 0; i < program->n_ops && fuses; i++) fuse_reduction(program, i), fuse_producer(program, i);
    for (short i = 0; i < program->n_ops && fuses; i++) let_overlap(program, i);
}
