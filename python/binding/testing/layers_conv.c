/* Tests' area conv: packed weights back, and the linear layer. */
#include "../call.h"

#include "../conv2d_shape.h"
#include "smri/linear.h"
#include "testing.h"

#define BLOCK 32 /* output channels in one block of packed weights */

static size_t n_workers(Py_ssize_t n_threads) { return n_threads > 0 ? (size_t)n_threads : smri_cpu_count(); }

static PyObject *conv2d_unpack(PyObject *module, PyObject *arguments) {
    PyObject *object;
    Py_ssize_t K, C, R, S;
    if (!PyArg_ParseTuple(arguments, "O(nnnn):conv2d_unpack", &object, &K, &C, &R, &S)) return NULL;
    if (K < 0 || C < 0 || R < 0 || S < 0) return PyErr_Format(PyExc_ValueError, "shape: expected sizes >= 0");
    const struct smri_conv2d shape = {1, (size_t)R, (size_t)S, (size_t)C, (size_t)K, (size_t)R, (size_t)S, 1, 0, SMRI_FP32};
    const smri_status status = smri_conv2d_check(&shape);
    if (status != SMRI_OK) return smri_raise(module, status);
    struct smri_call call = {.module = module};
    npy_intp dims[] = {(K + BLOCK - 1) / BLOCK, R * S, C, BLOCK};
    const float *packed = smri_call_need(&call, object, "packed", 4, dims);
    float *w = smri_call_new(&call, NPY_FLOAT32, 4, (const npy_intp[]){K, C, R, S});
    if (!call.failed) smri_conv2d_unpack(w, packed, &shape);
    return smri_call_end(&call);
}

static PyObject *linear_forward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"x", "w", "b", "out", "n_threads", NULL};
    PyObject *x_object, *w_object, *b_object = NULL, *out_object = NULL;
    Py_ssize_t n_threads = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|O$On", names, &x_object, &w_object, &b_object, &out_object,
                                     &n_threads))
        return NULL;
    struct smri_call call = {.module = module};
    npy_intp x_dims[] = {-1, -1};
    const float *x = smri_call_need(&call, x_object, "x", 2, x_dims);
    npy_intp w_dims[] = {-1, x_dims[1]};
    const float *w = smri_call_need(&call, w_object, "w", 2, w_dims), *b = smri_call_in(&call, b_object, "b", 1, w_dims);
    float *y = smri_call_out(&call, out_object, "out", 2, (const npy_intp[]){x_dims[0], w_dims[0]});
    const struct smri_linear shape = {(size_t)x_dims[0], (size_t)x_dims[1], (size_t)w_dims[0]};
    if (smri_call_begin(&call, n_threads, call.failed ? 0 : smri_linear_workspace_bytes(&shape, n_workers(n_threads))))
        smri_linear_forward(y, x, w, b, &shape, call.workspace, call.pool);
    return smri_call_end(&call);
}

static PyObject *linear_backward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"dy", "x", "w", "n_threads", NULL};
    PyObject *dy_object, *x_object, *w_object;
    Py_ssize_t n_threads = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOO|$n", names, &dy_object, &x_object, &w_object, &n_threads))
        return NULL;
    struct smri_call call = {.module = module};
    npy_intp x_dims[] = {-1, -1};
    const float *x = smri_call_need(&call, x_object, "x", 2, x_dims);
    npy_intp w_dims[] = {-1, x_dims[1]};
    const float *w = smri_call_need(&call, w_object, "w", 2, w_dims);
    const float *dy = smri_call_need(&call, dy_object, "dy", 2, (npy_intp[]){x_dims[0], w_dims[0]});
    float *dx = smri_call_new(&call, NPY_FLOAT32, 2, x_dims), *dw = smri_call_new(&call, NPY_FLOAT32, 2, w_dims);
    float *db = smri_call_new(&call, NPY_FLOAT32, 1, w_dims);
    const struct smri_linear shape = {(size_t)x_dims[0], (size_t)x_dims[1], (size_t)w_dims[0]};
    if (smri_call_begin(&call, n_threads, call.failed ? 0 : smri_linear_workspace_bytes(&shape, n_workers(n_threads))))
        smri_linear_backward(dx, dw, db, dy, x, w, &shape, call.workspace, call.pool);
    return smri_call_end(&call);
}

#define KEYWORDS(function) (PyCFunction)(void (*)(void))function, METH_VARARGS | METH_KEYWORDS

static PyMethodDef functions[] = {
    {"conv2d_unpack", conv2d_unpack, METH_VARARGS, "conv2d_unpack(packed, (K, C, R, S)) -> w [K, C, R, S]."},
    {"linear_forward", KEYWORDS(linear_forward), "linear_forward(x, w, b=None, *, out=None, n_threads=0) -> y [N, K]."},
    {"linear_backward", KEYWORDS(linear_backward), "linear_backward(dy, x, w, *, n_threads=0) -> (dx, dw, db)."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_testing_conv(PyObject *module) { return PyModule_AddFunctions(module, functions); }
