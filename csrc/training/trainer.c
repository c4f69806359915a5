/* The training step: forward, loss, backward, update, and SAM's second pass between.
 *
 * SAM (Foret et al., ICLR 2021, algorithm 1) and ASAM (Kwon et al., ICML 2021): gradients at w, a step of length rho up the
 * slope, gradients there, back to w, and the base optimizer with those. Both passes draw the same dropout masks, and only
 * the first one's batch statistics reach the running ones.
 *
 * Nothing of a model changes before the step is known to succeed, but for running statistics and SAM's excursion, which are
 * undone from copies. */
#include "smri/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "smri/memory.h"
#include "smri/optimizer.h"
#include "training/trainer_internal.h"

/* Every allocation but the plan, in one list for measuring, creating and freeing. */
struct piece {
    void **at;
    size_t bytes;
    const char *what;
};
#define N_PIECES 13

static bool has_rates(const struct smri_trainer_config *config) {
    return config->stage_rates != NULL || config->frozen_stages > 0;
}

/* The factors of stages and head, by row of the table; 0 for what is frozen. */
static void spread_rates(double *rates, const smri_network *network, const struct smri_trainer_config *config) {
    const double *given = config->stage_rates;
    for (size_t i = 0; i < network->n_trained; i++) rates[i] = given != NULL ? given[SMRI_STAGES] : 1.0;
    for (size_t stage = 0; stage < SMRI_STAGES; stage++) {
        const double factor = given != NULL ? given[stage] : 1.0;
        const size_t end = smri_network_conv_bn_behind(network, stage + 1);
        for (size_t u = smri_network_conv_bn_behind(network, stage); u < end; u++)
            for (size_t i = 0; i < 3; i++) /* weight, gamma, beta */
                rates[network->conv_bns[u].param + i] = stage < config->frozen_stages ? 0.0 : factor;
    }
}

/* SMRI_MEMORY when a size overflows: of the plan, which sees micro-batches, none need do so. */
static smri_status list_pieces(struct piece pieces[N_PIECES], struct smri_trainer *trainer, const smri_network *network,
                               const struct smri_trainer_config *config) {
    const size_t arena = network->size * sizeof(float), outputs = smri_network_output_count(network);
    const struct smri_deal deal = smri_deal_of(config, config->batch);
    const size_t n_ranks = config->comm != NULL ? config->comm->size : 0, n_mine = deal.end - deal.first;
    size_t rows, loss, statistics;
    smri_status status = smri_size_product(&rows, "outputs", 3, (size_t[]){config->batch, outputs, sizeof(float)});
    if (status == SMRI_OK) status = smri_ntxent_workspace_bytes(&loss, config->batch / 2 + config->batch % 2, outputs);
    if (status == SMRI_OK)
        status = smri_size_product(&statistics, "statistics", 3,
                                   (size_t[]){n_ranks > 0 ? deal.n_parts : 0, network->n_buffers, sizeof(float)});
    if (status != SMRI_OK) return status;
    const bool sharp = config->sharpness != SMRI_PLAIN;
    const struct piece list[N_PIECES] = {
        {(void **)&trainer->gradients, arena, "gradients"},
        {(void **)&trainer->moments[0], arena, "optimizer state"},
        {(void **)&trainer->moments[1], config->optimizer == SMRI_ADAMW ? arena : 0, "optimizer state"},
        {(void **)&trainer->part_gradients, (smri_tree_arenas(n_mine) - 1) * arena, "gradients of micro-batches"},
        {(void **)&trainer->kept_weights, sharp ? arena : 0, "SAM's copy of the weights"},
        {(void **)&trainer->kept_buffers, network->n_buffers * sizeof(float), "copy of the statistics"},
        {(void **)&trainer->output, rows, "outputs"},
        {(void **)&trainer->pass_output, rows, "outputs of a pass"},
        {(void **)&trainer->doutput, rows, "gradient of the outputs"},
        {&trainer->loss_workspace, loss, "loss workspace"},
        {(void **)&trainer->param_rates, has_rates(config) ? network->n_trained * sizeof(double) : 0, "rates"},
        {(void **)&trainer->statistics, statistics, "statistics of micro-batches"},
        {(void **)&trainer->bounds, n_ranks > 0 ? (n_ranks + 1) * sizeof(size_t) : 0, "bounds of the ranks"},
    };
    memcpy(pieces, list, sizeof list);
    return SMRI_OK;
}

static struct smri_plan_config plan_config(const struct smri_trainer_config *config) {
    return (struct smri_plan_config){.kind = SMRI_PLAN_TRAIN,
                                     .batch = smri_part_size(config),
                                     .bn_groups = config->bn_groups,
                                     .frozen_stages = config->frozen_stages,
                                     .precision = config->precision};
}

static smri_status check_config(const struct smri_trainer_config *config) {
    if (config->batch == 0) return smri_fail(SMRI_ARGUMENT, "batch: expected at least 1 image, got 0");
    if ((unsigned)config->optimizer > SMRI_LARS || (unsigned)config->sharpness > SMRI_ASAM_AUTHORS)
        return smri_fail(SMRI_ARGUMENT, "trainer: unknown optimizer %d or sharpness %d", (int)config->optimizer,
                         (int)config->sharpness);
    if ((unsigned)config->wire >= SMRI_PRECISIONS)
        return smri_fail(SMRI_ARGUMENT, "wire: expected fp32 or bf16, got %d", (int)config->wire);
    if (!(config->weight_decay >= 0.0) || !isfinite((float)config->weight_decay))
        return smri_fail(SMRI_ARGUMENT, "weight_decay: expected a finite number of 0 or more, got %g", config->weight_decay);
    if (!(config->bn_momentum >= 0.0f && config->bn_momentum <= 1.0f))
        return smri_fail(SMRI_ARGUMENT, "bn_momentum: expected a number in [0, 1], got %g", (double)config->bn_momentum);
    if (config->optimizer == SMRI_ADAMW && !(config->beta2 >= 0.0 && config->beta2 < 1.0))
        return smri_fail(SMRI_ARGUMENT, "beta2: expected a number in [0, 1), got %g", config->beta2);
    if (config->optimizer == SMRI_ADAMW && !((float)config->eps > 0.0f && isfinite((float)config->eps)))
        return smri_fail(SMRI_ARGUMENT, "eps: expected a positive number, got %g", config->eps);
    for (size_t i = 0; config->stage_rates != NULL && i <= SMRI_STAGES; i++)
        if (!(config->stage_rates[i] >= 0.0) || !isfinite((float)config->stage_rates[i]))
            return smri_fail(SMRI_ARGUMENT, "stage_rates: expected finite numbers of 0 or more, got %g", config->stage_rates[i]);
    if (config->micro_batch > config->batch)
        return smri_fail(SMRI_ARGUMENT, "micro_batch: expected at most the batch, %zu, got %zu", config->batch,
                         config->micro_batch);
    if (config->micro_batch != 0 && config->bn_groups != 1)
        return smri_fail(SMRI_ARGUMENT,
                         "bn_groups: expected 1 with micro-batches, which have statistics of their own, got %zu",
                         config->bn_groups);
    if (config->comm != NULL && config->comm->rank >= config->comm->size)
        return smri_fail(SMRI_ARGUMENT, "comm: expected a rank below %zu, got %zu", config->comm->size, config->comm->rank);
    if (config->comm != NULL && config->comm->size > 1 && config->micro_batch == 0)
        return smri_fail(SMRI_ARGUMENT, "micro_batch: expected a number for %zu ranks, which share micro-batches, got 0",
                         config->comm->size);
    return SMRI_OK;
}

smri_status smri_trainer_measure(size_t *bytes, const smri_network *network, const struct smri_trainer_config *config,
                                 size_t n_threads) {
    const struct smri_plan_config plan = plan_config(config);
    smri_status status = check_config(config);
    if (status == SMRI_OK) status = smri_plan_measure(bytes, network, &plan, n_threads);
    if (status != SMRI_OK) return status;
    struct smri_trainer trainer;
    struct piece pieces[N_PIECES];
    status = list_pieces(pieces, &trainer, network, config);
    bool fits = status == SMRI_OK && smri_size_add(*bytes, sizeof trainer, bytes);
    for (size_t i = 0; i < N_PIECES && fits; i++) fits = smri_size_add(*bytes, pieces[i].bytes, bytes);
    return fits || status != SMRI_OK ? status : smri_fail(SMRI_MEMORY, "trainer: the size overflows this machine's address range");
}

smri_status smri_trainer_create(smri_trainer **out, smri_network *network, const struct smri_trainer_config *config,
                                smri_pool *pool) {
    *out = NULL;
    smri_status status = check_config(config);
    if (status != SMRI_OK) return status;
    struct smri_trainer *trainer = calloc(1, sizeof *trainer);
    if (trainer == NULL) return smri_fail(SMRI_MEMORY, "trainer: memory refused by the system");
    trainer->config = *config;
    trainer->network = network;
    trainer->pool = pool;
    const struct smri_plan_config plan = plan_config(config);
    status = smri_plan_create(&trainer->plan, network, &plan, pool);
    if (status == SMRI_OK) {
        struct piece pieces[N_PIECES];
        status = list_pieces(pieces, trainer, network, config);
        for (size_t i = 0; i < N_PIECES && status == SMRI_OK; i++)
            status = smri_aligned_alloc_shared(pieces[i].at, pieces[i].bytes, pieces[i].what, pool);
    }
    if (status == SMRI_OK && has_rates(config)) spread_rates(trainer->param_rates, network, config);
    if (status != SMRI_OK) {
        smri_trainer_destroy(trainer);
        return status;
    }
    *out = trainer;
    return SMRI_OK;
}

void smri_trainer_destroy(smri_trainer *trainer) {
    if (trainer == NULL) return;
    struct piece pieces[N_PIECES];
    if (list_pieces(pieces, trainer, trainer->network, &trainer->config) == SMRI_OK) /* else none was allocated */
        for (size_t i = 0; i < N_PIECES; i++) smri_aligned_free(*pieces[i].at);
    smri_plan_destroy(trainer->plan);
    free(trainer);
}

size_t smri_trainer_bytes(const smri_trainer *trainer) {
    struct smri_trainer unused;
    struct piece pieces[N_PIECES];
    size_t bytes = sizeof *trainer + smri_plan_bytes(trainer->plan);
    if (list_pieces(pieces, &unused, trainer->network, &trainer->config) != SMRI_OK) return bytes; /* never: it was created */
    for (size_t i = 0; i < N_PIECES; i++) bytes += pieces[i].bytes;
    return bytes;
}

static smri_status check_step(const smri_trainer *trainer, const struct smri_step *step) {
    if (!isfinite((float)step->lr)) return smri_fail(SMRI_ARGUMENT, "lr: expected a finite number, got %g", step->lr);
    if (!(step->momentum >= 0.0 && (float)step->momentum < 1.0f))
        return smri_fail(SMRI_ARGUMENT, "momentum: expected a number in [0, 1), got %g", step->momentum);
    if (!(step->rho >= 0.0f) || !isfinite(step->rho))
        return smri_fail(SMRI_ARGUMENT, "rho: expected a finite number of 0 or more, got %g", (double)step->rho);
    if (step->rho > 0.0f && trainer->config.sharpness == SMRI_PLAIN)
        return smri_fail(SMRI_ARGUMENT, "rho: expected 0 in a trainer without SAM, got %g", (double)step->rho);
    return SMRI_OK;
}

/* The two views of SimCLR fill whole micro-batches, so that none has images of both unless all have. */
static smri_status check_images(const smri_trainer *trainer, size_t n, bool in_pairs) {
    const struct smri_trainer_config *config = &trainer->config;
    const size_t batch = config->batch, unit = in_pairs && config->micro_batch != 0 ? config->micro_batch : config->bn_groups;
    if (n > 0 && n <= batch && n % unit == 0) return SMRI_OK;
    return smri_fail(SMRI_SHAPE, "images: expected 1 to %zu, a multiple of %zu, got %zu", batch, unit, n);
}

/* Floats begin .. end - 1 of the arena, and how the ascent is scaled there. */
struct ascent_span {
    size_t begin, end;
    bool adaptive;
    float eta;
};

static bool is_weight(const struct smri_parameter *row) {
    const char *dot = strrchr(row->name, '.');
    return strcmp(dot != NULL ? dot + 1 : row->name, "weight") == 0;
}

/* The whole arena at once, but for ASAM_AUTHORS, where weights and biases lie side by side behind those that decay. */
static size_t list_spans(struct ascent_span spans[SMRI_PARAMS_MAX + 1], const smri_network *network,
                         enum smri_sharpness sharpness) {
    if (sharpness != SMRI_ASAM_AUTHORS) {
        spans[0] = (struct ascent_span){0, network->size, sharpness == SMRI_ASAM, 0.0f};
        return 1;
    }
    size_t count = 0;
    spans[count++] = (struct ascent_span){0, network->n_decaying, true, SMRI_ASAM_ETA};
    for (size_t i = 0; i < network->n_params; i++) {
        const struct smri_parameter *row = &network->table[i];
        if (!row->is_buffer && !row->decays)
            spans[count++] = (struct ascent_span){row->offset, row->offset + row->floats, is_weight(row), SMRI_ASAM_ETA};
    }
    return count;
}

static smri_status measure_gradients(smri_trainer *trainer, double *norm, enum smri_sharpness sharpness,
                                     const struct smri_step *step) {
    const smri_network *network = trainer->network;
    struct ascent_span spans[SMRI_PARAMS_MAX + 1];
    const size_t count = list_spans(spans, network, sharpness);
    double norm2 = 0.0;
    for (const struct ascent_span *s = spans; s < spans + count; s++)
        norm2 += smri_gradient_norm2(trainer->gradients + s->begin, network->weights + s->begin, s->adaptive, s->eta,
                                     s->end - s->begin, trainer->pool);
    *norm = sqrt(norm2);
    return isfinite(*norm) ? SMRI_OK : smri_trainer_refuse("norm of the gradients", *norm, step);
}

/* The second pass, at w + rho * (direction of steepest ascent). On success the weights are still there, and the update
 * starts from the copy; on failure they are back at w. */
static smri_status run_second_pass(smri_trainer *trainer, double norm, const float *images,
                                   const struct smri_objective *objective, const struct smri_step *step,
                                   struct smri_poll poll) {
    smri_network *network = trainer->network;
    struct ascent_span spans[SMRI_PARAMS_MAX + 1];
    const size_t count = list_spans(spans, network, trainer->config.sharpness);
    for (const struct ascent_span *s = spans; s < spans + count; s++)
        smri_sam_perturb(network->weights + s->begin, trainer->kept_weights + s->begin, trainer->gradients + s->begin,
                         step->rho, norm, s->adaptive, s->eta, s->end - s->begin, trainer->pool);
    struct smri_step_result there;
    smri_status status = smri_trainer_run_pass(trainer, &there, images, objective, step, false, poll);
    if (status == SMRI_OK) status = measure_gradients(trainer, &there.gradient_norm, SMRI_PLAIN, step);
    if (status != SMRI_OK) memcpy(network->weights, trainer->kept_weights, network->size * sizeof(float));
    return status;
}

/* The base optimizer on floats begin .. end - 1 of the arena, from `start` (NULL: from the weights as they are), with `rate`
 * times the step's learning rate. LARS adapts that where the floats are one weight (`is_tensor`). */
static void update_part(smri_trainer *trainer, size_t begin, size_t end, bool decays, const float *start,
                        const struct smri_step *step, double rate, bool is_tensor) {
    const struct smri_trainer_config *config = &trainer->config;
    float *weights = trainer->network->weights + begin, *m = trainer->moments[0] + begin;
    const float *gradients = trainer->gradients + begin;
    const double weight_decay = decays ? config->weight_decay : 0.0, lr = step->lr * rate;
    if (start != NULL) start += begin;
    if (config->optimizer == SMRI_LARS && is_tensor) {
        const struct smri_lars lars = {(float)lr, (float)step->momentum, (float)weight_decay, SMRI_LARS_TRUST, start};
        smri_lars_step(weights, m, gradients, &lars, end - begin, trainer->pool);
    } else if (config->optimizer != SMRI_ADAMW) {
        const bool nesterov = config->nesterov && config->optimizer == SMRI_SGD;
        const struct smri_sgd sgd = {(float)lr, (float)step->momentum, (float)weight_decay, nesterov, start};
        smri_sgd_step(weights, m, gradients, &sgd, end - begin, trainer->pool);
    } else {
        const struct smri_adamw adamw = {
            lr, step->momentum, config->beta2, config->eps, weight_decay, trainer->step_count, start};
        smri_adamw_step(weights, m, trainer->moments[1] + begin, gradients, &adamw, end - begin, trainer->pool);
    }
}

static void update(smri_trainer *trainer, const float *start, const struct smri_step *step) {
    const smri_network *network = trainer->network;
    const double *rates = trainer->param_rates;
    trainer->step_count++;
    if (rates == NULL && trainer->config.optimizer != SMRI_LARS) {
        update_part(trainer, 0, network->n_decaying, true, start, step, 1.0, false);
        update_part(trainer, network->n_decaying, network->size, trainer->config.decay_all, start, step, 1.0, false);
        return;
    }
    for (size_t i = 0; i < network->n_trained; i++) {
        const struct smri_parameter *row = &network->table[i];
        const size_t begin = row->offset;
        const double rate = rates != NULL ? rates[i] : 1.0;
        const bool decays = row->decays || trainer->config.decay_all;
        if (rate > 0.0)
            update_part(trainer, begin, begin + row->floats, decays, start, step, rate, row->decays);
        else if (start != NULL) /* back from SAM's excursion */
            memcpy(trainer->network->weights + begin, start + begin, row->floats * sizeof(float));
    }
}

static smri_status run_step(smri_trainer *trainer, struct smri_step_result *result, const float *images,
                            const struct smri_objective *objective, const struct smri_step *step, struct smri_poll poll) {
    const struct smri_trainer_config *config = &trainer->config;
    smri_network *network = trainer->network;
    const bool sharp = config->sharpness != SMRI_PLAIN && step->rho > 0.0f; /* rho = 0 is the base optimizer */
    struct smri_step_result first = {0};
    smri_status status = check_step(trainer, step);
    if (status == SMRI_OK) status = check_images(trainer, objective->n_images, objective->ntxent != NULL);
    if (status != SMRI_OK) return status;
    memcpy(trainer->kept_buffers, network->buffers, network->n_buffers * sizeof(float));
    status = smri_trainer_run_pass(trainer, &first, images, objective, step, true, poll);
    if (status == SMRI_OK) status = measure_gradients(trainer, &first.gradient_norm, config->sharpness, step);
    if (status == SMRI_OK) {
        const size_t outputs = smri_network_output_count(network);
        memcpy(trainer->output, trainer->pass_output, objective->n_images * outputs * sizeof(float));
        trainer->n = objective->n_images;
    }
    if (status == SMRI_OK && sharp)
        status = run_second_pass(trainer, first.gradient_norm, images, objective, step, poll);
    if (status != SMRI_OK) {
        memcpy(network->buffers, trainer->kept_buffers, network->n_buffers * sizeof(float));
        return status;
    }
    update(trainer, sharp ? trainer->kept_weights : NULL, step);
    *result = first;
    return SMRI_OK;
}

void smri_trainer_rows(const smri_trainer *trainer, size_t n, size_t *begin, size_t *end) {
    *begin = *end = 0;
    if (n == 0) return;
    const struct smri_deal deal = smri_deal_of(&trainer->config, n);
    *begin = smri_deal_image(&deal, deal.first);
    *end = smri_deal_image(&deal, deal.end);
}

smri_status smri_trainer_simclr_step(smri_trainer *trainer, struct smri_step_result *result, const float *views,
                                     size_t n_pairs, const struct smri_ntxent *options, const struct smri_step *step,
                                     struct smri_poll poll) {
    if (n_pairs == 0 || n_pairs > trainer->config.batch / 2)
        return smri_fail(SMRI_SHAPE, "views: expected 1 to %zu pairs, got %zu", trainer->config.batch / 2, n_pairs);
    if (!(options->temperature > 0.0f) || !isfinite(options->temperature))
        return smri_fail(SMRI_ARGUMENT, "temperature: expected a positive number, got %g", (double)options->temperature);
    const struct smri_objective objective = {.n_images = 2 * n_pairs, .ntxent = options};
    return run_step(trainer, result, views, &objective, step, poll);
}

smri_status smri_trainer_supervised_step(smri_trainer *trainer, struct smri_step_result *result, const float *images,
                                         const int32_t *labels, size_t n, const struct smri_cross_entropy *options,
                                         const struct smri_step *step, struct smri_poll poll) {
    const size_t n_classes = smri_network_output_count(trainer->network);
    for (size_t i = 0; i < n; i++)
        if (labels[i] < 0 || (size_t)labels[i] >= n_classes)
            return smri_fail(SMRI_ARGUMENT, "labels: expected numbers in [0, %zu), got %d at %zu", n_classes,
                             (int)labels[i], i);
    const struct smri_objective objective = {.n_images = n, .cross_entropy = options, .labels = labels};
    return run_step(trainer, result, images, &objective, step, poll);
}

const float *smri_trainer_output(const smri_trainer *trainer, size_t *n, size_t *size) {
    *n = trainer->n;
    *size = smri_network_output_count(trainer->network);
    return trainer->output;
}

const float *smri_trainer_gradients(const smri_trainer *trainer) { return trainer->gradients; }

float *smri_trainer_state(smri_trainer *trainer, size_t index, const char **name) {
    const bool adamw = trainer->config.optimizer == SMRI_ADAMW;
    if (index > (adamw ? 1u : 0u)) return NULL;
    *name = !adamw ? "momentum" : index == 0 ? "exp_avg" : "exp_avg_sq";
    return trainer->moments[index];
}

uint64_t *smri_trainer_step_count(smri_trainer *trainer) { return &trainer->step_count; }

const struct smri_op_time *smri_trainer_times(smri_trainer *trainer, size_t *count) {
    return smri_plan_times(trainer->plan, count);
}
