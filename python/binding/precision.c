/* Area precision: bfloat16 arrays, which NumPy has no type for; they travel as uint16, the upper halves of float32. */
#include "binding.h"

#include <string.h>

#include "smri/convert.h"

int smri_parse_precision(const char *name, enum smri_precision *precision) {
    if (strcmp(name, "fp32") == 0)
        *precision = SMRI_FP32;
    else if (strcmp(name, "bf16") == 0)
        *precision = SMRI_BF16;
    else {
        PyErr_Format(PyExc_ValueError, "precision: expected 'fp32' or 'bf16', got '%s'", name);
        return -1;
    }
    return 0;
}

int smri_precision_type(enum smri_precision precision) { return precision == SMRI_BF16 ? NPY_UINT16 : NPY_FLOAT32; }

static PyObject *bf16_from_float(PyObject *module, PyObject *object) {
    (void)module;
    PyArrayObject *in = smri_array(object, NPY_FLOAT32, -1, "x");
    if (in == NULL) return NULL;
    PyArrayObject *out = smri_new_array(NPY_UINT16, PyArray_NDIM(in), PyArray_DIMS(in));
    if (out != NULL) smri_narrow(PyArray_DATA(out), smri_floats(in), (size_t)PyArray_SIZE(in), NULL);
    Py_DECREF(in);
    return (PyObject *)out;
}

static PyObject *bf16_to_float(PyObject *module, PyObject *object) {
    (void)module;
    PyArrayObject *in = smri_array(object, NPY_UINT16, -1, "x");
    if (in == NULL) return NULL;
    PyArrayObject *out = smri_new_array(NPY_FLOAT32, PyArray_NDIM(in), PyArray_DIMS(in));
    if (out != NULL) smri_widen(smri_floats(out), PyArray_DATA(in), (size_t)PyArray_SIZE(in), NULL);
    Py_DECREF(in);
    return (PyObject *)out;
}

static PyMethodDef functions[] = {
    {"bf16_from_float", bf16_from_float, METH_O, "bf16_from_float(x float32) -> uint16: rounded to bfloat16, ties to even."},
    {"bf16_to_float", bf16_to_float, METH_O, "bf16_to_float(x uint16) -> float32: bfloat16 numbers, exactly."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_precision(PyObject *module) { return PyModule_AddFunctions(module, functions); }
