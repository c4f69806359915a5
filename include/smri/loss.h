/* The two losses, each with its gradient in closed form.
 *
 * NT-Xent (Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020, section 2.1):
 * with u_i = z_i / |z_i| and s_ij = u_i . u_j / temperature, the loss of row i with positive p(i) is
 *     -s_ip + log sum over j != i of exp(s_ij),
 * 2N - 1 terms, averaged over the 2N rows.
 *
 * Standardised (batch norm without parameters, as at the end of the authors' projection head): each of the D columns of z is
 * first brought to mean 0 and variance 1 over the rows. Without it, giving all images one embedding is a state that a
 * run can fall into and that has almost no gradient; with it that state does not exist. */
#ifndef SMRI_LOSS_H
#define SMRI_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/status.h"

SMRI_API_BEGIN

struct smri_ntxent {
    float temperature;
    /* [2 n_pairs], or NULL: rows i and j of one subject, groups[i] == groups[j], are no negatives of each other; the
     * positive always counts. */
    const int32_t *groups;
    bool standardize;
};

/* SMRI_MEMORY when the size overflows. */
smri_status smri_ntxent_workspace_bytes(size_t *bytes, size_t n_pairs, size_t D);

/* z[2 n_pairs][D]: rows i and i + n_pairs are the two views of one image. *loss and dz (NULL: not wanted) are
 * overwritten. SMRI_ARGUMENT when temperature <= 0 or n_pairs == 0. A row's norm counts as 1e-12 at least, as in
 * torch.nn.functional.normalize: no division by zero. NaN or infinity in z makes the loss NaN. */
smri_status smri_ntxent(double *loss, float *dz, const float *z, size_t n_pairs, size_t D,
                        const struct smri_ntxent *options, void *workspace, smri_pool *pool);

/* y[rows][D]: columns of z as (z - mean) scale with scale[D] = 1 / sqrt(var + 1e-5), overwritten; y may be z.
 * Backward: dz may be dy, y and scale are what forward gave. */
void smri_standardize(float *y, float *scale, const float *z, size_t rows, size_t D, smri_pool *pool);
void smri_standardize_backward(float *dz, const float *dy, const float *y, const float *scale, size_t rows, size_t D,
                               smri_pool *pool);

struct smri_cross_entropy {
    const float *class_weights; /* [K], or NULL for ones */
    float label_smoothing;      /* in [0, 1) */
};

/* Mean over N rows of the weighted cross-entropy of softmax(logits[N][K]) and labels[N] in [0, K), with PyTorch's
 * conventions: the mean divides by the sum of the labels' weights. dlogits (NULL: not wanted) is overwritten; *n_correct
 * counts rows whose largest logit (the first, on ties) is the label. SMRI_ARGUMENT for a label out of range. */
smri_status smri_softmax_cross_entropy(double *loss, size_t *n_correct, float *dlogits, const float *logits,
                                       const int32_t *labels, size_t N, size_t K, const struct smri_cross_entropy *options);

SMRI_API_END

#endif
