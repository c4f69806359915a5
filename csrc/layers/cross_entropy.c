/* Softmax cross-entropy with PyTorch's conventions for class weights w and label smoothing e:
 *
 *     loss = sum over rows n of [(1 - e) w_y (-log p_y) + e / K sum over k of w_k (-log p_k)] / sum over n of w_y
 *
 * The batch is small (N x K), so all of it is double in one thread. */
#include "smri/loss.h"

#include <math.h>

static double weight(const struct smri_cross_entropy *options, size_t k) {
    return options->class_weights != NULL ? (double)options->class_weights[k] : 1.0;
}

/* The largest logit's place, the first one on ties, and log sum exp. NaN makes the latter NaN. */
static size_t log_sum_exp(double *out, const float *logits, size_t K) {
    size_t best = 0;
    for (size_t k = 1; k < K; k++)
        if (logits[k] > logits[best]) best = k;
    double sum = 0.0;
    for (size_t k = 0; k < K; k++) sum += exp((double)logits[k] - (double)logits[best]);
    *out = (double)logits[best] + log(sum);
    return best;
}

static smri_status check_labels(double *total_weight, const int32_t *labels, size_t N, size_t K,
                                const struct smri_cross_entropy *options) {
    if (N == 0 || K == 0) return smri_fail(SMRI_ARGUMENT, "cross-entropy: expected at least one row and one class");
    if (!(options->label_smoothing >= 0.0f && options->label_smoothing < 1.0f))
        return smri_fail(SMRI_ARGUMENT, "label_smoothing: expected a value in [0, 1), got %g",
                         (double)options->label_smoothing);
    for (size_t k = 0; options->class_weights != NULL && k < K; k++)
        if (!(options->class_weights[k] >= 0.0f) || !isfinite(options->class_weights[k]))
            return smri_fail(SMRI_ARGUMENT, "class_weights: expected finite numbers of 0 or more, got %g for class %zu",
                             (double)options->class_weights[k], k);
    *total_weight = 0.0;
    for (size_t n = 0; n < N; n++) {
        if (labels[n] < 0 || (size_t)labels[n] >= K)
            return smri_fail(SMRI_ARGUMENT, "labels: expected classes from 0 to %zu, got %d in row %zu", K - 1,
                             (int)labels[n], n);
        *total_weight += weight(options, (size_t)labels[n]);
    }
    if (!(*total_weight > 0.0))
        return smri_fail(SMRI_ARGUMENT, "class_weights: expected a positive sum over the batch, got %g", *total_weight);
    return SMRI_OK;
}

smri_status smri_softmax_cross_entropy(double *loss, size_t *n_correct, float *dlogits, const float *logits,
                                       const int32_t *labels, size_t N, size_t K,
                                       const struct smri_cross_entropy *options) {
    double total_weight = 0.0;
    const smri_status status = check_labels(&total_weight, labels, N, K, options);
    if (status != SMRI_OK) return status;
    const double smoothing = (double)options->label_smoothing;
    double all_weights = 0.0, total = 0.0;
    for (size_t k = 0; k < K; k++) all_weights += weight(options, k);
    *n_correct = 0;
    for (size_t n = 0; n < N; n++) {
        const float *row = logits + n * K;
        const size_t label = (size_t)labels[n];
        const double row_weight = weight(options, label), share = smoothing / (double)K;
        double lse;
        *n_correct += log_sum_exp(&lse, row, K) == label;
        total += (1.0 - smoothing) * row_weight * (lse - (double)row[label]);
        if (smoothing > 0.0)
            for (size_t k = 0; k < K; k++) total += share * weight(options, k) * (lse - (double)row[k]);
        if (dlogits == NULL) continue;
        for (size_t k = 0; k < K; k++) {
            const double p = exp((double)row[k] - lse);
            const double hard = row_weight * (p - (k == label ? 1.0 : 0.0));
            const double smooth = all_weights * p - weight(options, k);
            dlogits[n * K + k] = (float)(((1.0 - smoothing) * hard + share * smooth) / total_weight);
        }
    }
    *loss = total / total_weight;
    return SMRI_OK;
}
