/* A pass as a program: a list of operations on values, written before anything is allocated.
 *
 * A value is one activation, gradient or piece of scratch memory. It lives from the first operation that names it to the
 * last, unless pinned; the layout (memory_planner.c) gives values that do not live together the same bytes. The
 * program is the only list: measuring, allocating, running and timing read it. */
#ifndef SMRI_NETWORK_PROGRAM_H
#define SMRI_NETWORK_PROGRAM_H

#include "network_internal.h"

/* Training ResNet-101 with four layers in the head takes 648 operations, and fewer than twice as many values. */
#define SMRI_OPS_MAX 1024
#define SMRI_VALUES_MAX 2048

enum smri_op_kind {
    SMRI_OP_NARROW,           /* out = x rounded to bf16 */
    SMRI_OP_WIDEN,            /* out = x, from bf16 to fp32 */
    SMRI_OP_CONV,             /* out = conv(x); if there are sums, those of its STATISTICS on the way */
    SMRI_OP_CONV_NORMALISED,  /* out (+)= scale * conv(x) + shift, ReLU if asked (INFER) */
    SMRI_OP_STATISTICS,       /* batch statistics of x, from sums if CONV has made them; and the conv_bn's scale and shift */
    SMRI_OP_SCALE_SHIFT_ADD_RELU,           /* out = scale * x + shift (+ aux,
                                                                        normalised by aux_conv_bn if there is one), ReLU if asked,
                               * mask = where it let through, if named */
    SMRI_OP_MAXPOOL,          /* out, aux (winners) = maxpool(x) */
    SMRI_OP_AVGPOOL,          /* out = mean of x */
    SMRI_OP_DROPOUT,          /* out = mask * x / (1 - p) */
    SMRI_OP_LINEAR,           /* out = x w^T + b */
    SMRI_OP_RELU,             /* out = max(0, x) */
    SMRI_OP_RELU_BACKWARD,    /* out = dy where x > 0 */
    SMRI_OP_NORM_BACKWARD,    /* out = dx from dy and x; with ReLU if asked; with a mask from aux = mask * dy; from sums if
                               * reduced_by has made them, aux included */
    SMRI_OP_CONV_DATA,        /* out (+)= dx from dy; if there is reduces_bn_of, sums for its NORM_BACKWARD on the way,
        from its x,
                               * mask and aux. If dense, of the pixels alone that a strided 1x1 looks at; what is added to is
                               * such a one, `scatter`, if named */
    SMRI_OP_CONV_WEIGHTS,     /* the conv_bn's weight gradient from x and dy */
    SMRI_OP_MAXPOOL_BACKWARD, /* out from dy and aux */
    SMRI_OP_AVGPOOL_BACKWARD, /* out from dy */
    SMRI_OP_LINEAR_BACKWARD,  /* out from dy and x, and the layer's gradients (not in an EXPLAIN program) */
    SMRI_OP_KINDS
};

/* Values that are not in the arena. */
enum { SMRI_VALUE_NONE, SMRI_VALUE_IMAGES, SMRI_VALUE_DOUTPUT, SMRI_VALUE_FIRST };

struct smri_op {
    enum smri_op_kind kind;
    bool relu, accumulate;
    bool compact_pointwise;    /* CONV_DATA */
    bool overlaps; /* the next operation may begin before this one is done: they name different values */
    short conv_bn; /* of the network's conv_bns; of its dense layers for DROPOUT, LINEAR and LINEAR_BACKWARD */
    /* Other conv_bns, 0 (the stem) for none: */
    short aux_conv_bn; /* SCALE_SHIFT_ADD_RELU: that normalises aux */
    short x_conv_bn;   /* CONV: whose norm and ReLU x is to pass */
    short reduces_bn_of;  /* CONV_DATA: whose norm is next */
    short reduced_by;  /* NORM_BACKWARD: whose CONV_DATA has made the sums; STATISTICS: whose CONV, its own conv_bn's */
    /* Other operations, 0 for none: an SCALE_SHIFT_ADD_RELU or NORM_BACKWARD leaves its last pass to the convolution
     * that reads its out, which makes it part by part; unless it turns out that there are no parts (execute.c). */
    short fused_into, fused_producer;
    short scatter_of; /* CONV_DATA: which conv_bn's dx spread is */
    short out, x, dy, aux, mask, scratch, sums, scatter;
    size_t numbers; /* NARROW, WIDEN, RELU, RELU_BACKWARD: how many an image */
};

struct smri_value {
    size_t bytes;
    size_t offset;
    short first, last; /* operations; first > last: never named */
};

/* Where a stage can be looked at (EXPLAIN): its output, the gradient with respect to it, and the operation before which
 * both are there. */
struct smri_tap {
    short activations, gradients, stop;
};

struct smri_program {
    struct smri_op ops[SMRI_OPS_MAX];
    struct smri_value values[SMRI_VALUES_MAX];
    short n_ops, n_values;
    short n_forward; /* operations before the backward pass */
    short output, features;
    short per_thread;         /* the threads' own memory of all convolutions, one after the other; as long as the program */
    size_t per_thread_stride; /* of each thread */
    /* INFER: the first n_prefix operations run over prefix_images at a time, so that what they write is still in the cache
     * when it is read; only prefix_out, of prefix_bytes an image, holds all of a batch. 0 operations: none. */
    short n_prefix, prefix_out;
    size_t prefix_images, prefix_bytes;
    struct smri_tap taps[SMRI_STAGE_LAYER4 + 1];
    size_t arena_bytes; /* set by smri_program_lay_out */
};

/* Writes the program; SMRI_MEMORY when a size overflows. */
smri_status smri_program_write(struct smri_program *program, const smri_network *network,
                               const struct smri_plan_config *config, size_t n_threads);

/* Gives every value its offset, and the program its arena_bytes. */
smri_status smri_program_lay_out(struct smri_program *program);

/* What running a program needs besides; the pointers are borrowed. */
struct smri_run {
    const struct smri_program *program;
    const smri_network *network;
    char *arena;
    float *statistics;           /* of each conv_bn, groups x K each: mean, var, scale, shift */
    const size_t *statistics_at; /* where each conv_bn's begin */
    const float *images, *doutput;
    float *gradients; /* NULL: not wanted (EXPLAIN) */
    size_t n, groups;
    size_t first; /* image of prefix_out where this part of a batch begins */
    enum smri_plan_kind kind;
    enum smri_precision precision;
    struct smri_masks masks;
    smri_pool *threads;
    double *seconds; /* for each operation, how long it took */
};

/* Runs operations first .. end - 1; SMRI_INTERRUPTED when poll says so between two of them. */
smri_status smri_program_run(const struct smri_run *run, short first, short end, struct smri_poll poll);

/* Scale and shift of every conv_bn from the running statistics (INFER, EXPLAIN). */
void smri_program_fold_running(const struct smri_run *run);

/* mean of a conv_bn's statistics; var, scale and shift follow, each groups x K floats further. */
static inline float *smri_run_statistics(const struct smri_run *run, size_t conv_bn, size_t which) {
    return run->statistics + run->statistics_at[conv_bn] + which * run->groups * run->network->conv_bns[conv_bn].conv.K;
}

#endif
