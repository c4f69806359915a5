/* A pass as a program: a list of operations on values for exactly n images, written before anything is allocated.
 *
 *     build.c      the operations one by one, as a textbook's ResNet reads
 *     fuse.c       neighbours that can be done on the way are; the results have the same bits
 *     lifetimes.c  scratch memory, and from which operation to which each value lives
 *     memory_planner.c   values that do not live together get the same bytes
 *     execute.c    runs the list
 *
 * A value is one activation, gradient or piece of scratch memory. The program is the only list: measuring, allocating, running
 * and timing read it. */
#pragma once

#include "network_internal.h"

/* Training ResNet-101 with four layers in the head takes 751 operations, and fewer than twice as many values. */
#define SMRI_OPS_MAX 1024
#define SMRI_VALUES_MAX 2048
#define SMRI_NO_UNIT (-1)
#define SMRI_NO_OP (-1)

enum smri_op_kind {
    SMRI_OP_NARROW,               /* out = x rounded to bf16 */
    SMRI_OP_WIDEN,                /* out = x, from bf16 to fp32 */
    SMRI_OP_CONV,                 /* out = conv(x) */
    SMRI_OP_CONV_NORMALISED,      /* out (+)= scale * conv(x) + shift, ReLU if asked (INFER) */
    SMRI_OP_STATISTICS,           /* batch statistics of x, and from them the unit's scale and shift */
    SMRI_OP_SCALE_SHIFT_ADD_RELU, /* out = scale * x + shift (+ residual), ReLU if asked; mask: where it let through */
    SMRI_OP_MAXPOOL,              /* out, winners = maxpool(x) */
    SMRI_OP_AVGPOOL,              /* out = mean of x */
    SMRI_OP_DROPOUT,              /* out = random mask * x / (1 - p) */
    SMRI_OP_LINEAR,               /* out = x w^T + b */
    SMRI_OP_RELU,                 /* out = max(0, x) */
    SMRI_OP_RELU_BACKWARD,        /* out = dy where x > 0 */
    SMRI_OP_NORM_BACKWARD,        /* out = dx from dy and x; behind a ReLU: relu, or with its mask, then ds = mask * dy */
    SMRI_OP_CONV_DATA,            /* out (+)= dx from dy */
    SMRI_OP_CONV_WEIGHTS,         /* the unit's weight gradient from x and dy */
    SMRI_OP_MAXPOOL_BACKWARD,     /* out from dy and winners */
    SMRI_OP_AVGPOOL_BACKWARD,     /* out from dy */
    SMRI_OP_LINEAR_BACKWARD,      /* out from dy and x, and the layer's gradients (not in an EXPLAIN program) */
    SMRI_OP_TAP,                  /* nothing: a caller may stop here and look at a stage's output x and its gradient dy */
    SMRI_OP_KINDS
};

/* Values that are not in the arena. */
enum { SMRI_VALUE_NONE, SMRI_VALUE_IMAGES, SMRI_VALUE_DOUTPUT, SMRI_VALUE_FIRST };

struct smri_op {
    enum smri_op_kind kind;
    size_t n;       /* images */
    size_t numbers; /* NARROW, WIDEN, RELU, RELU_BACKWARD: how many an image */
    bool relu, accumulate;
    short unit; /* the network's conv_bn; its dense layer for DROPOUT, LINEAR and LINEAR_BACKWARD; the stage of a TAP */
    short residual_unit; /* SCALE_SHIFT_ADD_RELU: whose norm the residual passes first; NO_UNIT: none */
    short out, x, dy, residual, mask, ds, winners, scratch; /* values */

    /* fuse.c. A convolution may do for its neighbours, part by part while a part is in a cache: */
    short producer;      /* CONV, CONV_DATA: the operation whose last pass writes x, or dy; that one is_produced */
    short reduces;       /* CONV, CONV_DATA: the norm whose first pass sums up what this one writes; that one is_reduced */
    bool is_produced, is_reduced;
    bool overlaps;   /* the next operation may begin before this one is done: they touch different values */
    enum smri_conv2d_method method; /* of a convolution */
    /* A convolution: the parts in which its method works. A norm: those in which the first pass takes its sums, whoever does
     * it, so that the bits are the same. 0: there are none. */
    size_t part_rows;
};

struct smri_value {
    size_t bytes;
    size_t offset;
    short first, last; /* operations; first > last: never named */
};

/* Operations begin .. end - 1, `count` times, each time over the next op->n images. */
struct smri_segment {
    short begin, end;
    size_t count, images;
};

struct smri_program {
    struct smri_plan_config config; /* batch: for exactly so many images */
    size_t n_threads;
    struct smri_op ops[SMRI_OPS_MAX];
    struct smri_value values[SMRI_VALUES_MAX];
    short n_ops, n_values;
    short n_forward; /* operations before the backward pass */
    short output, features;
    short per_thread;         /* the threads' own memory of all convolutions, one after the other; as long as the program */
    size_t per_thread_stride; /* of each thread */
    /* INFER, or a frozen first stage: it is done over a few images at a time, so that what it writes is still in the cache when it is
     * read, and then once over those that are left; only prefix_out, of prefix_bytes an image, holds all of a batch. */
    struct smri_segment prefix[2];
    short n_prefix; /* operations of both */
    short prefix_out;
    size_t prefix_bytes;
    size_t arena_bytes;
};

/* Writes the program for config->batch images: the four steps above. SMRI_MEMORY when a size overflows. */
smri_status smri_program_write(struct smri_program *program, const smri_network *network,
                               const struct smri_plan_config *config, size_t n_threads);

/* The steps. build writes operations and values; lay_out sets offsets and arena_bytes. */
smri_status smri_program_build(struct smri_program *program, const smri_network *network);
void smri_program_fuse(struct smri_program *program, const smri_network *network);
smri_status smri_program_find_lifetimes(struct smri_program *program, const smri_network *network);
smri_status smri_program_lay_out(struct smri_program *program);

/* The values that operation `at` reads or writes, for itself and for its neighbours. Returns how many. */
#define SMRI_OP_VALUES_MAX 24
size_t smri_op_values(short values[SMRI_OP_VALUES_MAX], const struct smri_program *program, short at);

/* The shapes of an operation's convolution and batch norm. */
enum smri_conv2d_direction smri_op_direction(const struct smri_op *op);
struct smri_conv2d smri_op_conv(const struct smri_program *program, const smri_network *network, const struct smri_op *op);
struct smri_batchnorm2d smri_op_norm(const struct smri_program *program, const smri_network *network,
                                     const struct smri_op *op);

static inline bool smri_op_is_conv(const struct smri_op *op) {
    return op->kind == SMRI_OP_CONV || op->kind == SMRI_OP_CONV_NORMALISED || op->kind == SMRI_OP_CONV_DATA ||
           op->kind == SMRI_OP_CONV_WEIGHTS;
}

/* A new value of the arena; *status, unless it is an error already, becomes one when the size overflows. */
short smri_program_new_value(struct smri_program *program, smri_status *status, size_t images, size_t numbers,
                             size_t bytes_each);

/* What running a program needs besides; the pointers are borrowed. */
struct smri_run {
    const struct smri_program *program;
    const smri_network *network;
    char *arena;
    float *statistics;           /* of each conv_bn, groups x K each: mean, var, scale, shift */
    const size_t *statistics_at; /* where each conv_bn's begin */
    const float *images, *doutput;
    float *gradients; /* NULL: not wanted (EXPLAIN) */
    size_t first; /* image of prefix_out where this part of a batch begins */
    struct smri_masks masks;
    smri_pool *threads;
    double *seconds; /* for each operation, how long it took */
    short *n_done;   /* operations that are done, none of which is still running */
};

/* Runs operations first .. end - 1; SMRI_INTERRUPTED when poll says so between two of them. */
smri_status smri_program_run(const struct smri_run *run, short first, short end, struct smri_poll poll);

/* Scale and shift of every conv_bn from the running statistics (INFER, EXPLAIN). */
void smri_program_fold_running(const struct smri_run *run);

/* mean of a conv_bn's statistics; var, scale and shift follow, each groups x K floats further. */
static inline float *smri_run_statistics(const struct smri_run *run, size_t conv_bn, size_t which) {
    return run->statistics + run->statistics_at[conv_bn] +
           which * run->program->config.bn_groups * run->network->conv_bns[conv_bn].conv.K;
}
