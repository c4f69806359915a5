/* Tests' area optimizers: steps over flat arrays, in place. */
#include "../call.h"

#include <math.h>

#include "smri/optimizer.h"
#include "testing.h"

#define PARSE(format, ...) PyArg_ParseTupleAndKeywords(arguments, keywords, format, names, __VA_ARGS__)

static PyObject *sgd_step(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"weights", "momentum_buffer", "gradients", "lr", "momentum", "weight_decay", "nesterov",
                            "start", "n_threads", NULL};
    PyObject *w_object, *m_object, *g_object, *start = NULL;
    struct smri_sgd options = {0};
    int nesterov = 0;
    Py_ssize_t n_threads = 1;
    if (!PARSE("OOOf|ffpOn", &w_object, &m_object, &g_object, &options.lr, &options.momentum, &options.weight_decay,
               &nesterov, &start, &n_threads))
        return NULL;
    struct smri_call call = {.module = module};
    npy_intp n[1] = {-1};
    float *w = smri_call_inout(&call, w_object, "weights", 1, n), *m = NULL;
    if (m_object != Py_None) m = smri_call_inout(&call, m_object, "momentum_buffer", 1, n);
    const float *g = smri_call_need(&call, g_object, "gradients", 1, n);
    options.start = smri_call_in(&call, start, "start", 1, n);
    options.nesterov = nesterov != 0;
    smri_call_check(&call, m != NULL || options.momentum == 0.0f,
                    "momentum_buffer: expected an array, since momentum is not 0");
    smri_call_check(&call, isfinite(options.lr), "lr: expected a finite number");
    smri_call_check(&call, options.momentum >= 0.0f && options.momentum < 1.0f, "momentum: expected a number in [0, 1)");
    smri_call_check(&call, options.weight_decay >= 0.0f && isfinite(options.weight_decay),
                    "weight_decay: expected a finite number of 0 or more");
    if (smri_call_begin(&call, n_threads, 0)) smri_sgd_step(w, m, g, &options, (size_t)n[0], call.pool);
    return smri_call_end(&call);
}

static PyObject *adamw_step(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"weights", "m", "v", "gradients", "lr", "step", "beta1", "beta2", "eps", "weight_decay",
                            "start", "n_threads", NULL};
    PyObject *w_object, *m_object, *v_object, *g_object, *start = NULL;
    struct smri_adamw options = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
    uint64_t step;
    Py_ssize_t n_threads = 1;
    if (!PARSE("OOOOdO&|ddddOn", &w_object, &m_object, &v_object, &g_object, &options.lr, smri_convert_u64, &step, &options.beta1,
               &options.beta2, &options.eps, &options.weight_decay, &start, &n_threads))
        return NULL;
    struct smri_call call = {.module = module};
    npy_intp n[1] = {-1};
    float *w = smri_call_inout(&call, w_object, "weights", 1, n), *m = smri_call_inout(&call, m_object, "m", 1, n);
    float *v = smri_call_inout(&call, v_object, "v", 1, n);
    const float *g = smri_call_need(&call, g_object, "gradients", 1, n);
    options.start = smri_call_in(&call, start, "start", 1, n);
    options.step = step;
    smri_call_check(&call, step >= 1, "step: expected 1 or more, got 0");
    smri_call_check(&call, isfinite(options.lr), "lr: expected a finite number");
    smri_call_check(&call, options.beta1 >= 0.0 && options.beta1 < 1.0 && options.beta2 >= 0.0 && options.beta2 < 1.0,
                    "beta1, beta2: expected numbers in [0, 1)");
    smri_call_check(&call, options.eps > 0.0 && isfinite(options.eps), "eps: expected a finite number above 0");
    smri_call_check(&call, options.weight_decay >= 0.0 && isfinite(options.weight_decay),
                    "weight_decay: expected a finite number of 0 or more");
    if (smri_call_begin(&call, n_threads, 0)) smri_adamw_step(w, m, v, g, &options, (size_t)n[0], call.pool);
    return smri_call_end(&call);
}

static PyObject *gradient_norm2(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"gradients", "weights", "n_threads", "eta", NULL};
    PyObject *g_object, *w_object = NULL;
    Py_ssize_t n_threads = 1;
    float eta = 0.0f;
    if (!PARSE("O|Onf", &g_object, &w_object, &n_threads, &eta)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp n[1] = {-1};
    const float *g = smri_call_need(&call, g_object, "gradients", 1, n);
    const float *w = smri_call_in(&call, w_object, "weights", 1, n);
    smri_call_check(&call, eta >= 0.0f && isfinite(eta), "eta: expected a finite number of 0 or more");
    double norm2 = 0.0;
    if (smri_call_begin(&call, n_threads, 0)) norm2 = smri_gradient_norm2(g, w, w != NULL, eta, (size_t)n[0], call.pool);
    PyObject *nothing = smri_call_end(&call);
    if (nothing == NULL) return NULL;
    Py_DECREF(nothing);
    return PyFloat_FromDouble(norm2);
}

static PyObject *sam_perturb(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"weights", "gradients", "rho", "norm", "adaptive", "copy", "n_threads", "eta", NULL};
    PyObject *w_object, *g_object, *copy_object = Py_None;
    float rho, eta = 0.0f;
    double norm;
    int adaptive = 0;
    Py_ssize_t n_threads = 1;
    if (!PARSE("OOfd|pOnf", &w_object, &g_object, &rho, &norm, &adaptive, &copy_object, &n_threads, &eta)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp n[1] = {-1};
    float *w = smri_call_inout(&call, w_object, "weights", 1, n), *copy = NULL;
    if (copy_object != Py_None) copy = smri_call_inout(&call, copy_object, "copy", 1, n);
    const float *g = smri_call_need(&call, g_object, "gradients", 1, n);
    smri_call_check(&call, rho >= 0.0f && isfinite(rho), "rho: expected a finite number of 0 or more");
    smri_call_check(&call, norm >= 0.0 && isfinite(norm), "norm: expected a finite number of 0 or more");
    smri_call_check(&call, eta >= 0.0f && isfinite(eta), "eta: expected a finite number of 0 or more");
    if (smri_call_begin(&call, n_threads, 0))
        smri_sam_perturb(w, copy, g, rho, norm, adaptive != 0, eta, (size_t)n[0], call.pool);
    return smri_call_end(&call);
}

#define ENTRY(name, doc) {#name, (PyCFunction)(void (*)(void))name, METH_VARARGS | METH_KEYWORDS, doc}
static PyMethodDef functions[] = {
    ENTRY(sgd_step, "sgd_step(weights, momentum_buffer, gradients, lr, ...): in place."),
    ENTRY(adamw_step, "adamw_step(weights, m, v, gradients, lr, step, ...): in place."),
    ENTRY(gradient_norm2, "gradient_norm2(gradients, weights=None, n_threads=1, eta=0) -> sum of g^2, or of ((|w| + eta) g)^2."),
    ENTRY(sam_perturb, "sam_perturb(weights, gradients, rho, norm, adaptive=False, copy=None, n_threads=1, eta=0): in place."),
    {NULL, NULL, 0, NULL},
};

int smri_bind_testing_optimizers(PyObject *module) { return PyModule_AddFunctions(module, functions); }
