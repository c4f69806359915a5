/* Scratch memory for every operation, and from which operation to which each value lives. */
#include <assert.h>
#include <string.h>

#include "program.h"
#include "smri/batchnorm2d.h"
#include "smri/linear.h"
#include "smri/memory.h"

short smri_program_new_value(struct smri_program *program, smri_status *status, size_t images, size_t numbers,
                             size_t bytes_each) {
    assert(program->n_values < SMRI_VALUES_MAX);
    struct smri_value *value = &program->values[program->n_values];
    *value = (struct smri_value){.first = SMRI_OPS_MAX, .last = -1};
    if (*status == SMRI_OK)
        *status = smri_size_product(&value->bytes, "activations", 3, (size_t[]){images, numbers, bytes_each});
    return program->n_values++;
}

enum smri_conv2d_direction smri_op_direction(const struct smri_op *op) {
    return op->kind == SMRI_OP_CONV_DATA      ? SMRI_CONV2D_BACKWARD_DATA
           : op->kind == SMRI_OP_CONV_WEIGHTS ? SMRI_CONV2D_BACKWARD_WEIGHTS
                                              : SMRI_CONV2D_FORWARD;
}

struct smri_conv2d smri_op_conv(const struct smri_program *program, const smri_network *network, const struct smri_op *op) {
    struct smri_conv2d shape = network->conv_bns[op->unit].conv;
    shape.N = op->n;
    shape.precision = program->config.precision;
    return shape;
}

struct smri_batchnorm2d smri_op_norm(const struct smri_program *program, const smri_network *network,
                                     const struct smri_op *op) {
    const struct smri_conv_bn *conv_bn = &network->conv_bns[op->unit];
    const size_t groups = program->config.bn_groups;
    return (struct smri_batchnorm2d){groups, op->n / groups * conv_bn->P * conv_bn->Q, conv_bn->conv.K,
                                     program->config.precision};
}

static size_t scratch_bytes(struct smri_program *program, const smri_network *network, const struct smri_op *op) {
    if (smri_op_is_conv(op)) {
        const struct smri_conv2d shape = smri_op_conv(program, network, op);
        const struct smri_workspace_bytes bytes =
            smri_conv2d_workspace_bytes(op->method, smri_op_direction(op), op->kind == SMRI_OP_CONV_NORMALISED, &shape);
        if (bytes.per_thread > program->per_thread_stride) program->per_thread_stride = smri_align(bytes.per_thread);
        return bytes.shared;
    }
    if (op->kind == SMRI_OP_STATISTICS || op->kind == SMRI_OP_NORM_BACKWARD) {
        const struct smri_batchnorm2d shape = smri_op_norm(program, network, op);
        return op->part_rows > 0 ? smri_batchnorm2d_parts_workspace_bytes(&shape, op->part_rows)
                                 : smri_batchnorm2d_workspace_bytes(&shape, program->n_threads);
    }
    if (op->kind == SMRI_OP_LINEAR || op->kind == SMRI_OP_LINEAR_BACKWARD) {
        const struct smri_dense *dense = &network->dense[op->unit];
        return smri_linear_workspace_bytes(&(struct smri_linear){op->n, dense->in, dense->out}, program->n_threads);
    }
    return 0;
}

static size_t add(short values[SMRI_OP_VALUES_MAX], size_t count, const short *more, size_t n_more) {
    for (size_t i = 0; i < n_more; i++)
        if (more[i] != SMRI_VALUE_NONE) values[count++] = more[i];
    return count;
}

size_t smri_op_values(short values[SMRI_OP_VALUES_MAX], const struct smri_program *program, short at) {
    const struct smri_op *op = &program->ops[at];
    const short own[] = {op->x, op->dy, op->residual, op->mask, op->ds, op->winners, op->scratch};
    size_t count = add(values, 0, own, sizeof own / sizeof *own);
    if (!op->is_produced) count = add(values, count, &op->out, 1);
    if (op->producer != SMRI_NO_OP) {
        const struct smri_op *from = &program->ops[op->producer];
        const short read[] = {from->x, from->dy, from->residual, from->mask, from->ds, from->scratch, from->out};
        count = add(values, count, read, sizeof read / sizeof *read);
    }
    if (op->reduces != SMRI_NO_OP) {
        const struct smri_op *into = &program->ops[op->reduces];
        const short read[] = {into->x, into->mask, into->ds, into->scratch};
        count = add(values, count, read, sizeof read / sizeof *read);
    }
    return count;
}

static void keep_alive(struct smri_program *program, short value, short at) {
    struct smri_value *of = &program->values[value];
    if (of->first > at) of->first = at;
    if (of->last < at) of->last = at;
}

smri_status smri_program_find_lifetimes(struct smri_program *program, const smri_network *network) {
    smri_status status = SMRI_OK;
    for (short i = 0; i < program->n_ops; i++) {
        const size_t bytes = scratch_bytes(program, network, &program->ops[i]);
        if (bytes > 0) program->ops[i].scratch = smri_program_new_value(program, &status, 1, 1, bytes);
    }
    if (program->per_thread_stride > 0)
        program->per_thread =
            smri_program_new_value(program, &status, 1, program->n_threads, program->per_thread_stride);
    for (short i = 0; i < program->n_ops; i++) {
        short values[SMRI_OP_VALUES_MAX];
        for (size_t j = smri_op_values(values, program, i); j-- > 0;) {
            keep_alive(program, values[j], i);
            if (program->ops[i].overlaps) keep_alive(program, values[j], (short)(i + 1));
        }
    }
    /* The threads' own memory is nobody else's from the first operation to the last, so that it stays in their caches. One
     * part's results of the first stage live on while the next part begins. */
    keep_alive(program, program->per_thread, 0);
    keep_alive(program, program->per_thread, program->n_ops);
    keep_alive(program, program->prefix_out, 0);
    /* What the caller may look at after a pass: the output for good, the features until backward begins. */
    keep_alive(program, program->output, program->n_ops);
    keep_alive(program, program->features, program->n_forward);
    return status;
}

smri_status smri_program_write(struct smri_program *program, const smri_network *network,
                               const struct smri_plan_config *config, size_t n_threads) {
    memset(program, 0, sizeof *program);
    program->config = *config;
    program->n_threads = n_threads;
    program->n_values = SMRI_VALUE_FIRST;
    smri_status status = smri_program_build(program, network);
    if (status != SMRI_OK) return status;
    smri_program_fuse(program, network);
    status = smri_program_find_lifetimes(program, network);
    return status == SMRI_OK ? smri_program_lay_out(program) : status;
}
