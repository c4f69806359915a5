/* The one table from status to exception, and the checks of arrays that every area uses. */
#include "binding.h"

#include "state.h"

PyObject *smri_raise(PyObject *module, smri_status status) {
    if (PyErr_Occurred()) return NULL;
    PyObject *type = PyExc_RuntimeError;
    switch (status) {
    case SMRI_ARGUMENT:
    case SMRI_SHAPE: type = PyExc_ValueError; break;
    case SMRI_MEMORY: type = PyExc_MemoryError; break;
    case SMRI_IO: type = PyExc_OSError; break;
    case SMRI_DECODE: type = smri_state_of(module)->decode_error; break;
    case SMRI_NUMERIC: type = PyExc_FloatingPointError; break;
    case SMRI_INTERRUPTED: type = PyExc_KeyboardInterrupt; break;
    case SMRI_UNSUPPORTED: type = PyExc_NotImplementedError; break;
    case SMRI_OK: break; /* a bug of the binding: the default type says so */
    }
    PyObject *text = PyUnicode_DecodeFSDefault(smri_message()); /* it may name a file, whose name is any bytes */
    if (text != NULL) PyErr_SetObject(type, text);
    Py_XDECREF(text);
    return NULL;
}

PyArrayObject *smri_array(PyObject *object, int type, int ndim, const char *what) {
    if (!PyArray_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: expected a numpy array, got %R", what, (PyObject *)Py_TYPE(object));
        return NULL;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_TYPE(array) != type) {
        PyArray_Descr *wanted = PyArray_DescrFromType(type);
        PyErr_Format(PyExc_TypeError, "%s: expected dtype %S, got %S", what, (PyObject *)wanted,
                     (PyObject *)PyArray_DESCR(array));
        Py_XDECREF((PyObject *)wanted);
        return NULL;
    }
    if (ndim >= 0 && PyArray_NDIM(array) != ndim) {
        PyErr_Format(PyExc_ValueError, "%s: expected %d dimensions, got %d", what, ndim, PyArray_NDIM(array));
        return NULL;
    }
    return (PyArrayObject *)PyArray_FROM_OF(object, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_NOTSWAPPED);
}

PyArrayObject *smri_array_copy(PyObject *object, int type, int ndim, const char *what) {
    PyArrayObject *array = smri_array(object, type, ndim, what);
    if (array == NULL) return NULL;
    PyArrayObject *copy = (PyArrayObject *)PyArray_NewCopy(array, NPY_CORDER);
    Py_DECREF((PyObject *)array);
    return copy;
}

bool smri_arrays_overlap(PyArrayObject *a, PyArrayObject *b) {
    const char *first = PyArray_BYTES(a), *second = PyArray_BYTES(b);
    return first < second + PyArray_NBYTES(b) && second < first + PyArray_NBYTES(a);
}

int smri_convert_u64(PyObject *object, void *out) {
    PyObject *number = PyNumber_Index(object);
    if (number == NULL) return 0;
    const unsigned long long value = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (value == (unsigned long long)-1 && PyErr_Occurred()) return 0;
    *(uint64_t *)out = value;
    return 1;
}

int smri_convert_u32(PyObject *object, void *out) {
    uint64_t value;
    if (!smri_convert_u64(object, &value)) return 0;
    if (value > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "expected a number from 0 to 2**32 - 1, got %R", object);
        return 0;
    }
    *(uint32_t *)out = (uint32_t)value;
    return 1;
}

PyArrayObject *smri_new_array(int type, int ndim, const npy_intp *shape) {
    return (PyArrayObject *)PyArray_SimpleNew(ndim, shape, type);
}

static PyObject *shape_tuple(int ndim, const npy_intp *shape) {
    PyObject *tuple = PyTuple_New(ndim);
    for (int i = 0; tuple != NULL && i < ndim; i++) {
        PyObject *size = shape[i] < 0 ? PyUnicode_FromString("any") : PyLong_FromSsize_t(shape[i]);
        if (size == NULL || PyTuple_SetItem(tuple, i, size) < 0) Py_CLEAR(tuple);
    }
    return tuple;
}

int smri_expect_shape(PyArrayObject *array, const char *what, int ndim, const npy_intp *shape) {
    int same = PyArray_NDIM(array) == ndim;
    for (int i = 0; same && i < ndim; i++) same = shape[i] < 0 || shape[i] == PyArray_DIM(array, i);
    if (same) return 0;
    PyObject *wanted = shape_tuple(ndim, shape), *got = shape_tuple(PyArray_NDIM(array), PyArray_DIMS(array));
    if (wanted != NULL && got != NULL)
        PyErr_Format(PyExc_ValueError, "%s: expected shape %S, got %S", what, wanted, got);
    Py_XDECREF(wanted);
    Py_XDECREF(got);
    return -1;
}

int smri_bind_errors(PyObject *module) {
    struct smri_state *state = smri_state_of(module);
    state->decode_error = PyErr_NewExceptionWithDoc(
        "simclr_mri.DecodeError", "An image file's content is not what its format says.", PyExc_ValueError, NULL);
    return PyModule_AddObjectRef(module, "DecodeError", state->decode_error);
}
