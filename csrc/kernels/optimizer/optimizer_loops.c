/* The optimizers' passes, for vectors of any width: every array is read and written once. */
#include "kernels/lanes.h"
#include "kernels/optimizer/optimizer.h"

SMRI_INLINE floats get(const float *p, size_t i, size_t n) { return vload(p, i, n, SMRI_FP32); }
SMRI_INLINE void put(float *p, size_t i, floats v, size_t n, bool stream) {
    if (stream && n == SMRI_LANES) vstore_nt(p, i, v, SMRI_FP32);
    else vstore(p, i, v, n, SMRI_FP32);
}

static bool is_streamable(const float *p) { return (uintptr_t)p % (SMRI_LANES * sizeof *p) == 0; }

SMRI_INLINE void sgd_lanes(float *w, float *m, const float *base, const float *g, const struct smri_sgd_constants *k,
                           size_t i, size_t n) {
    const floats start = get(base, i, n), momentum = vset1(k->momentum);
    floats step = vfma(vset1(k->decay), start, get(g, i, n));
    if (m != NULL) {
        const floats moved = vfma(momentum, get(m, i, n), step);
        put(m, i, moved, n, false);
        step = k->nesterov ? vfma(momentum, moved, step) : moved;
    }
    put(w, i, vfnma(vset1(k->lr), step, start), n, k->stream);
}

static void sgd(float *w, float *m, const float *base, const float *g, const struct smri_sgd_constants *k, size_t n) {
    struct smri_sgd_constants local = *k; /* so that stores cannot touch it */
    local.stream = k->stream && w != base && is_streamable(w);
    if (m != NULL) SMRI_FOR_VECTORS(n, sgd_lanes, w, m, base, g, &local);
    else SMRI_FOR_VECTORS(n, sgd_lanes, w, NULL, base, g, &local);
    smri_store_fence();
}

SMRI_INLINE void adamw_lanes(float *w, float *m, float *v, const float *base, const float *g,
                             const struct smri_adamw_constants *k, size_t i, size_t n) {
    const floats gradient = get(g, i, n);
    floats first = get(m, i, n), second = get(v, i, n);
    first = vfma(vset1(k->one_minus_beta1), gradient - first, first);
    const floats square = gradient * gradient;
    second = vfma(vset1(k->one_minus_beta2), square, vset1(k->beta2) * second);
    const floats below = vfma(vsqrt(second), vset1(k->root), vset1(k->eps));
    const floats move = vset1(k->rate) * first / below;
    put(m, i, first, n, false);
    put(v, i, second, n, false);
    put(w, i, vfms(vset1(k->keep), get(base, i, n), move), n, k->stream);
}

static void adamw(float *w, float *m, float *v, const float *base, const float *g, const struct smri_adamw_constants *k,
                  size_t n) {
    struct smri_adamw_constants local = *k;
    local.stream = k->stream && w != base && is_streamable(w);
    SMRI_FOR_VECTORS(n, adamw_lanes, w, m, v, base, g, &local);
    smri_store_fence();
}

/* Independent sums of squares, since one would wait for its own addition. */
SMRI_INLINE void add_squares(doubles sums[2], const float *g, const float *w, floats eta, size_t i, size_t n) {
    const floats v = get(g, i, n);
    doubles low = low_half(v), high = high_half(v);
    if (w != NULL) {
        const floats by = vabs(get(w, i, n)) + eta;
        low = low * low_half(by);
        high = high * high_half(by);
    }
    sums[0] = vfma_double(low, low, sums[0]);
    sums[1] = vfma_double(high, high, sums[1]);
}

static double norm2(const float *g, const float *w, float eta, size_t n) {
    const floats more = vset1(eta);
    doubles sums[4] = {vset1_double(0.0), vset1_double(0.0), vset1_double(0.0), vset1_double(0.0)};
    size_t i = 0;
    for (; i + 2 * SMRI_LANES <= n; i += 2 * SMRI_LANES) {
        add_squares(sums, g, w, more, i, SMRI_LANES);
        add_squares(sums + 2, g, w, more, i + SMRI_LANES, SMRI_LANES);
    }
    for (; i < n; i += SMRI_LANES)
        add_squares(sums, g, w, more, i, n - i < SMRI_LANES ? n - i : SMRI_LANES);
    return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

SMRI_INLINE void perturb_lanes(float *w, float *copy, const float *g, floats step, bool adaptive, floats eta, bool stream,
                               size_t i, size_t n) {
    const floats old = get(w, i, n);
    if (copy != NULL) put(copy, i, old, n, stream);
    floats move = get(g, i, n);
    const floats scale = vabs(old) + eta;
    if (adaptive) move = scale * scale * move;
    put(w, i, vfma(step, move, old), n, false);
}

static void perturb(float *w, float *copy, const float *g, float step, bool adaptive, float eta, bool stream, size_t n) {
    const floats by = vset1(step), more = vset1(eta);
    stream = stream && is_streamable(copy);
    SMRI_FOR_VECTORS(n, perturb_lanes, w, copy, g, by, adaptive, more, stream);
    smri_store_fence();
}

void SMRI_FILLER(smri_optimizer_kernels)(struct smri_optimizer_kernels *table) {
    *table = (struct smri_optimizer_kernels){sgd, adamw, norm2, perturb};
}
