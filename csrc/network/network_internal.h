/* What a network is made of, for the files of this folder and for training/.
 *
 * A conv_bn is a convolution and the batch norm behind it; a block is two or three conv_bns and a shortcut; a dense is
 * a linear layer of the head. Offsets are floats into the arena of weights (or gradients, or moments), or of buffers. */
#pragma once

#include "smri/conv2d.h"
#include "smri/network.h"
#include "smri/plan.h"
#include "smri/pooling.h"

#define SMRI_BLOCKS_MAX 33 /* ResNet-101: 3 + 4 + 23 + 3 */
#define SMRI_CONV_BNS_MAX 104 /* the stem, three in each block, one in each stage's first shortcut */
#define SMRI_PARAMS_MAX (5 * SMRI_CONV_BNS_MAX + 2 * SMRI_HEAD_MAX)
#define SMRI_BN_EPS 1e-5f /* PyTorch's default, which torchvision's weights assume */

struct smri_conv_bn {
    struct smri_conv2d conv; /* N = 1; a pass puts its own */
    size_t P, Q;             /* rows and columns of the output */
    size_t param;              /* its first param in the table; the name of the layer is there */
    size_t weight, gamma, beta;
    size_t mean, var; /* in the buffers */
};

struct smri_block {
    size_t first, n_conv_bns; /* conv_bns first .. first + n_conv_bns - 1 are the main path */
    bool projects;         /* conv_bn first + n_conv_bns is the shortcut's; else the shortcut is the identity */
    enum smri_stage stage;
};

struct smri_dense {
    size_t in, out;
    size_t weight, bias;
    float dropout;
    bool relu;
};

struct smri_network {
    struct smri_network_config config;
    struct smri_conv_bn conv_bns[SMRI_CONV_BNS_MAX]; /* conv_bns[0] is the stem */
    struct smri_block blocks[SMRI_BLOCKS_MAX];
    struct smri_dense dense[SMRI_HEAD_MAX];
    struct smri_maxpool2d maxpool; /* N = 1 */
    size_t n_conv_bns, n_blocks;
    size_t side, channels; /* of the last stage's output */
    size_t features;       /* numbers that enter the head */
    struct smri_parameter table[SMRI_PARAMS_MAX];
    size_t n_params, n_trained; /* rows, and how many of them are not buffers */
    size_t size, n_decaying;  /* floats of the arena; those rows that decay lie in front of the others */
    size_t n_buffers;         /* floats of the buffers */
    float *weights, *buffers;
};

/* The first conv_bn behind the first `stages` stages (1: behind the stem); their number where there is none. */
static inline size_t smri_network_conv_bn_behind(const struct smri_network *network, size_t stages) {
    if (stages == 0) return 0;
    for (size_t i = 0; i < network->n_blocks; i++)
        if ((size_t)network->blocks[i].stage >= stages) return network->blocks[i].first;
    return network->n_conv_bns;
}
