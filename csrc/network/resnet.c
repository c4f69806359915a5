/* The architecture and the parameter table: from a depth to conv_bns, blocks and rows.
 *
 * He et al., "Deep residual learning for image recognition", CVPR 2016, table 1; the stride of a bottleneck sits on its
 * 3x3 convolution and rows are named as in torchvision. Rows that decay are laid in front of the arena, so that an
 * optimizer with weight decay is two loops. */
#include "smri/network.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network/network_internal.h"
#include "smri/memory.h"

struct architecture {
    int depth;
    size_t n_blocks[4];
    bool bottleneck;
};

static const struct architecture architectures[] = {
    {18, {2, 2, 2, 2}, false},
    {34, {3, 4, 6, 3}, false},
    {50, {3, 4, 6, 3}, true},
    {101, {3, 4, 23, 3}, true},
};

static const struct architecture *find_architecture(int depth) {
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (architectures[i].depth == depth) return &architectures[i];
    return NULL;
}

static smri_status check_head(const struct smri_network_config *config) {
    if (config->n_head > SMRI_HEAD_MAX)
        return smri_fail(SMRI_ARGUMENT, "head: expected at most %d layers, got %zu", SMRI_HEAD_MAX, config->n_head);
    for (size_t i = 0; i < config->n_head; i++) {
        const struct smri_head_layer *layer = &config->head[i];
        if (layer->out_features == 0)
            return smri_fail(SMRI_ARGUMENT, "head layer %zu: expected at least 1 output feature, got 0", i);
        if (!(layer->dropout >= 0.0f && layer->dropout < 1.0f))
            return smri_fail(SMRI_ARGUMENT, "head layer %zu: expected dropout in [0, 1), got %g", i, (double)layer->dropout);
    }
    const char *name = config->head_name;
    size_t length = 0;
    while (length < sizeof config->head_name && (isalnum((unsigned char)name[length]) || name[length] == '_')) length++;
    if (length == 0 || length == sizeof config->head_name || name[length] != '\0')
        return smri_fail(SMRI_ARGUMENT, "head_name: expected 1 to %zu letters, digits or underscores",
                         sizeof config->head_name - 1);
    return SMRI_OK;
}

static smri_status check_config(const struct smri_network_config *config) {
    if (find_architecture(config->depth) == NULL)
        return smri_fail(SMRI_ARGUMENT, "depth: expected 18, 34, 50 or 101, got %d", config->depth);
    if (config->in_channels != 1 && config->in_channels != 3)
        return smri_fail(SMRI_ARGUMENT, "in_channels: expected 1 or 3, got %zu", config->in_channels);
    if (config->image_size < 32)
        return smri_fail(SMRI_ARGUMENT, "image_size: expected at least 32 pixels, got %zu", config->image_size);
    if (config->features != SMRI_FEATURES_AVGPOOL && config->features != SMRI_FEATURES_FLATTEN)
        return smri_fail(SMRI_ARGUMENT, "features: expected avgpool or flatten, got %d", (int)config->features);
    return check_head(config);
}

__attribute__((format(SMRI_PRINTF, 2, 3))) static void print_name(char name[SMRI_NAME_MAX], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(name, SMRI_NAME_MAX, format, arguments);
    va_end(arguments);
    assert(length > 0 && length < SMRI_NAME_MAX);
    (void)length;
}

/* Appends a param; its place in the arena follows in lay_out. */
static struct smri_parameter *add_param(struct smri_network *network, const char *layer, const char *what, size_t ndim,
                                      const size_t *shape) {
    assert(network->n_params < SMRI_PARAMS_MAX && ndim <= 4);
    struct smri_parameter *param = &network->table[network->n_params++];
    print_name(param->name, "%s.%s", layer, what);
    param->ndim = ndim;
    param->floats = 1;
    for (size_t i = 0; i < ndim; i++) {
        param->shape[i] = shape[i];
        param->floats *= shape[i];
    }
    return param;
}

/* A convolution and its batch norm: weight, gamma and beta; returns the conv_bn's output by its P, Q and conv.K. */
static const struct smri_conv_bn *add_unit(struct smri_network *network, const char *conv, const char *norm,
                                        const struct smri_conv2d *shape) {
    assert(network->n_conv_bns < SMRI_CONV_BNS_MAX);
    struct smri_conv_bn *conv_bn = &network->conv_bns[network->n_conv_bns++];
    conv_bn->conv = *shape;
    conv_bn->P = smri_conv2d_out_rows(shape);
    conv_bn->Q = smri_conv2d_out_cols(shape);
    conv_bn->param = network->n_params;
    struct smri_parameter *weight = add_param(network, conv, "weight", 4, (size_t[]){shape->K, shape->C, shape->R, shape->S});
    weight->floats = smri_conv2d_packed_size(shape);
    weight->decays = true;
    add_param(network, norm, "weight", 1, &shape->K);
    add_param(network, norm, "bias", 1, &shape->K);
    return conv_bn;
}

static void add_stem(struct smri_network *network) {
    const size_t size = network->config.image_size;
    const struct smri_conv2d conv = {1, size, size, network->config.in_channels, 64, 7, 7, 2, 3, SMRI_FP32};
    const struct smri_conv_bn *stem = add_unit(network, "conv1", "bn1", &conv);
    network->maxpool = (struct smri_maxpool2d){1, stem->P, stem->Q, 64, 3, 2, 1, SMRI_FP32};
    network->side = smri_maxpool2d_out_rows(&network->maxpool);
    network->channels = 64;
}

/* One block: 3x3, 3x3 (basic) or 1x1, 3x3, 1x1 with four times the width at its end (bottleneck). */
static void add_block(struct smri_network *network, const char *prefix, size_t width, size_t stride, bool bottleneck,
                      enum smri_stage stage) {
    assert(network->n_blocks < SMRI_BLOCKS_MAX);
    struct smri_block *block = &network->blocks[network->n_blocks++];
    const size_t n_conv_bns = bottleneck ? 3 : 2, out = bottleneck ? 4 * width : width;
    *block = (struct smri_block){network->n_conv_bns, n_conv_bns, stride != 1 || network->channels != out, stage};
    char conv[SMRI_NAME_MAX], norm[SMRI_NAME_MAX];
    size_t side = network->side, channels = network->channels;
    for (size_t i = 0; i < n_conv_bns; i++) {
        const size_t window = bottleneck && i != 1 ? 1 : 3;
        const size_t step = i == n_conv_bns - 2 ? stride : 1; /* the 3x3 of a bottleneck, the first of a basic block */
        const size_t K = i == n_conv_bns - 1 ? out : width;
        print_name(conv, "%s.conv%zu", prefix, i + 1);
        print_name(norm, "%s.bn%zu", prefix, i + 1);
        const struct smri_conv2d shape = {1, side, side, channels, K, window, window, step, window / 2, SMRI_FP32};
        side = add_unit(network, conv, norm, &shape)->P;
        channels = K;
    }
    if (block->projects) {
        print_name(conv, "%s.downsample.0", prefix);
        print_name(norm, "%s.downsample.1", prefix);
        const struct smri_conv2d shape = {1, network->side, network->side, network->channels, out, 1, 1, stride, 0,
                                          SMRI_FP32};
        add_unit(network, conv, norm, &shape);
    }
    network->side = side;
    network->channels = channels;
}

static void add_stages(struct smri_network *network) {
    const struct architecture *architecture = find_architecture(network->config.depth);
    for (size_t stage = 0; stage < 4; stage++) {
        for (size_t i = 0; i < architecture->n_blocks[stage]; i++) {
            char prefix[SMRI_NAME_MAX];
            print_name(prefix, "layer%zu.%zu", stage + 1, i);
            add_block(network, prefix, (size_t)64 << stage, stage > 0 && i == 0 ? 2 : 1, architecture->bottleneck,
                      (enum smri_stage)(SMRI_STAGE_LAYER1 + stage));
        }
    }
}

static smri_status add_head(struct smri_network *network) {
    const struct smri_network_config *config = &network->config;
    const bool flatten = config->features == SMRI_FEATURES_FLATTEN;
    network->features = network->channels * (flatten ? network->side * network->side : 1);
    size_t in = network->features;
    for (size_t i = 0; i < config->n_head; i++) {
        const struct smri_head_layer *layer = &config->head[i];
        char name[SMRI_NAME_MAX];
        if (config->n_head == 1)
            print_name(name, "%s", config->head_name);
        else
            print_name(name, "%s.%zu", config->head_name, i);
        size_t floats; /* a wish for 2^60 outputs is the caller's mistake, not an overflow of ours */
        const smri_status status = smri_size_product(&floats, name, 3, (size_t[]){layer->out_features, in, sizeof(float)});
        if (status != SMRI_OK) return status;
        network->dense[i] = (struct smri_dense){.in = in, .out = layer->out_features, .dropout = layer->dropout,
                                                .relu = layer->relu};
        network->dense[i].weight = network->n_params; /* the param for now; lay_out turns it into the offset */
        add_param(network, name, "weight", 2, (size_t[]){layer->out_features, in})->decays = true;
        add_param(network, name, "bias", 1, &layer->out_features);
        in = layer->out_features;
    }
    return SMRI_OK;
}

static void add_buffers(struct smri_network *network) {
    network->n_trained = network->n_params;
    for (size_t i = 0; i < network->n_conv_bns; i++) {
        struct smri_conv_bn *conv_bn = &network->conv_bns[i];
        char norm[SMRI_NAME_MAX];
        print_name(norm, "%s", network->table[conv_bn->param + 1].name);
        *strrchr(norm, '.') = '\0';
        struct smri_parameter *mean = add_param(network, norm, "running_mean", 1, &conv_bn->conv.K);
        mean->is_buffer = true;
        conv_bn->mean = mean->offset = network->n_buffers;
        struct smri_parameter *var = add_param(network, norm, "running_var", 1, &conv_bn->conv.K);
        var->is_buffer = true;
        conv_bn->var = var->offset = conv_bn->mean + conv_bn->conv.K;
        network->n_buffers = conv_bn->var + conv_bn->conv.K;
    }
}

static smri_status place_rows(struct smri_network *network, bool decays) {
    for (size_t i = 0; i < network->n_trained; i++) {
        struct smri_parameter *param = &network->table[i];
        if (param->decays != decays) continue;
        param->offset = network->size;
        if (!smri_size_add(network->size, smri_align(param->floats * sizeof(float)) / sizeof(float), &network->size))
            return smri_fail(SMRI_MEMORY, "network: the size of %s overflows this machine's address range", param->name);
    }
    return SMRI_OK;
}

/* Every trained param begins on a cache line; rows that decay first. */
static smri_status lay_out(struct smri_network *network) {
    smri_status status = place_rows(network, true);
    network->n_decaying = network->size;
    if (status == SMRI_OK) status = place_rows(network, false);
    if (status != SMRI_OK) return status;
    for (size_t i = 0; i < network->n_conv_bns; i++) {
        struct smri_conv_bn *conv_bn = &network->conv_bns[i];
        conv_bn->weight = network->table[conv_bn->param].offset;
        conv_bn->gamma = network->table[conv_bn->param + 1].offset;
        conv_bn->beta = network->table[conv_bn->param + 2].offset;
    }
    for (size_t i = 0; i < network->config.n_head; i++) {
        struct smri_dense *dense = &network->dense[i];
        dense->bias = network->table[dense->weight + 1].offset;
        dense->weight = network->table[dense->weight].offset;
    }
    return SMRI_OK;
}

smri_status smri_network_create(smri_network **out, const struct smri_network_config *config) {
    *out = NULL;
    smri_status status = check_config(config);
    if (status != SMRI_OK) return status;
    struct smri_network *network = calloc(1, sizeof *network);
    if (network == NULL) return smri_fail(SMRI_MEMORY, "network: memory refused by the system");
    network->config = *config;
    const struct smri_conv2d stem = {1, config->image_size, config->image_size, config->in_channels, 64, 7, 7, 2, 3,
                                     SMRI_FP32};
    status = smri_conv2d_check(&stem); /* the largest activations: no later size can overflow for one image */
    if (status == SMRI_OK) {
        add_stem(network);
        add_stages(network);
        status = add_head(network);
    }
    if (status == SMRI_OK) {
        add_buffers(network);
        status = lay_out(network);
    }
    size_t bytes;
    if (status == SMRI_OK) status = smri_size_product(&bytes, "network weights", 2, (size_t[]){network->size, sizeof(float)});
    if (status == SMRI_OK) status = smri_aligned_alloc((void **)&network->weights, bytes, "network weights");
    if (status == SMRI_OK)
        status = smri_aligned_alloc((void **)&network->buffers, network->n_buffers * sizeof(float), "running statistics");
    if (status != SMRI_OK) {
        smri_network_destroy(network);
        return status;
    }
    *out = network;
    return SMRI_OK;
}

void smri_network_destroy(smri_network *network) {
    if (network == NULL) return;
    smri_aligned_free(network->weights);
    smri_aligned_free(network->buffers);
    free(network);
}

const struct smri_network_config *smri_network_config_of(const smri_network *network) { return &network->config; }

const struct smri_parameter *smri_network_table(const smri_network *network, size_t *count) {
    *count = network->n_params;
    return network->table;
}

size_t smri_network_size(const smri_network *network) { return network->size; }

float *smri_network_weights(smri_network *network) { return network->weights; }

size_t smri_network_feature_count(const smri_network *network) { return network->features; }

size_t smri_network_output_count(const smri_network *network) {
    const size_t n = network->config.n_head;
    return n > 0 ? network->dense[n - 1].out : network->features;
}

void smri_network_stage_shape(size_t shape[3], const smri_network *network, enum smri_stage stage) {
    shape[0] = smri_maxpool2d_out_rows(&network->maxpool);
    shape[1] = smri_maxpool2d_out_cols(&network->maxpool);
    shape[2] = network->maxpool.C;
    for (size_t i = 0; i < network->n_blocks && network->blocks[i].stage <= stage; i++) {
        const struct smri_conv_bn *last = &network->conv_bns[network->blocks[i].first + network->blocks[i].n_conv_bns - 1];
        shape[0] = last->P;
        shape[1] = last->Q;
        shape[2] = last->conv.K;
    }
}
