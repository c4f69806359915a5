/* ResNets (He et al., "Deep residual learning", CVPR 2016; stride on the 3x3 of a bottleneck, as torchvision) with a head.
 *
 * A network owns one parameter table and one flat array that it describes, plus the batch-norm running statistics. What a
 * pass needs besides, activations and scratch memory, belongs to a plan (plan.h). */
#ifndef SMRI_NETWORK_H
#define SMRI_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/status.h"

SMRI_API_BEGIN

#define SMRI_HEAD_MAX 4
#define SMRI_NAME_MAX 64

enum smri_stage { SMRI_STAGE_STEM, SMRI_STAGE_LAYER1, SMRI_STAGE_LAYER2, SMRI_STAGE_LAYER3, SMRI_STAGE_LAYER4 };

#define SMRI_STAGES (SMRI_STAGE_LAYER4 + 1)

enum smri_features {
    SMRI_FEATURES_AVGPOOL, /* global average pool: 512 or 2048 numbers */
    SMRI_FEATURES_FLATTEN, /* the last stage as it is, in PyTorch's order C, H, W (the seed recipe) */
};

/* One layer of the head, in this order: dropout (p = 0: none), linear, ReLU if asked for. */
struct smri_head_layer {
    size_t out_features;
    float dropout;
    bool relu;
};

struct smri_network_config {
    int depth;          /* 18, 34, 50 or 101 */
    size_t in_channels; /* 1 or 3 */
    size_t image_size;  /* pixels a side, at least 32 */
    enum smri_features features;
    size_t n_head; /* layers in `head`, 0 to SMRI_HEAD_MAX; 0: the output is the features */
    struct smri_head_layer head[SMRI_HEAD_MAX];
    char head_name[16]; /* "fc" -> fc.weight (one layer); "projection" -> projection.0.weight, projection.1.weight, ... */
};

/* One parameter of the table. The external shape is PyTorch's; how it lies in the arena is the network's business. */
struct smri_parameter {
    char name[SMRI_NAME_MAX];
    size_t ndim, shape[4];
    size_t offset, floats; /* its piece of the arena, padding included */
    bool is_buffer;        /* running statistics: not trained, in an arena of their own */
    bool decays;           /* weight of a convolution or linear layer; false for biases and batch norm */
};

typedef struct smri_network smri_network;

/* A network with zeroed weights; call smri_network_initialize or smri_network_import. SMRI_ARGUMENT for a bad config. */
smri_status smri_network_create(smri_network **out, const struct smri_network_config *config);
void smri_network_destroy(smri_network *network);
const struct smri_network_config *smri_network_config_of(const smri_network *network);

/* torchvision's initialisation: convolutions He-normal by fan-out, batch norm 1 and 0, linear layers PyTorch's default
 * (uniform +-1/sqrt(fan_in)). Parameter i draws from stream (seed, sample = i, SMRI_FOR_INIT). SMRI_MEMORY when there is
 * no room for one parameter in PyTorch's layout for each thread. */
smri_status smri_network_initialize(smri_network *network, uint64_t seed, smri_pool *pool);

/* The table: parameters first, then buffers (running_mean, running_var); names are torchvision's. */
const struct smri_parameter *smri_network_table(const smri_network *network, size_t *count);

/* Floats of the trainable arena, and the arena itself (64-byte aligned). */
size_t smri_network_size(const smri_network *network);
float *smri_network_weights(smri_network *network);

/* Copies one parameter between PyTorch's layout and any arena of this network's shape (weights, gradients, moments); for a
 * buffer `arena` is ignored and the network's own buffers are meant. */
void smri_network_export(const smri_network *network, size_t param, float *plain, const float *arena);
void smri_network_import(smri_network *network, size_t param, float *arena, const float *plain);

/* conv1.weight of an RGB network, [64][3][7][7], as that of a one-channel network, [64][1][7][7]: the sum over colours,
 * which gives gray images the output that the RGB network gives them with the gray value in each colour. */
void smri_network_stem_to_gray(float *gray, const float *rgb);

/* Numbers that enter and leave the head, for each image. */
size_t smri_network_feature_count(const smri_network *network);
size_t smri_network_output_count(const smri_network *network);

/* Rows, columns and channels of a stage's output. */
void smri_network_stage_shape(size_t shape[3], const smri_network *network, enum smri_stage stage);

/* Copies features[n][count] as a plan has them (flattened ones are H, W, C there) into PyTorch's order, C, H, W. */
void smri_network_export_features(const smri_network *network, float *plain, const float *features, size_t n);

SMRI_API_END

#endif
