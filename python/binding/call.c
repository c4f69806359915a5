/* The steps of one call from Python into a layer. */
#include "call.h"

#include <stdarg.h>

#include "smri/memory.h"

static PyArrayObject *hold(struct smri_call *call, PyArrayObject *array, int ndim, npy_intp *shape, const char *what) {
    if (array == NULL) {
        call->failed = true;
        return NULL;
    }
    call->writes[call->n_held] = false;
    call->held[call->n_held++] = array;
    if (ndim < 0) return array;
    if (smri_expect_shape(array, what, ndim, shape) < 0) {
        call->failed = true;
        return NULL;
    }
    for (int i = 0; i < ndim; i++) shape[i] = PyArray_DIM(array, i);
    return array;
}

static void *writeable(struct smri_call *call, PyObject *object, const char *what, int type, int ndim, npy_intp *shape) {
    if (call->failed) return NULL;
    PyArrayObject *array = smri_array(object, type, ndim, what);
    if (array != NULL && ((PyObject *)array != object || !PyArray_ISWRITEABLE(array))) {
        PyErr_Format(PyExc_ValueError, "%s: expected a writeable C-contiguous array", what);
        Py_DECREF((PyObject *)array);
        array = NULL;
    }
    array = hold(call, array, ndim, shape, what);
    if (array != NULL) call->writes[call->n_held - 1] = true;
    return array != NULL ? PyArray_DATA(array) : NULL;
}

const void *smri_call_typed(struct smri_call *call, PyObject *object, const char *what, int type, int ndim, npy_intp *shape) {
    if (call->failed) return NULL;
    const bool copies = type == NPY_INT32 || type == NPY_INT64;
    PyArrayObject *given = copies ? smri_array_copy(object, type, ndim, what) : smri_array(object, type, ndim, what);
    PyArrayObject *array = hold(call, given, ndim, shape, what);
    return array != NULL ? PyArray_DATA(array) : NULL;
}

void *smri_call_workspace(struct smri_call *call, PyObject *object, size_t bytes) {
    if (object == NULL || object == Py_None) return NULL;
    npy_intp found = -1;
    void *data = writeable(call, object, "workspace", NPY_UINT8, 1, &found);
    smri_call_check(call, (size_t)found >= bytes, "workspace: expected at least %zu bytes, got %zd", bytes, (Py_ssize_t)found);
    return call->failed ? NULL : data;
}

const float *smri_call_need(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape) {
    return smri_call_typed(call, object, what, NPY_FLOAT32, ndim, shape);
}

const void *smri_call_activations(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape,
                                  enum smri_precision *precision) {
    const bool bf16 = PyArray_Check(object) && PyArray_TYPE((PyArrayObject *)object) == NPY_UINT16;
    *precision = bf16 ? SMRI_BF16 : SMRI_FP32;
    return smri_call_typed(call, object, what, smri_precision_type(*precision), ndim, shape);
}

const float *smri_call_in(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape) {
    return object == NULL || object == Py_None ? NULL : smri_call_need(call, object, what, ndim, shape);
}

float *smri_call_inout(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape) {
    return writeable(call, object, what, NPY_FLOAT32, ndim, shape);
}

void *smri_call_inout_activations(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape,
                                  enum smri_precision precision) {
    if (object == NULL || object == Py_None) return NULL;
    return writeable(call, object, what, smri_precision_type(precision), ndim, shape);
}

static void keep(struct smri_call *call, PyArrayObject *array) {
    call->results[call->n_results++] = array;
}

void *smri_call_new(struct smri_call *call, int type, int ndim, const npy_intp *shape) {
    if (call->failed) return NULL;
    PyArrayObject *array = smri_new_array(type, ndim, shape);
    if (hold(call, array, -1, NULL, "") == NULL) return NULL;
    keep(call, array);
    return PyArray_DATA(array);
}

void *smri_call_out_activations(struct smri_call *call, PyObject *object, const char *what, int ndim, const npy_intp *shape,
                                enum smri_precision precision) {
    const int type = smri_precision_type(precision);
    if (object == NULL || object == Py_None) return smri_call_new(call, type, ndim, shape);
    npy_intp found[NPY_MAXDIMS];
    for (int i = 0; i < ndim; i++) found[i] = shape[i];
    void *data = writeable(call, object, what, type, ndim, found);
    if (data != NULL) keep(call, (PyArrayObject *)object);
    return data;
}

float *smri_call_out(struct smri_call *call, PyObject *object, const char *what, int ndim, const npy_intp *shape) {
    return smri_call_out_activations(call, object, what, ndim, shape, SMRI_FP32);
}

void smri_call_check(struct smri_call *call, bool condition, const char *format, ...) {
    if (call->failed || condition) return;
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(PyExc_ValueError, format, arguments);
    va_end(arguments);
    call->failed = true;
}

static bool shares(const struct smri_call *call, size_t i, size_t j) {
    PyArrayObject *a = call->held[i], *b = call->held[j];
    if (!smri_arrays_overlap(a, b)) return false;
    const void *data = PyArray_DATA(a);
    const bool is_same = data == PyArray_DATA(b) && PyArray_NBYTES(a) == PyArray_NBYTES(b);
    return !is_same || (data != call->in_place[0] && data != call->in_place[1]);
}

/* What is written must not be read in between: results would depend on the order of the work. */
static void check_overlaps(struct smri_call *call) {
    for (size_t i = 0; i < call->n_held; i++)
        for (size_t j = 0; j < call->n_held; j++)
            if (i != j && call->writes[i])
                smri_call_check(call, !shares(call, i, j), "an array that is written to shares memory with another argument");
}

bool smri_call_begin(struct smri_call *call, Py_ssize_t n_threads, size_t workspace_bytes) {
    smri_call_check(call, n_threads >= 0, "n_threads: expected 0 (all processors) or more, got %zd", n_threads);
    check_overlaps(call);
    if (call->failed) return false;
    const smri_status status = smri_aligned_alloc(&call->workspace, workspace_bytes, "workspace");
    if (status != SMRI_OK) smri_raise(call->module, status);
    if (status == SMRI_OK) call->pool = smri_pool_borrow(call->module, (size_t)n_threads, &call->lease);
    call->failed = call->pool == NULL;
    if (!call->failed) call->thread = PyEval_SaveThread();
    return !call->failed;
}

void smri_call_finish(struct smri_call *call, smri_status status) {
    if (call->thread != NULL) PyEval_RestoreThread(call->thread);
    if (call->lease != NULL) smri_pool_return(call->lease);
    smri_aligned_free(call->workspace);
    call->thread = NULL;
    call->lease = NULL;
    call->workspace = NULL;
    if (status == SMRI_OK || call->failed) return;
    smri_raise(call->module, status);
    call->failed = true;
}

PyObject *smri_call_end(struct smri_call *call) {
    if (call->n_results == 1) {
        smri_call_finish(call, SMRI_OK);
        PyObject *result = call->failed ? NULL : Py_NewRef((PyObject *)call->results[0]);
        while (call->n_held > 0) Py_DECREF((PyObject *)call->held[--call->n_held]);
        return result;
    }
    return smri_call_end_with(call, NULL);
}

PyObject *smri_call_end_with(struct smri_call *call, PyObject *scalars) {
    smri_call_finish(call, SMRI_OK);
    const Py_ssize_t n_scalars = scalars != NULL ? PyTuple_Size(scalars) : 0;
    PyObject *result = NULL;
    if (!call->failed && n_scalars == 0 && call->n_results == 0) result = Py_NewRef(Py_None);
    else if (!call->failed) result = PyTuple_New(n_scalars + (Py_ssize_t)call->n_results);
    for (Py_ssize_t i = 0; result != NULL && i < n_scalars; i++)
        PyTuple_SetItem(result, i, Py_NewRef(PyTuple_GetItem(scalars, i)));
    for (size_t i = 0; result != NULL && i < call->n_results; i++)
        PyTuple_SetItem(result, n_scalars + (Py_ssize_t)i, Py_NewRef((PyObject *)call->results[i]));
    Py_XDECREF(scalars);
    while (call->n_held > 0) Py_DECREF((PyObject *)call->held[--call->n_held]);
    return result;
}
