/* The optimizers' passes in portable C. */
#include "kernels/optimizer/optimizer.h"

#include <math.h>

static void sgd(float *w, float *m, const float *base, const float *g, const struct smri_sgd_constants *k, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float step = g[i] + k->decay * base[i];
        if (m != NULL) {
            m[i] = k->momentum * m[i] + step;
            step = k->nesterov ? step + k->momentum * m[i] : m[i];
        }
        w[i] = base[i] - k->lr * step;
    }
}

static void adamw(float *w, float *m, float *v, const float *base, const float *g, const struct smri_adamw_constants *k,
                  size_t n) {
    for (size_t i = 0; i < n; i++) {
        m[i] = m[i] + k->one_minus_beta1 * (g[i] - m[i]);
        v[i] = k->beta2 * v[i] + k->one_minus_beta2 * (g[i] * g[i]);
        w[i] = k->keep * base[i] - k->rate * m[i] / (sqrtf(v[i]) * k->root + k->eps);
    }
}

static double norm2(const float *g, const float *w, float eta, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double term = w != NULL ? (double)(fabsf(w[i]) + eta) * (double)g[i] : (double)g[i];
        sum += term * term;
    }
    return sum;
}

static void perturb(float *w, float *copy, const float *g, float step, bool adaptive, float eta, bool stream, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float old = w[i], scale = fabsf(old) + eta;
        if (copy != NULL) copy[i] = old;
        w[i] = old + step * (adaptive ? scale * scale * g[i] : g[i]);
    }
}

void smri_optimizer_kernels_ref(struct smri_optimizer_kernels *table) {
    *table = (struct smri_optimizer_kernels){sgd, adamw, norm2, perturb};
}
