/* Between PyTorch's layouts and the arena's: export, import, the gray stem, flattened features.
 *
 * Activations are H, W, C; PyTorch flattens C, H, W. The columns of the first linear layer behind a flatten are permuted
 * here, once, so that no pass has to. */
#include "network_internal.h"

#include <string.h>

/* The unit whose convolution this row is, or NULL. */
static const struct smri_unit *convolution_of(const struct smri_network *network, size_t row) {
    if (network->table[row].ndim != 4) return NULL;
    for (size_t i = 0; i < network->n_units; i++)
        if (network->units[i].row == row) return &network->units[i];
    return NULL;
}

/* True for the weight whose columns are flattened features. */
static bool is_flattened(const struct smri_network *network, size_t row) {
    const struct smri_network_config *config = &network->config;
    return config->features == SMRI_FEATURES_FLATTEN && config->n_head > 0 &&
           network->table[row].offset == network->dense[0].weight && network->table[row].ndim == 2;
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

void smri_network_export(const smri_network *network, size_t row, float *plain, const float *arena) {
    const struct smri_parameter *parameter = &network->table[row];
    const struct smri_unit *unit = convolution_of(network, row);
    const float *source = (parameter->is_buffer ? network->buffers : arena) + parameter->offset;
    if (unit != NULL)
        smri_conv2d_unpack(plain, source, &unit->conv);
    else if (is_flattened(network, row))
        channels_first(plain, source, parameter->shape[0], network->side * network->side, network->channels);
    else
        memcpy(plain, source, parameter->floats * sizeof(float));
}

void smri_network_import(smri_network *network, size_t row, float *arena, const float *plain) {
    const struct smri_parameter *parameter = &network->table[row];
    const struct smri_unit *unit = convolution_of(network, row);
    float *target = (parameter->is_buffer ? network->buffers : arena) + parameter->offset;
    if (unit != NULL)
        smri_conv2d_pack(target, plain, &unit->conv);
    else if (is_flattened(network, row))
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
