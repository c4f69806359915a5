/* Tests' area augmentation: what would be drawn for samples. */
#include "../augmentation.h"

#include <stddef.h>

#include "testing.h"

/* One column of the table of draws. */
static const struct {
    const char *name;
    int type;
    size_t offset;
} columns[] = {
    {"top", NPY_INT64, offsetof(struct smri_view, top)},
    {"left", NPY_INT64, offsetof(struct smri_view, left)},
    {"height", NPY_INT64, offsetof(struct smri_view, height)},
    {"width", NPY_INT64, offsetof(struct smri_view, width)},
    {"flip_horizontal", NPY_BOOL, offsetof(struct smri_view, flip_horizontal)},
    {"flip_vertical", NPY_BOOL, offsetof(struct smri_view, flip_vertical)},
    {"rotation_deg", NPY_FLOAT32, offsetof(struct smri_view, rotation_deg)},
    {"shift_x", NPY_FLOAT32, offsetof(struct smri_view, shift_x)},
    {"shift_y", NPY_FLOAT32, offsetof(struct smri_view, shift_y)},
    {"brightness", NPY_FLOAT32, offsetof(struct smri_view, brightness)},
    {"contrast", NPY_FLOAT32, offsetof(struct smri_view, contrast)},
    {"gamma", NPY_FLOAT32, offsetof(struct smri_view, gamma)},
    {"blur_sigma", NPY_FLOAT32, offsetof(struct smri_view, blur_sigma)},
};

static PyObject *column_array(const struct smri_view *views, size_t n, size_t column) {
    const npy_intp shape = (npy_intp)n;
    PyArrayObject *array = smri_new_array(columns[column].type, 1, &shape);
    for (size_t i = 0; array != NULL && i < n; i++) {
        const char *from = (const char *)&views[i] + columns[column].offset;
        if (columns[column].type == NPY_INT64)
            ((int64_t *)PyArray_DATA(array))[i] = (int64_t)*(const size_t *)(const void *)from;
        else if (columns[column].type == NPY_BOOL) ((npy_bool *)PyArray_DATA(array))[i] = *(const bool *)from;
        else smri_floats(array)[i] = *(const float *)(const void *)from;
    }
    return (PyObject *)array;
}

static PyObject *view_table(const struct smri_view *views, size_t n) {
    PyObject *dict = PyDict_New();
    for (size_t c = 0; dict != NULL && c < sizeof columns / sizeof *columns; c++) {
        PyObject *array = column_array(views, n, c);
        if (array == NULL || PyDict_SetItemString(dict, columns[c].name, array) < 0) Py_CLEAR(dict);
        Py_XDECREF(array);
    }
    return dict;
}

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyObject *draw_views(PyObject *module, const struct smri_augment *options, PyArrayObject *samples, size_t H, size_t W,
                            uint64_t seed, uint32_t epoch, uint32_t number) {
    const size_t n = (size_t)PyArray_DIM(samples, 0);
    const int64_t *names = PyArray_DATA(samples);
    smri_status status = smri_augment_check(options);
    if (status == SMRI_OK && (H == 0 || W == 0 || number > 255))
        status = smri_fail(SMRI_ARGUMENT, "augment_parameters: expected height and width above 0 and view below 256");
    for (size_t i = 0; status == SMRI_OK && i < n; i++)
        if (names[i] < 0 || names[i] >> 48 != 0)
            status = smri_fail(SMRI_ARGUMENT, "samples[%zu]: expected 0 to 2**48 - 1, got %lld", i, (long long)names[i]);
    if (status != SMRI_OK) return smri_raise(module, status);
    struct smri_view *views = PyMem_Calloc(n + 1, sizeof *views);
    if (views == NULL) return PyErr_NoMemory();
    for (size_t i = 0; i < n; i++) smri_augment_draw(&views[i], options, H, W, seed, epoch, (uint64_t)names[i], number);
    PyObject *dict = view_table(views, n);
    PyMem_Free(views);
    return dict;
}

static PyObject *augment_parameters(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"samples", "height", "width", "seed", "epoch", "view", NULL};
    struct smri_augment options;
    PyObject *object, *result = NULL;
    Py_ssize_t height, width;
    uint64_t seed = 0;
    uint32_t epoch = 0, view = 0;
    PyObject *rest = smri_split_augment_keywords(&options, keywords);
    if (rest == NULL) return NULL;
    if (PyArg_ParseTupleAndKeywords(arguments, rest, "Onn|O&O&O&:augment_parameters", names, &object, &height, &width,
                                    smri_convert_u64, &seed, smri_convert_u32, &epoch, smri_convert_u32, &view)) {
        PyArrayObject *samples = smri_array_copy(object, NPY_INT64, 1, "samples");
        if (samples != NULL)
            result = draw_views(module, &options, samples, height > 0 ? (size_t)height : 0,
                                width > 0 ? (size_t)width : 0, seed,
                                epoch, view);
        Py_XDECREF((PyObject *)samples);
    }
    Py_DECREF(rest);
    return result;
}

static PyMethodDef functions[] = {
    {"augment_parameters", WITH_KEYWORDS(augment_parameters),
     "augment_parameters(samples, height, width, seed=0, epoch=0, view=0, **options) -> dict of arrays (n,)."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_testing_augmentation(PyObject *module) { return PyModule_AddFunctions(module, functions); }
