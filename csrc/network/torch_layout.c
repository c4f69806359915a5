/* Between PyTorch's layouts and the arena's: export, import, the gray stem, flattened features.
 *
 * Activations are H, W, C; PyTorch flattens C, H, W. The columns of the first linear layer behind a flatten are permuted
 * here, once, so that no pass has to. */
#include "network_internal.h"

#include <string.h>

/* The conv_bn whose convolution this param is, or NULL. */
static const struct smri_conv_bn *convolution_of(const struct smri_network *network, size_t param) {
    if (network->table[param].ndim != 4) return NULL;
    for (size_t i = 0; i < network->n_conv_bns; i++)
        if (network->conv_bns[i].param == param) return &network->conv_bns[i];
    return NULL;
}

/* True for the weight whose columns are flattened features. */
static bool is_flattened(const struct smri_network *network, size_t param) {
    const struct smri_network_config *config = &network->config;
    return config->features == SMRI_FEATURES_FLATTEN && config->n_head > 0 &&
           network->table[param].offset == network->dense[0].weight && network->table[param].ndim == 2;
}

/* [rows][pixels][C] -> [rows][C][pixels]. */
static void channels_first(float *out, const float *in, size_t rows, size_t pixels, size_t C) {
    for (size_t row = 0; row < rows; row++, out += pixels * C, in += pixels * C)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < pixels; p++) out[c * pixels + p] = in[p * C + c];
}

static void channels_last(float *out, const float *in, size_t rows, size_t pixels, size_t C) {
    for (size_t row = 0; row < rows; row++, out += pixels * C, in += pixels * C)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < pixels; p++) out[p * C + c] = in[c * pixels + p];
}

void smri_network_export(const smri_network *network, size_t param, float *plain, const float *arena) {
    const struct smri_parameter *parameter = &network->table[param];
    const struct smri_conv_bn *conv_bn = convolution_of(network, param);
    const float *source = (parameter->is_buffer ? network->buffers : arena) + parameter->offset;
    if (conv_bn != NULL)
        smri_conv2d_unpack(plain, source, &conv_bn->conv);
    else if (is_flattened(network, param))
        channels_first(plain, source, parameter->shape[0], network->side * network->side, network->channels);
    else
        memcpy(plain, source, parameter->floats * sizeof(float));
}

void smri_network_import(smri_network *network, size_t param, float *arena, const float *plain) {
    const struct smri_parameter *parameter = &network->table[param];
    const struct smri_conv_bn *conv_bn = convolution_of(network, param);
    float *target = (parameter->is_buffer ? network->buffers : arena) + parameter->offset;
    if (conv_bn != NULL)
        smri_conv2d_pack(target, plain, &conv_bn->conv);
    else if (is_flattened(network, param))
        channels_last(target, plain, parameter->shape[0], network->side * network->side, network->channels);
    else
        memcpy(target, plain, parameter->floats * sizeof(float));
}

void smri_network_stem_to_gray(float *gray, const float *rgb) {
    const size_t K = 64, window = 7 * 7;
    for (size_t k = 0; k < K; k++)
        for (size_t i = 0; i < window; i++) {
            const float *at = rgb + k * 3 * window + i;
            gray[k * window + i] = at[0] + at[window] + at[2 * window];
        }
}

void smri_network_export_features(const smri_network *network, float *plain, const float *features, size_t n) {
    if (network->config.features == SMRI_FEATURES_FLATTEN)
        channels_first(plain, features, n, network->side * network->side, network->channels);
    else
        memcpy(plain, features, n * network->features * sizeof(float));
}
