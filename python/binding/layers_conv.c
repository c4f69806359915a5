/* Area conv: the convolution in its three directions, its packed weights, and the linear layer. All of a convolution's
 * sizes travel as one tuple (N, H, W, C, K, R, S, stride, pad), as struct smri_conv2d in the core; activations are float32,
 * or uint16 with precision "bf16". */
#include "binding.h"

#include <string.h>

#include "smri/conv2d.h"
#include "smri/conv2d_method.h"
#include "smri/linear.h"
#include "smri/memory.h"

#define BLOCK 32 /* output channels in one block of packed weights */

static int parse_shape(PyObject *module, PyObject *tuple, const char *precision_name, struct smri_conv2d *shape) {
    enum smri_precision precision;
    if (smri_parse_precision(precision_name, &precision) < 0) return -1;
    Py_ssize_t N, H, W, C, K, R, S, stride, pad;
    if (!PyTuple_Check(tuple)) {
        PyErr_Format(PyExc_TypeError, "shape: expected a tuple (N, H, W, C, K, R, S, stride, pad), got %R", tuple);
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "nnnnnnnnn;shape: expected (N, H, W, C, K, R, S, stride, pad)", &N, &H, &W, &C, &K, &R,
                          &S, &stride, &pad))
        return -1;
    if (N < 0 || H < 0 || W < 0 || C < 0 || K < 0 || R < 0 || S < 0 || stride < 0 || pad < 0) {
        PyErr_Format(PyExc_ValueError, "shape: expected sizes >= 0, got %R", tuple);
        return -1;
    }
    *shape = (struct smri_conv2d){(size_t)N, (size_t)H, (size_t)W,      (size_t)C,  (size_t)K,
                                  (size_t)R, (size_t)S, (size_t)stride, (size_t)pad, precision};
    const smri_status status = smri_conv2d_check(shape);
    if (status != SMRI_OK) smri_raise(module, status);
    return status == SMRI_OK ? 0 : -1;
}

static int parse_method(const char *name, enum smri_conv2d_direction direction, const struct smri_conv2d *shape,
                        enum smri_conv2d_method *method) {
    if (strcmp(name, "auto") == 0) {
        *method = smri_conv2d_choose(direction, shape);
        return 0;
    }
    for (int i = 0; i < SMRI_CONV2D_METHODS; i++) {
        if (strcmp(name, smri_conv2d_method_name(i)) != 0) continue;
        *method = i;
        if (smri_conv2d_supports(i, direction, shape)) return 0;
        PyErr_Format(PyExc_NotImplementedError, "method: %s cannot do this shape, direction or instruction set", name);
        return -1;
    }
    PyErr_Format(PyExc_ValueError, "method: unknown method '%s'", name);
    return -1;
}

/* The caller's array of that shape, or a new one when `given` is NULL or None. A given one is written to in place. */
static PyArrayObject *output_array(PyObject *given, const char *what, int type, int ndim, const npy_intp *dims) {
    if (given == NULL || given == Py_None) return smri_new_array(type, ndim, dims);
    PyArrayObject *array = smri_array(given, type, ndim, what);
    if (array == NULL) return NULL;
    if ((PyObject *)array != given || !PyArray_ISWRITEABLE(array)) {
        PyErr_Format(PyExc_ValueError, "%s: expected a writeable C-contiguous array", what);
    } else if (smri_expect_shape(array, what, ndim, dims) == 0) {
        return array;
    }
    Py_DECREF(array);
    return NULL;
}

static PyArrayObject *input_array(PyObject *given, const char *what, int type, int ndim, const npy_intp *dims) {
    PyArrayObject *array = smri_array(given, type, ndim, what);
    if (array != NULL && smri_expect_shape(array, what, ndim, dims) < 0) Py_CLEAR(array);
    return array;
}

/* The workspace of one call: the caller's bytes (benchmarks, overrun tests), or fresh ones. `owned` is what to free. */
static void *borrow_workspace(PyObject *module, PyObject *given, size_t bytes, void **owned) {
    *owned = NULL;
    if (given == NULL || given == Py_None) {
        const smri_status status = smri_aligned_alloc(owned, bytes > 0 ? bytes : 1, "workspace");
        return status == SMRI_OK ? *owned : smri_raise(module, status);
    }
    PyArrayObject *array = smri_array(given, NPY_UINT8, 1, "workspace");
    if (array == NULL) return NULL;
    void *data = PyArray_DATA(array);
    if ((PyObject *)array != given || (size_t)PyArray_SIZE(array) < bytes) {
        PyErr_Format(PyExc_ValueError, "workspace: expected at least %zu contiguous bytes, got %zd", bytes,
                     (Py_ssize_t)PyArray_SIZE(array));
        data = NULL;
    }
    Py_DECREF(array); /* `given` keeps it alive for the call */
    return data;
}

struct dims {
    npy_intp x[4], w[4], y[4];
};

static struct dims dims_of(const struct smri_conv2d *s) {
    const npy_intp C = (npy_intp)s->C, N = (npy_intp)s->N, blocks = (npy_intp)((s->K + BLOCK - 1) / BLOCK);
    return (struct dims){
        {N, (npy_intp)s->H, (npy_intp)s->W, C},
        {blocks, (npy_intp)(s->R * s->S), C, BLOCK},
        {N, (npy_intp)smri_conv2d_out_rows(s), (npy_intp)smri_conv2d_out_cols(s), (npy_intp)s->K},
    };
}

/* The common body: out = direction(a, b). */
static PyObject *run(PyObject *module, PyObject *arguments, PyObject *keywords, enum smri_conv2d_direction direction) {
    static char *names[] = {"shape", "a", "b", "out", "accumulate", "n_threads", "method", "workspace", "precision",
                            "scale", "shift", "relu", NULL};
    static const char *const operand_names[3][2] = {{"x", "w"}, {"dy", "w"}, {"x", "dy"}};
    PyObject *tuple, *a_object, *b_object, *out_object = NULL, *workspace_object = NULL, *result = NULL;
    PyObject *scale_object = NULL, *shift_object = NULL;
    PyArrayObject *scale = NULL, *shift = NULL;
    int accumulate = 0, relu = 0;
    Py_ssize_t n_threads = 0;
    const char *method_name = "auto", *precision_name = "fp32";
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOO|$OpnsOsOOp", names, &tuple, &a_object, &b_object, &out_object,
                                     &accumulate, &n_threads, &method_name, &workspace_object, &precision_name,
                                     &scale_object, &shift_object, &relu))
        return NULL;
    struct smri_conv2d shape;
    enum smri_conv2d_method method;
    if (parse_shape(module, tuple, precision_name, &shape) < 0) return NULL;
    if (parse_method(method_name, direction, &shape, &method) < 0) return NULL;
    if (n_threads < 0) return PyErr_Format(PyExc_ValueError, "n_threads: expected >= 0, got %zd", n_threads);
    const bool finishes = scale_object != NULL && scale_object != Py_None; /* forward with an epilogue */
    if (finishes != (shift_object != NULL && shift_object != Py_None) || (relu && !finishes) ||
        (finishes && direction != SMRI_CONV2D_FORWARD))
        return PyErr_Format(PyExc_ValueError, "scale, shift: expected both, with or without relu, of forward only");
    if (accumulate && ((direction != SMRI_CONV2D_BACKWARD_DATA && !finishes) || out_object == NULL || out_object == Py_None))
        return PyErr_Format(PyExc_ValueError,
                            "accumulate: only backward_data and forward with scale and shift can, and only into a given out");

    const struct dims dims = dims_of(&shape);
    const npy_intp *a_dims = direction == SMRI_CONV2D_BACKWARD_DATA ? dims.y : dims.x;
    const npy_intp *b_dims = direction == SMRI_CONV2D_BACKWARD_WEIGHTS ? dims.y : dims.w;
    const npy_intp *out_dims[] = {dims.y, dims.x, dims.w};
    void *owned = NULL;
    const int type = smri_precision_type(shape.precision);
    const int b_type = direction == SMRI_CONV2D_BACKWARD_WEIGHTS ? type : NPY_FLOAT32;
    const int out_type = direction == SMRI_CONV2D_BACKWARD_WEIGHTS ? NPY_FLOAT32 : type;
    PyArrayObject *a = input_array(a_object, operand_names[direction][0], type, 4, a_dims);
    PyArrayObject *b = a != NULL ? input_array(b_object, operand_names[direction][1], b_type, 4, b_dims) : NULL;
    PyArrayObject *out = b != NULL ? output_array(out_object, "out", out_type, 4, out_dims[direction]) : NULL;
    if (out == NULL) goto end;
    if (finishes) {
        scale = smri_array(scale_object, NPY_FLOAT32, 1, "scale");
        shift = scale != NULL ? smri_array(shift_object, NPY_FLOAT32, 1, "shift") : NULL;
        if (shift == NULL || smri_expect_shape(scale, "scale", 1, dims.y + 3) < 0 ||
            smri_expect_shape(shift, "shift", 1, dims.y + 3) < 0)
            goto end;
    }
    struct smri_shared_pool *lease;
    smri_pool *pool = smri_pool_borrow(module, (size_t)n_threads, &lease);
    if (pool == NULL) goto end;
    const size_t threads = smri_pool_size(pool);
    const size_t bytes = finishes ? smri_conv2d_method_epilogue_bytes(method, &shape, threads)
                                  : smri_conv2d_method_workspace_bytes(method, direction, &shape, threads);
    void *workspace = borrow_workspace(module, workspace_object, bytes, &owned);
    if (workspace != NULL) {
        const struct smri_conv2d_epilogue epilogue = {finishes ? smri_floats(scale) : NULL,
                                                      finishes ? smri_floats(shift) : NULL, accumulate, relu};
        Py_BEGIN_ALLOW_THREADS;
        if (finishes)
            smri_conv2d_forward_epilogue_by(method, PyArray_DATA(out), PyArray_DATA(a), smri_floats(b), &epilogue, &shape,
                                            workspace, pool);
        else if (direction == SMRI_CONV2D_FORWARD)
            smri_conv2d_forward_by(method, PyArray_DATA(out), PyArray_DATA(a), smri_floats(b), &shape, workspace, pool);
        else if (direction == SMRI_CONV2D_BACKWARD_DATA)
            smri_conv2d_backward_data_by(method, PyArray_DATA(out), PyArray_DATA(a), smri_floats(b), accumulate, &shape,
                                         workspace, pool);
        else
            smri_conv2d_backward_weights_by(method, smri_floats(out), PyArray_DATA(a), PyArray_DATA(b), &shape, workspace,
                                            pool);
        Py_END_ALLOW_THREADS;
        result = Py_NewRef((PyObject *)out);
    }
    smri_pool_return(lease);
end:
    smri_aligned_free(owned);
    Py_XDECREF((PyObject *)a);
    Py_XDECREF((PyObject *)b);
    Py_XDECREF((PyObject *)out);
    Py_XDECREF((PyObject *)scale);
    Py_XDECREF((PyObject *)shift);
    return result;
}

static PyObject *conv2d_forward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    return run(module, arguments, keywords, SMRI_CONV2D_FORWARD);
}

static PyObject *conv2d_backward_data(PyObject *module, PyObject *arguments, PyObject *keywords) {
    return run(module, arguments, keywords, SMRI_CONV2D_BACKWARD_DATA);
}

static PyObject *conv2d_backward_weights(PyObject *module, PyObject *arguments, PyObject *keywords) {
    return run(module, arguments, keywords, SMRI_CONV2D_BACKWARD_WEIGHTS);
}

static PyObject *conv2d_pack(PyObject *module, PyObject *object) {
    PyArrayObject *w = smri_array(object, NPY_FLOAT32, 4, "w"), *packed = NULL;
    if (w == NULL) return NULL;
    const npy_intp *d = PyArray_DIMS(w);
    const struct smri_conv2d shape = {1, (size_t)d[2], (size_t)d[3], (size_t)d[1], (size_t)d[0],
                                      (size_t)d[2], (size_t)d[3], 1, 0, SMRI_FP32};
    const smri_status status = smri_conv2d_check(&shape);
    if (status != SMRI_OK)
        smri_raise(module, status);
    else
        packed = smri_new_array(NPY_FLOAT32, 4, dims_of(&shape).w);
    if (packed != NULL) smri_conv2d_pack(smri_floats(packed), smri_floats(w), &shape);
    Py_DECREF(w);
    return (PyObject *)packed;
}

static PyObject *conv2d_unpack(PyObject *module, PyObject *arguments) {
    PyObject *object;
    Py_ssize_t K, C, R, S;
    if (!PyArg_ParseTuple(arguments, "O(nnnn):conv2d_unpack", &object, &K, &C, &R, &S)) return NULL;
    if (K < 0 || C < 0 || R < 0 || S < 0) return PyErr_Format(PyExc_ValueError, "shape: expected sizes >= 0");
    const struct smri_conv2d shape = {1, (size_t)R, (size_t)S, (size_t)C, (size_t)K, (size_t)R, (size_t)S, 1, 0, SMRI_FP32};
    const smri_status status = smri_conv2d_check(&shape);
    if (status != SMRI_OK) return smri_raise(module, status);
    PyArrayObject *packed = input_array(object, "packed", NPY_FLOAT32, 4, dims_of(&shape).w);
    if (packed == NULL) return NULL;
    PyArrayObject *w = smri_new_array(NPY_FLOAT32, 4, (const npy_intp[]){K, C, R, S});
    if (w != NULL) smri_conv2d_unpack(smri_floats(w), smri_floats(packed), &shape);
    Py_DECREF(packed);
    return (PyObject *)w;
}

static PyObject *conv2d_plan(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"shape", "n_threads", "method", "precision", NULL};
    PyObject *tuple;
    Py_ssize_t n_threads = 0;
    const char *name = "auto", *precision_name = "fp32";
    struct smri_conv2d shape;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|ns$s", names, &tuple, &n_threads, &name, &precision_name))
        return NULL;
    if (parse_shape(module, tuple, precision_name, &shape) < 0) return NULL;
    if (n_threads < 0) return PyErr_Format(PyExc_ValueError, "n_threads: expected >= 0, got %zd", n_threads);
    const size_t threads = n_threads > 0 ? (size_t)n_threads : smri_cpu_count();
    PyObject *plan = PyList_New(0);
    for (int direction = SMRI_CONV2D_FORWARD; plan != NULL && direction <= SMRI_CONV2D_BACKWARD_WEIGHTS; direction++) {
        enum smri_conv2d_method method;
        PyObject *entry = NULL;
        if (parse_method(name, direction, &shape, &method) == 0) {
            const size_t bytes = smri_conv2d_method_workspace_bytes(method, direction, &shape, threads);
            entry = Py_BuildValue("sn", smri_conv2d_method_name(method), (Py_ssize_t)bytes);
        } else if (PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
            PyErr_Clear();
            entry = Py_NewRef(Py_None);
        }
        if (entry == NULL || PyList_Append(plan, entry) < 0) Py_CLEAR(plan);
        Py_XDECREF(entry);
    }
    return plan;
}

static PyObject *conv2d_workspace_bytes(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"shape", "n_threads", "precision", NULL};
    PyObject *tuple;
    Py_ssize_t n_threads = 0;
    const char *precision_name = "fp32";
    struct smri_conv2d shape;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|n$s", names, &tuple, &n_threads, &precision_name)) return NULL;
    if (parse_shape(module, tuple, precision_name, &shape) < 0) return NULL;
    if (n_threads < 0) return PyErr_Format(PyExc_ValueError, "n_threads: expected >= 0, got %zd", n_threads);
    return PyLong_FromSize_t(smri_conv2d_workspace_bytes(&shape, n_threads > 0 ? (size_t)n_threads : smri_cpu_count()));
}

static PyObject *linear_forward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"x", "w", "b", "out", "n_threads", NULL};
    PyObject *x_object, *w_object, *b_object = Py_None, *out_object = NULL;
    Py_ssize_t n_threads = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|O$On", names, &x_object, &w_object, &b_object, &out_object,
                                     &n_threads))
        return NULL;
    if (n_threads < 0) return PyErr_Format(PyExc_ValueError, "n_threads: expected >= 0, got %zd", n_threads);
    PyArrayObject *x = smri_array(x_object, NPY_FLOAT32, 2, "x"), *w = NULL, *b = NULL, *y = NULL;
    void *workspace = NULL;
    if (x != NULL) w = input_array(w_object, "w", NPY_FLOAT32, 2, (const npy_intp[]){-1, PyArray_DIM(x, 1)});
    if (w == NULL) goto end;
    const npy_intp N = PyArray_DIM(x, 0), C = PyArray_DIM(x, 1), K = PyArray_DIM(w, 0);
    if (b_object != Py_None && (b = input_array(b_object, "b", NPY_FLOAT32, 1, &K)) == NULL) goto end;
    if ((y = output_array(out_object, "out", NPY_FLOAT32, 2, (const npy_intp[]){N, K})) == NULL) goto end;
    struct smri_shared_pool *lease;
    smri_pool *pool = smri_pool_borrow(module, (size_t)n_threads, &lease);
    if (pool == NULL) {
        Py_CLEAR(y);
        goto end;
    }
    const struct smri_linear shape = {(size_t)N, (size_t)C, (size_t)K};
    const smri_status status =
        smri_aligned_alloc(&workspace, smri_linear_workspace_bytes(&shape, smri_pool_size(pool)), "workspace");
    if (status == SMRI_OK) {
        Py_BEGIN_ALLOW_THREADS;
        smri_linear_forward(smri_floats(y), smri_floats(x), smri_floats(w), b != NULL ? smri_floats(b) : NULL, &shape,
                            workspace, pool);
        Py_END_ALLOW_THREADS;
    } else {
        smri_raise(module, status);
        Py_CLEAR(y);
    }
    smri_pool_return(lease);
end:
    smri_aligned_free(workspace);
    Py_XDECREF((PyObject *)x);
    Py_XDECREF((PyObject *)w);
    Py_XDECREF((PyObject *)b);
    return (PyObject *)y;
}

static PyObject *linear_backward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"dy", "x", "w", "n_threads", NULL};
    PyObject *dy_object, *x_object, *w_object, *result = NULL;
    Py_ssize_t n_threads = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOO|$n", names, &dy_object, &x_object, &w_object, &n_threads))
        return NULL;
    if (n_threads < 0) return PyErr_Format(PyExc_ValueError, "n_threads: expected >= 0, got %zd", n_threads);
    PyArrayObject *x = smri_array(x_object, NPY_FLOAT32, 2, "x"), *w = NULL, *dy = NULL;
    PyArrayObject *dx = NULL, *dw = NULL, *db = NULL;
    void *workspace = NULL;
    if (x != NULL) w = input_array(w_object, "w", NPY_FLOAT32, 2, (const npy_intp[]){-1, PyArray_DIM(x, 1)});
    if (w == NULL) goto end;
    const npy_intp N = PyArray_DIM(x, 0), C = PyArray_DIM(x, 1), K = PyArray_DIM(w, 0);
    if ((dy = input_array(dy_object, "dy", NPY_FLOAT32, 2, (const npy_intp[]){N, K})) == NULL) goto end;
    dx = smri_new_array(NPY_FLOAT32, 2, (const npy_intp[]){N, C});
    dw = smri_new_array(NPY_FLOAT32, 2, (const npy_intp[]){K, C});
    db = smri_new_array(NPY_FLOAT32, 1, &K);
    if (dx == NULL || dw == NULL || db == NULL) goto end;
    struct smri_shared_pool *lease;
    smri_pool *pool = smri_pool_borrow(module, (size_t)n_threads, &lease);
    if (pool == NULL) goto end;
    const struct smri_linear shape = {(size_t)N, (size_t)C, (size_t)K};
    const smri_status status =
        smri_aligned_alloc(&workspace, smri_linear_workspace_bytes(&shape, smri_pool_size(pool)), "workspace");
    if (status == SMRI_OK) {
        Py_BEGIN_ALLOW_THREADS;
        smri_linear_backward(smri_floats(dx), smri_floats(dw), smri_floats(db), smri_floats(dy), smri_floats(x),
                             smri_floats(w), &shape, workspace, pool);
        Py_END_ALLOW_THREADS;
        result = Py_BuildValue("OOO", dx, dw, db);
    } else {
        smri_raise(module, status);
    }
    smri_pool_return(lease);
end:
    smri_aligned_free(workspace);
    Py_XDECREF((PyObject *)x);
    Py_XDECREF((PyObject *)w);
    Py_XDECREF((PyObject *)dy);
    Py_XDECREF((PyObject *)dx);
    Py_XDECREF((PyObject *)dw);
    Py_XDECREF((PyObject *)db);
    return result;
}

#define KEYWORDS(function) (PyCFunction)(void (*)(void))function, METH_VARARGS | METH_KEYWORDS

static PyMethodDef functions[] = {
    {"conv2d_forward", KEYWORDS(conv2d_forward),
     "conv2d_forward(shape, x, w, *, out=None, n_threads=0, method='auto', workspace=None, precision='fp32', scale=None, "
     "shift=None, relu=False, accumulate=False) -> y [N, P, Q, K], or scale * y + shift (+ out), no less than 0 with relu."},
    {"conv2d_backward_data", KEYWORDS(conv2d_backward_data),
     "conv2d_backward_data(shape, dy, w, *, out=None, accumulate=False, n_threads=0, method='auto', workspace=None, "
     "precision='fp32') -> dx."},
    {"conv2d_backward_weights", KEYWORDS(conv2d_backward_weights),
     "conv2d_backward_weights(shape, x, dy, *, out=None, n_threads=0, method='auto', workspace=None, precision='fp32') -> dw, "
     "packed."},
    {"conv2d_pack", conv2d_pack, METH_O, "conv2d_pack(w [K, C, R, S]) -> packed [ceil(K/32), R*S, C, 32]."},
    {"conv2d_unpack", conv2d_unpack, METH_VARARGS, "conv2d_unpack(packed, (K, C, R, S)) -> w [K, C, R, S]."},
    {"conv2d_plan", KEYWORDS(conv2d_plan),
     "conv2d_plan(shape, n_threads=0, method='auto', *, precision='fp32') -> [(method, workspace bytes) or None] of the three directions."},
    {"conv2d_workspace_bytes", KEYWORDS(conv2d_workspace_bytes),
     "conv2d_workspace_bytes(shape, n_threads=0, *, precision='fp32') -> bytes for any direction and batch up to N."},
    {"linear_forward", KEYWORDS(linear_forward), "linear_forward(x, w, b=None, *, out=None, n_threads=0) -> y [N, K]."},
    {"linear_backward", KEYWORDS(linear_backward), "linear_backward(dy, x, w, *, n_threads=0) -> (dx, dw, db)."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_layers_conv(PyObject *module) { return PyModule_AddFunctions(module, functions); }
