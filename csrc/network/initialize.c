/* Initial weights, torchvision's: convolutions He-normal by fan-out (He et al., "Delving deep into rectifiers", ICCV 2015,
 * equation 14), batch norm 1 and 0, linear layers uniform within 1 / sqrt(fan in), biases too.
 *
 * Values are drawn in PyTorch's order of elements, so that a packed layout may change without changing a result. */
#include "network_internal.h"

#include <math.h>
#include <string.h>

#include "smri/memory.h"
#include "smri/rng.h"

struct initialization {
    smri_network *network;
    uint64_t seed;
    float **plain; /* for each worker, room for the largest param */
};

static bool ends_with(const char *name, const char *end) {
    const size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

static size_t plain_size(const struct smri_parameter *param) {
    size_t size = 1;
    for (size_t i = 0; i < param->ndim; i++) size *= param->shape[i];
    return size;
}

/* Features that enter the linear layer to which param `index`, its weight or its bias, belongs. */
static size_t fan_in(const smri_network *network, size_t index) {
    const struct smri_parameter *param = &network->table[index];
    return param->ndim == 2 ? param->shape[1] : param[-1].shape[1];
}

static void initialize_param(void *context, size_t index, size_t worker) {
    const struct initialization *job = context;
    smri_network *network = job->network;
    const struct smri_parameter *param = &network->table[index];
    float *plain = job->plain[worker];
    const size_t size = plain_size(param);
    const bool in_head = index >= network->n_trained - 2 * network->config.n_head && index < network->n_trained;
    struct smri_rng rng;
    smri_rng_init(&rng, job->seed, 0, index, 0, SMRI_FOR_INIT);
    if (param->ndim == 4) {
        const float deviation = (float)sqrt(2.0 / (double)(param->shape[0] * param->shape[2] * param->shape[3]));
        smri_rng_normals(plain, size, &rng);
        for (size_t i = 0; i < size; i++) plain[i] *= deviation;
    } else if (in_head) {
        const float bound = (float)(1.0 / sqrt((double)fan_in(network, index)));
        for (size_t i = 0; i < size; i++) plain[i] = smri_rng_between(&rng, -bound, bound);
    } else {
        const float value = ends_with(param->name, ".weight") || ends_with(param->name, ".running_var") ? 1.0f : 0.0f;
        for (size_t i = 0; i < size; i++) plain[i] = value;
    }
    smri_network_import(network, index, network->weights, plain);
}

smri_status smri_network_initialize(smri_network *network, uint64_t seed, smri_pool *pool) {
    size_t largest = 0;
    for (size_t i = 0; i < network->n_params; i++) {
        const size_t size = plain_size(&network->table[i]);
        if (size > largest) largest = size;
    }
    const size_t n_workers = smri_pool_size(pool);
    float *plain[SMRI_MAX_THREADS] = {NULL};
    smri_status status = SMRI_OK;
    for (size_t i = 0; i < n_workers && status == SMRI_OK; i++)
        status = smri_aligned_alloc((void **)&plain[i], largest * sizeof(float), "initial weights");
    if (status == SMRI_OK) {
        struct initialization job = {network, seed, plain};
        smri_pool_run(pool, network->n_params, initialize_param, &job);
    }
    for (size_t i = 0; i < n_workers; i++) smri_aligned_free(plain[i]);
    return status;
}
