/* Tests' area layers_norm: batch normalisation pass by pass, ReLU, dropout and pooling. Activations are float32 arrays or, for
 * bfloat16, uint16 ones; all of a call's are of one precision. The package trains through the network; these entries are
 * for tests, benchmarks and the curious. */
#include "../call.h"

#include "testing.h"

#include "smri/activation.h"
#include "smri/batchnorm2d.h"
#include "smri/pooling.h"

#define PARSE(format, ...) PyArg_ParseTupleAndKeywords(arguments, keywords, format, names, __VA_ARGS__)

/* Reads x[groups][rows][C] into shape and dims. */
static const void *panel(struct smri_call *call, PyObject *object, struct smri_batchnorm2d *shape, npy_intp dims[3]) {
    dims[0] = dims[1] = dims[2] = -1;
    enum smri_precision precision;
    const void *x = smri_call_activations(call, object, "x", 3, dims, &precision);
    smri_call_check(call, dims[0] > 0 && dims[1] > 0 && dims[2] > 0, "x: expected no empty dimension");
    if (!call->failed) *shape = (struct smri_batchnorm2d){(size_t)dims[0], (size_t)dims[1], (size_t)dims[2], precision};
    return x;
}

/* An argument of x's precision; NULL for None. */
static const void *same(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *dims,
                        enum smri_precision precision) {
    if (object == NULL || object == Py_None) return NULL;
    return smri_call_typed(call, object, what, smri_precision_type(precision), ndim, dims);
}

/* The sums by parts, from the last one to the first and 64 columns at a time, as a convolution may make them. */
static void sum_parts(void (*sum)(void *parts, size_t first, size_t rows, size_t channel, size_t channels),
                      const struct smri_batchnorm2d_gradient *from, const struct smri_batchnorm2d *shape, size_t part_rows,
                      void *workspace) {
    struct smri_batchnorm2d_parts parts = {NULL, from, shape, part_rows, workspace};
    const size_t rows = shape->groups * shape->rows;
    for (size_t part = smri_chunk_count(rows, part_rows); part-- > 0;)
        for (size_t c = 0; c < shape->C; c += 64)
            sum(&parts, part * part_rows, smri_chunk_end(rows, part_rows, part) - part * part_rows, c,
                shape->C - c < 64 ? shape->C - c : 64);
}

static PyObject *batchnorm_statistics(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"x", "n_threads", "part_rows", NULL};
    PyObject *x_object;
    Py_ssize_t n_threads = 1, part_rows = 0;
    if (!PARSE("O|nn", &x_object, &n_threads, &part_rows)) return NULL;
    struct smri_call call = {.module = module};
    struct smri_batchnorm2d shape = {0};
    npy_intp dims[3];
    const void *x = panel(&call, x_object, &shape, dims);
    const npy_intp channels[2] = {dims[0], dims[2]};
    float *mean = smri_call_new(&call, NPY_FLOAT32, 2, channels), *var = smri_call_new(&call, NPY_FLOAT32, 2, channels);
    smri_call_check(&call, part_rows >= 0, "part_rows: expected 0 or more, got %zd", part_rows);
    const struct smri_batchnorm2d_gradient from = {.x = x};
    const size_t bytes = call.failed     ? 0
                         : part_rows > 0 ? smri_batchnorm2d_parts_workspace_bytes(&shape, (size_t)part_rows)
                                         : smri_batchnorm2d_workspace_bytes(&shape, (size_t)n_threads);
    if (smri_call_begin(&call, n_threads, bytes)) {
        if (part_rows > 0) sum_parts(smri_batchnorm2d_moments_part, &from, &shape, (size_t)part_rows, call.workspace);
        smri_batchnorm2d_statistics(mean, var, x, &shape, (size_t)part_rows, call.workspace, call.pool);
    }
    return smri_call_end(&call);
}

static PyObject *batchnorm_update_running(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"running_mean", "running_var", "mean", "var", "momentum", "rows", NULL};
    PyObject *running_mean_object, *running_var_object, *mean_object, *var_object;
    float momentum;
    Py_ssize_t rows;
    if (!PARSE("OOOOfn", &running_mean_object, &running_var_object, &mean_object, &var_object, &momentum, &rows)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp C[1] = {-1};
    float *running_mean = smri_call_inout(&call, running_mean_object, "running_mean", 1, C);
    float *running_var = smri_call_inout(&call, running_var_object, "running_var", 1, C);
    npy_intp dims[2] = {-1, C[0]};
    const float *mean = smri_call_need(&call, mean_object, "mean", 2, dims);
    const float *var = smri_call_need(&call, var_object, "var", 2, dims);
    smri_call_check(&call, rows > 0, "rows: expected at least 1, got %zd", rows);
    if (!call.failed) {
        const struct smri_batchnorm2d shape = {(size_t)dims[0], (size_t)rows, (size_t)dims[1], SMRI_FP32};
        smri_batchnorm2d_update_running(running_mean, running_var, mean, var, momentum, &shape);
    }
    return smri_call_end(&call);
}

static PyObject *batchnorm_fold(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"gamma", "beta", "mean", "var", "eps", NULL};
    PyObject *gamma_object, *beta_object, *mean_object, *var_object;
    float eps = 1e-5f;
    if (!PARSE("OOOO|f", &gamma_object, &beta_object, &mean_object, &var_object, &eps)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp dims[2] = {-1, -1};
    const float *mean = smri_call_need(&call, mean_object, "mean", 2, dims);
    const float *var = smri_call_need(&call, var_object, "var", 2, dims);
    const float *gamma = smri_call_need(&call, gamma_object, "gamma", 1, dims + 1);
    const float *beta = smri_call_need(&call, beta_object, "beta", 1, dims + 1);
    float *scale = smri_call_new(&call, NPY_FLOAT32, 2, dims), *shift = smri_call_new(&call, NPY_FLOAT32, 2, dims);
    if (!call.failed) {
        const struct smri_batchnorm2d shape = {(size_t)dims[0], 1, (size_t)dims[1], SMRI_FP32};
        smri_batchnorm2d_fold(scale, shift, gamma, beta, mean, var, eps, &shape);
    }
    return smri_call_end(&call);
}

/* All rows, `part_rows` at a time, from the last part to the first: made without keeping, then again and kept. */
static void make_parts(void (*make)(void *producer, void *part, size_t first, size_t rows, bool keep), void *producer,
                       void *made,
                       size_t part_rows, const struct smri_batchnorm2d *shape) {
    const size_t rows = shape->groups * shape->rows;
    for (size_t part = smri_chunk_count(rows, part_rows); part-- > 0;)
        for (int keep = 0; keep < 2; keep++) {
            const size_t first = part * part_rows;
            make(producer, smri_elem(made, first * shape->C, shape->precision), first,
                 smri_chunk_end(rows, part_rows, part) - first, keep);
        }
}

static PyObject *scale_shift_add_relu(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"x", "scale", "shift", "residual", "residual_scale", "residual_shift", "relu", "n_threads",
                            "out", "mask", "made", "made_rows", NULL};
    PyObject *x_object, *scale_object, *shift_object, *residual = NULL, *residual_scale = NULL, *residual_shift = NULL;
    PyObject *out = NULL, *made = NULL;
    int relu = 0, mask = 0;
    Py_ssize_t n_threads = 1, made_rows = 0;
    if (!PARSE("OOO|OOOpnOpOn", &x_object, &scale_object, &shift_object, &residual, &residual_scale, &residual_shift, &relu,
               &n_threads, &out, &mask, &made, &made_rows))
        return NULL;
    struct smri_call call = {.module = module};
    struct smri_batchnorm2d shape = {0};
    npy_intp dims[3];
    struct smri_scale_shift_add_relu terms = {.x = panel(&call, x_object, &shape, dims), .relu = relu != 0};
    npy_intp channels[2] = {dims[0], dims[2]};
    const npy_intp bits[3] = {dims[0], dims[1], (npy_intp)smri_mask_bytes(shape.C)};
    terms.scale = smri_call_need(&call, scale_object, "scale", 2, channels);
    terms.shift = smri_call_need(&call, shift_object, "shift", 2, channels);
    terms.residual = same(&call, residual, "residual", 3, dims, shape.precision);
    terms.residual_scale = smri_call_in(&call, residual_scale, "residual_scale", 2, channels);
    terms.residual_shift = smri_call_in(&call, residual_shift, "residual_shift", 2, channels);
    smri_call_check(&call, (terms.residual_scale == NULL) == (terms.residual_shift == NULL),
                    "residual_scale, residual_shift: give both or none");
    smri_call_check(&call, !mask || relu, "mask: there is one with relu only");
    void *y = smri_call_out_activations(&call, out, "out", 3, dims, shape.precision);
    call.in_place[0] = terms.x;
    call.in_place[1] = terms.residual;
    if (mask) terms.mask = smri_call_new(&call, NPY_UINT8, 3, bits);
    void *parts = smri_call_inout_activations(&call, made, "made", 3, dims, shape.precision);
    smri_call_check(&call, (parts != NULL) == (made_rows > 0), "made, made_rows: give both or none");
    struct smri_scale_shift_call map = {y, &terms, &shape};
    if (smri_call_begin(&call, n_threads, 0)) {
        if (parts != NULL) make_parts(smri_scale_shift_produce, &map, parts, (size_t)made_rows, &shape);
        else smri_scale_shift_add_relu(y, &terms, &shape, call.pool);
    }
    return smri_call_end(&call);
}

static PyObject *batchnorm_backward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"dy", "x", "gamma", "mean", "var", "scale", "shift", "eps", "relu", "n_threads", "fixed",
                            "out", "mask", "ds", "part_rows", "made", "made_rows", NULL};
    PyObject *dy, *x, *gamma, *mean, *var, *scale, *shift, *out = NULL, *mask = NULL, *ds = NULL, *made = NULL;
    int relu = 0, fixed = 0;
    Py_ssize_t n_threads = 1, part_rows = 0, made_rows = 0;
    struct smri_batchnorm2d_gradient from = {.eps = 1e-5f};
    if (!PARSE("OOOOOOO|fpnpOOOnOn", &dy, &x, &gamma, &mean, &var, &scale, &shift, &from.eps, &relu, &n_threads, &fixed, &out,
               &mask, &ds, &part_rows, &made, &made_rows))
        return NULL;
    struct smri_call call = {.module = module};
    struct smri_batchnorm2d shape = {0};
    npy_intp dims[3];
    from.x = panel(&call, x, &shape, dims);
    npy_intp channels[2] = {dims[0], dims[2]}, bits[3] = {dims[0], dims[1], (npy_intp)smri_mask_bytes(shape.C)};
    from.dy = same(&call, dy, "dy", 3, dims, shape.precision);
    from.gamma = smri_call_need(&call, gamma, "gamma", 1, channels + 1);
    from.mean = smri_call_need(&call, mean, "mean", 2, channels);
    from.var = smri_call_need(&call, var, "var", 2, channels);
    from.scale = smri_call_need(&call, scale, "scale", 2, channels);
    from.shift = smri_call_need(&call, shift, "shift", 2, channels);
    from.relu = relu != 0;
    smri_call_check(&call, !fixed || dims[0] == 1, "fixed statistics: expected one group");
    smri_call_check(&call, part_rows == 0 || (part_rows > 0 && !fixed), "part_rows: expected 0, or more without fixed");
    smri_call_check(&call, !relu || mask == NULL || mask == Py_None, "relu, mask: give one of them");
    void *dx = smri_call_out_activations(&call, out, "out", 3, dims, shape.precision);
    call.in_place[0] = from.dy;
    float *dgamma = smri_call_new(&call, NPY_FLOAT32, 1, channels + 1);
    float *dbeta = smri_call_new(&call, NPY_FLOAT32, 1, channels + 1);
    if (mask != NULL && mask != Py_None) {
        from.mask = smri_call_typed(&call, mask, "mask", NPY_UINT8, 3, bits);
        from.ds = smri_call_out_activations(&call, ds, "ds", 3, dims, shape.precision);
        call.in_place[1] = from.ds;
    }
    void *dx_parts = smri_call_inout_activations(&call, made, "made", 3, dims, shape.precision);
    smri_call_check(&call, (dx_parts != NULL) == (made_rows > 0) && (dx_parts == NULL || !fixed),
                    "made, made_rows: give both or none, without fixed");
    const size_t bytes = call.failed     ? 0
                         : part_rows > 0 ? smri_batchnorm2d_parts_workspace_bytes(&shape, (size_t)part_rows)
                                         : smri_batchnorm2d_workspace_bytes(&shape, (size_t)n_threads);
    if (smri_call_begin(&call, n_threads, bytes)) {
        if (part_rows > 0) sum_parts(smri_batchnorm2d_sum_part, &from, &shape, (size_t)part_rows, call.workspace);
        if (fixed) smri_batchnorm2d_backward_fixed(dx, dgamma, dbeta, &from, &shape, call.workspace, call.pool);
        else smri_batchnorm2d_backward(dx_parts == NULL ? dx : NULL, dgamma, dbeta, &from, &shape, (size_t)part_rows,
                                       call.workspace, call.pool);
        struct smri_batchnorm2d_parts parts = {dx, &from, &shape, (size_t)part_rows, call.workspace};
        if (dx_parts != NULL) make_parts(smri_batchnorm2d_make_dx, &parts, dx_parts, (size_t)made_rows, &shape);
    }
    return smri_call_end(&call);
}

static PyObject *relu_forward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"x", "n_threads", "out", NULL};
    PyObject *x_object, *out = NULL;
    Py_ssize_t n_threads = 1;
    if (!PARSE("O|nO", &x_object, &n_threads, &out)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp n[1] = {-1};
    const float *x = smri_call_need(&call, x_object, "x", 1, n);
    float *y = smri_call_out(&call, out, "out", 1, n);
    call.in_place[0] = x;
    if (smri_call_begin(&call, n_threads, 0)) smri_relu_forward(y, x, (size_t)n[0], call.pool);
    return smri_call_end(&call);
}

static PyObject *relu_backward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"dy", "y", "n_threads", "out", NULL};
    PyObject *dy_object, *y_object, *out = NULL;
    Py_ssize_t n_threads = 1;
    if (!PARSE("OO|nO", &dy_object, &y_object, &n_threads, &out)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp n[1] = {-1};
    const float *dy = smri_call_need(&call, dy_object, "dy", 1, n);
    const float *y = smri_call_need(&call, y_object, "y", 1, n);
    float *dx = smri_call_out(&call, out, "out", 1, n);
    call.in_place[0] = dy;
    if (smri_call_begin(&call, n_threads, 0)) smri_relu_backward(dx, dy, y, (size_t)n[0], call.pool);
    return smri_call_end(&call);
}

static PyObject *dropout(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"x", "p", "seed", "step", "layer", "n_threads", "out", NULL};
    PyObject *x_object, *out = NULL;
    uint64_t seed;
    uint32_t step = 0, layer = 0;
    float p;
    Py_ssize_t n_threads = 1;
    if (!PARSE("OfO&|O&O&nO", &x_object, &p, smri_convert_u64, &seed, smri_convert_u32, &step, smri_convert_u32, &layer, &n_threads,
               &out))
        return NULL;
    struct smri_call call = {.module = module};
    npy_intp dims[2] = {-1, -1};
    const float *x = smri_call_need(&call, x_object, "x", 2, dims);
    smri_call_check(&call, p >= 0.0f && p < 1.0f && layer < 256, "dropout: expected p in [0, 1) and layer below 256");
    float *y = smri_call_out(&call, out, "out", 2, dims);
    call.in_place[0] = x;
    const struct smri_dropout options = {.p = p, .seed = seed, .step = step, .layer = layer};
    if (smri_call_begin(&call, n_threads, 0))
        smri_dropout_apply(y, x, &options, (size_t)dims[0], (size_t)dims[1], call.pool);
    return smri_call_end(&call);
}

/* Sizes and window of a max pool, checked. */
static struct smri_maxpool2d maxpool_shape(struct smri_call *call, const npy_intp dims[4], const Py_ssize_t window[3],
                                           enum smri_precision precision) {
    const struct smri_maxpool2d shape = {(size_t)dims[0],   (size_t)dims[1],   (size_t)dims[2],   (size_t)dims[3],
                                         (size_t)window[0], (size_t)window[1], (size_t)window[2], precision};
    if (!call->failed) smri_call_finish(call, smri_maxpool2d_check(&shape));
    return shape;
}

static PyObject *maxpool_forward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"x", "window", "stride", "pad", "n_threads", "out", NULL};
    PyObject *x_object, *out = NULL;
    Py_ssize_t window[3], n_threads = 1;
    if (!PARSE("Onnn|nO", &x_object, &window[0], &window[1], &window[2], &n_threads, &out)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp dims[4] = {-1, -1, -1, -1};
    enum smri_precision precision;
    const void *x = smri_call_activations(&call, x_object, "x", 4, dims, &precision);
    const struct smri_maxpool2d shape = maxpool_shape(&call, dims, window, precision);
    npy_intp out_dims[4] = {dims[0], 0, 0, dims[3]};
    if (!call.failed) {
        out_dims[1] = (npy_intp)smri_maxpool2d_out_rows(&shape);
        out_dims[2] = (npy_intp)smri_maxpool2d_out_cols(&shape);
    }
    void *y = smri_call_out_activations(&call, out, "out", 4, out_dims, precision);
    uint8_t *argmax = smri_call_new(&call, NPY_UINT8, 4, out_dims);
    if (smri_call_begin(&call, n_threads, 0)) smri_maxpool2d_forward(y, argmax, x, &shape, call.pool);
    return smri_call_end(&call);
}

static PyObject *maxpool_backward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"dy", "argmax", "rows", "cols", "window", "stride", "pad", "n_threads", "out", NULL};
    PyObject *dy_object, *argmax_object, *out = NULL;
    Py_ssize_t rows, cols, window[3], n_threads = 1;
    if (!PARSE("OOnnnnn|nO", &dy_object, &argmax_object, &rows, &cols, &window[0], &window[1], &window[2], &n_threads, &out))
        return NULL;
    struct smri_call call = {.module = module};
    npy_intp out_dims[4] = {-1, -1, -1, -1};
    enum smri_precision precision;
    const void *dy = smri_call_activations(&call, dy_object, "dy", 4, out_dims, &precision);
    const npy_intp dims[4] = {out_dims[0], rows, cols, out_dims[3]};
    smri_call_check(&call, rows > 0 && cols > 0, "max pool: expected rows and cols above 0, got %zd and %zd", rows, cols);
    const struct smri_maxpool2d shape = maxpool_shape(&call, dims, window, precision);
    if (!call.failed) {
        out_dims[1] = (npy_intp)smri_maxpool2d_out_rows(&shape);
        out_dims[2] = (npy_intp)smri_maxpool2d_out_cols(&shape);
    }
    dy = same(&call, dy_object, "dy", 4, out_dims, precision);
    const uint8_t *argmax = smri_call_typed(&call, argmax_object, "argmax", NPY_UINT8, 4, out_dims);
    void *dx = smri_call_out_activations(&call, out, "out", 4, dims, precision);
    if (smri_call_begin(&call, n_threads, 0)) smri_maxpool2d_backward(dx, dy, argmax, &shape, call.pool);
    return smri_call_end(&call);
}

static PyObject *avgpool_forward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"x", "n_threads", "out", NULL};
    PyObject *x_object, *out = NULL;
    Py_ssize_t n_threads = 1;
    if (!PARSE("O|nO", &x_object, &n_threads, &out)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp dims[3] = {-1, -1, -1};
    enum smri_precision precision;
    const void *x = smri_call_activations(&call, x_object, "x", 3, dims, &precision);
    smri_call_check(&call, dims[1] > 0, "x: expected at least one pixel");
    const npy_intp out_dims[2] = {dims[0], dims[2]};
    float *y = smri_call_out(&call, out, "out", 2, out_dims);
    if (smri_call_begin(&call, n_threads, 0))
        smri_avgpool_forward(y, x, (size_t)dims[0], (size_t)dims[1], (size_t)dims[2], precision, call.pool);
    return smri_call_end(&call);
}

static PyObject *avgpool_backward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"dy", "pixels", "n_threads", "out", "precision", NULL};
    PyObject *dy_object, *out = NULL;
    Py_ssize_t pixels, n_threads = 1;
    const char *name = "fp32";
    enum smri_precision precision;
    if (!PARSE("On|nOs", &dy_object, &pixels, &n_threads, &out, &name)) return NULL;
    if (smri_parse_precision(name, &precision) < 0) return NULL;
    struct smri_call call = {.module = module};
    npy_intp dims[2] = {-1, -1};
    const float *dy = smri_call_need(&call, dy_object, "dy", 2, dims);
    smri_call_check(&call, pixels > 0, "pixels: expected at least 1, got %zd", pixels);
    const npy_intp out_dims[3] = {dims[0], pixels, dims[1]};
    void *dx = smri_call_out_activations(&call, out, "out", 3, out_dims, precision);
    if (smri_call_begin(&call, n_threads, 0))
        smri_avgpool_backward(dx, dy, (size_t)dims[0], (size_t)pixels, (size_t)dims[1], precision, call.pool);
    return smri_call_end(&call);
}

#define ENTRY(name, doc) {#name, (PyCFunction)(void (*)(void))name, METH_VARARGS | METH_KEYWORDS, doc}
static PyMethodDef functions[] = {
    ENTRY(batchnorm_statistics, "batchnorm_statistics(x, n_threads=1) -> mean, var: biased, of x[groups, rows, C]."),
    ENTRY(batchnorm_update_running,
          "batchnorm_update_running(running_mean, running_var, mean, var, momentum, rows): in place."),
    ENTRY(batchnorm_fold, "batchnorm_fold(gamma, beta, mean, var, eps=1e-5) -> scale, shift of shape (groups, C)."),
    ENTRY(scale_shift_add_relu,
          "scale_shift_add_relu(x, scale, shift, ...) -> scale * x + shift (+ residual), then ReLU if asked for."),
    ENTRY(batchnorm_backward, "batchnorm_backward(dy, x, gamma, mean, var, scale, shift, ...) -> dx, dgamma, dbeta."),
    ENTRY(relu_forward, "relu_forward(x, n_threads=1, out=None) -> y."),
    ENTRY(relu_backward, "relu_backward(dy, y, n_threads=1, out=None) -> dx."),
    ENTRY(dropout, "dropout(x, p, seed, step=0, layer=0, n_threads=1, out=None) -> y of shape (N, C)."),
    ENTRY(maxpool_forward, "maxpool_forward(x, window, stride, pad, n_threads=1, out=None) -> y, argmax."),
    ENTRY(maxpool_backward, "maxpool_backward(dy, argmax, rows, cols, window, stride, pad, ...) -> dx."),
    ENTRY(avgpool_forward, "avgpool_forward(x, n_threads=1, out=None) -> mean over axis 1 of x[N, pixels, C]."),
    ENTRY(avgpool_backward, "avgpool_backward(dy, pixels, n_threads=1, out=None, precision='fp32') -> dx."),
    {NULL, NULL, 0, NULL},
};

int smri_bind_testing_norm(PyObject *module) { return PyModule_AddFunctions(module, functions); }
