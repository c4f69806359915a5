/* Area augmentation: batches of views from a uint8 cache. The options are keywords, read by one table. */
#include "binding.h"

#include <stddef.h>
#include <string.h>

#include "smri/augment.h"

enum kind { VALUE, RANGE, SIDES, CHANNELS };

static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
} table[] = {
    {"size", SIDES, offsetof(struct smri_augment, rows)},
    {"scale", RANGE, offsetof(struct smri_augment, scale)},
    {"ratio", RANGE, offsetof(struct smri_augment, ratio)},
    {"flip_horizontal", VALUE, offsetof(struct smri_augment, flip_horizontal)},
    {"flip_vertical", VALUE, offsetof(struct smri_augment, flip_vertical)},
    {"rotation_deg", VALUE, offsetof(struct smri_augment, rotation_deg)},
    {"shift", VALUE, offsetof(struct smri_augment, shift)},
    {"brightness", RANGE, offsetof(struct smri_augment, brightness)},
    {"contrast", RANGE, offsetof(struct smri_augment, contrast)},
    {"gamma", RANGE, offsetof(struct smri_augment, gamma)},
    {"blur_p", VALUE, offsetof(struct smri_augment, blur_p)},
    {"blur_sigma", RANGE, offsetof(struct smri_augment, blur_sigma)},
    {"noise_sd", VALUE, offsetof(struct smri_augment, noise_sd)},
    {"mean", CHANNELS, offsetof(struct smri_augment, mean)},
    {"std", CHANNELS, offsetof(struct smri_augment, std)},
};

/* `count` numbers of a sequence, or one number repeated if `repeats`. 0, or -1 with a ValueError or TypeError. */
static int read_floats(float *out, Py_ssize_t count, PyObject *value, const char *name, bool repeats) {
    if (repeats && PyNumber_Check(value) && !PySequence_Check(value)) {
        const double number = PyFloat_AsDouble(value);
        for (Py_ssize_t i = 0; i < count; i++) out[i] = (float)number;
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *items = PySequence_Tuple(value);
    if (items == NULL) return -1;
    const Py_ssize_t given = PyTuple_Size(items);
    const bool fits = given == count || (repeats && given == 1);
    for (Py_ssize_t i = 0; fits && i < count && !PyErr_Occurred(); i++)
        out[i] = (float)PyFloat_AsDouble(PyTuple_GetItem(items, given == 1 ? 0 : i));
    Py_DECREF(items);
    if (!fits) PyErr_Format(PyExc_ValueError, "%s: expected %zd numbers, got %R", name, count, value);
    return PyErr_Occurred() ? -1 : 0;
}

static int read_sides(size_t *out, PyObject *value) {
    if (value == Py_None) return 0;
    PyObject *pair = PyLong_Check(value) ? PyTuple_Pack(2, value, value) : PySequence_Tuple(value);
    if (pair == NULL) return -1;
    const Py_ssize_t count = PyTuple_Size(pair);
    for (Py_ssize_t i = 0; count == 2 && i < 2 && !PyErr_Occurred(); i++) {
        const Py_ssize_t side = PyLong_AsSsize_t(PyTuple_GetItem(pair, i));
        if (side < 1 && !PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "size: expected positive sides, got %R", value);
        out[i] = (size_t)side;
    }
    Py_DECREF(pair);
    if (count != 2) PyErr_Format(PyExc_ValueError, "size: expected an integer or (rows, columns), got %R", value);
    return PyErr_Occurred() ? -1 : 0;
}

static int read_option(struct smri_augment *options, size_t entry, PyObject *value) {
    char *at = (char *)options + table[entry].offset;
    switch (table[entry].kind) {
    case SIDES: return read_sides((size_t *)(void *)at, value);
    case RANGE: return read_floats((float *)(void *)at, 2, value, table[entry].name, false);
    case CHANNELS: return read_floats((float *)(void *)at, SMRI_MAX_CHANNELS, value, table[entry].name, true);
    case VALUE: break;
    }
    *(float *)(void *)at = (float)PyFloat_AsDouble(value);
    return PyErr_Occurred() ? -1 : 0;
}

/* Splits the keywords: options go to *options, the rest to a new dictionary, which is returned. */
static PyObject *split_keywords(struct smri_augment *options, PyObject *keywords) {
    PyObject *rest = PyDict_New(), *key, *value;
    Py_ssize_t position = 0;
    *options = smri_augment_identity();
    while (rest != NULL && keywords != NULL && PyDict_Next(keywords, &position, &key, &value)) {
        const char *name = PyUnicode_AsUTF8AndSize(key, NULL);
        size_t entry = 0;
        while (name != NULL && entry < sizeof table / sizeof *table && strcmp(table[entry].name, name) != 0) entry++;
        if (name == NULL) Py_CLEAR(rest);
        else if (entry == sizeof table / sizeof *table) {
            if (PyDict_SetItem(rest, key, value) < 0) Py_CLEAR(rest);
        } else if (read_option(options, entry, value) < 0) Py_CLEAR(rest);
    }
    return rest;
}

/* The arrays of one call; all are owned. */
struct arrays {
    PyArrayObject *images, *indices, *samples, *out;
};

static void arrays_clear(struct arrays *a) {
    Py_CLEAR(a->images);
    Py_CLEAR(a->indices);
    Py_CLEAR(a->samples);
    Py_CLEAR(a->out);
}

/* `out` as given, if it is what it must be, or a new array. */
static PyArrayObject *output(PyObject *given, const npy_intp shape[4]) {
    if (given == NULL || given == Py_None) return smri_new_array(NPY_FLOAT32, 4, shape);
    if (!PyArray_Check(given) || PyArray_TYPE((PyArrayObject *)given) != NPY_FLOAT32 ||
        !PyArray_ISCARRAY((PyArrayObject *)given)) {
        PyErr_SetString(PyExc_TypeError, "out: expected a writable C-contiguous float32 array");
        return NULL;
    }
    if (smri_expect_shape((PyArrayObject *)given, "out", 4, shape) < 0) return NULL;
    return (PyArrayObject *)Py_NewRef(given);
}

static int fill_batch(struct smri_batch *batch, struct arrays *a, PyObject *images, PyObject *indices, PyObject *samples) {
    a->images = smri_array(images, NPY_UINT8, 4, "images");
    if (a->images == NULL) return -1;
    a->indices = smri_array_copy(indices, NPY_INT64, 1, "indices");
    if (a->indices == NULL) return -1;
    if (samples != NULL && samples != Py_None) {
        a->samples = smri_array_copy(samples, NPY_INT64, 1, "samples");
        if (a->samples == NULL || smri_expect_shape(a->samples, "samples", 1, PyArray_DIMS(a->indices)) < 0) return -1;
    }
    batch->images = PyArray_DATA(a->images);
    batch->M = (size_t)PyArray_DIM(a->images, 0);
    batch->H = (size_t)PyArray_DIM(a->images, 1);
    batch->W = (size_t)PyArray_DIM(a->images, 2);
    batch->C = (size_t)PyArray_DIM(a->images, 3);
    batch->indices = PyArray_DATA(a->indices);
    batch->samples = a->samples != NULL ? PyArray_DATA(a->samples) : NULL;
    batch->n = (size_t)PyArray_DIM(a->indices, 0);
    return 0;
}

/* options == NULL: the plain batch. */
static PyObject *run_batch(PyObject *module, struct arrays *a, const struct smri_batch *batch,
                           const struct smri_augment *options, const float *mean, const float *std, size_t n_threads) {
    struct smri_shared_pool *lease;
    if (smri_arrays_overlap(a->out, a->images))
        return PyErr_Format(PyExc_ValueError, "out: expected memory of its own, it shares that of images");
    smri_pool *pool = smri_pool_borrow(module, n_threads, &lease);
    if (pool == NULL) return NULL;
    smri_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = options != NULL ? smri_augment_batch(smri_floats(a->out), batch, options, pool)
                             : smri_gather_batch(smri_floats(a->out), batch, mean, std, pool);
    Py_END_ALLOW_THREADS;
    smri_pool_return(lease);
    return status == SMRI_OK ? Py_NewRef((PyObject *)a->out) : smri_raise(module, status);
}

static PyObject *augment_batch(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"images", "indices", "seed", "epoch", "view", "samples", "n_threads", "out", NULL};
    struct smri_augment options;
    struct smri_batch batch = {0};
    struct arrays a = {0};
    PyObject *images, *indices, *samples = NULL, *out = NULL, *result = NULL;
    uint64_t seed = 0;
    uint32_t epoch = 0, view = 0;
    Py_ssize_t n_threads = 0;
    PyObject *rest = split_keywords(&options, keywords);
    if (rest == NULL) return NULL;
    if (PyArg_ParseTupleAndKeywords(arguments, rest, "OO|O&O&O&OnO:augment_batch", names, &images, &indices,
                                    smri_convert_u64, &seed, smri_convert_u32, &epoch, smri_convert_u32, &view, &samples,
                                    &n_threads, &out) &&
        smri_check_threads(n_threads) == 0 && fill_batch(&batch, &a, images, indices, samples) == 0) {
        batch.seed = seed;
        batch.epoch = epoch;
        batch.view = view;
        const npy_intp shape[4] = {(npy_intp)batch.n, (npy_intp)(options.rows != 0 ? options.rows : batch.H),
                                   (npy_intp)(options.cols != 0 ? options.cols : batch.W), (npy_intp)batch.C};
        const smri_status status = smri_augment_check(&options); /* before memory is asked for by a wrong size */
        if (status != SMRI_OK) smri_raise(module, status);
        else a.out = output(out, shape);
        if (a.out != NULL) result = run_batch(module, &a, &batch, &options, NULL, NULL, (size_t)n_threads);
    }
    arrays_clear(&a);
    Py_DECREF(rest);
    return result;
}

static PyObject *gather_batch(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"images", "indices", "mean", "std", "n_threads", "out", NULL};
    float mean[SMRI_MAX_CHANNELS] = {0, 0, 0}, std[SMRI_MAX_CHANNELS] = {1, 1, 1};
    struct smri_batch batch = {0};
    struct arrays a = {0};
    PyObject *images, *indices, *given_mean = NULL, *given_std = NULL, *out = NULL, *result = NULL;
    Py_ssize_t n_threads = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|OOnO", names, &images, &indices, &given_mean, &given_std,
                                     &n_threads, &out))
        return NULL;
    if (given_mean != NULL && read_floats(mean, SMRI_MAX_CHANNELS, given_mean, "mean", true) < 0) return NULL;
    if (given_std != NULL && read_floats(std, SMRI_MAX_CHANNELS, given_std, "std", true) < 0) return NULL;
    if (smri_check_threads(n_threads) == 0 && fill_batch(&batch, &a, images, indices, NULL) == 0) {
        const npy_intp shape[4] = {(npy_intp)batch.n, (npy_intp)batch.H, (npy_intp)batch.W, (npy_intp)batch.C};
        a.out = output(out, shape);
        if (a.out != NULL) result = run_batch(module, &a, &batch, NULL, mean, std, (size_t)n_threads);
    }
    arrays_clear(&a);
    return result;
}

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
    PyObject *rest = split_keywords(&options, keywords);
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

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef functions[] = {
    {"augment_batch", WITH_KEYWORDS(augment_batch),
     "augment_batch(images, indices, seed=0, epoch=0, view=0, samples=None, n_threads=0, out=None, **options) -> float32."},
    {"gather_batch", WITH_KEYWORDS(gather_batch),
     "gather_batch(images, indices, mean=0, std=1, n_threads=0, out=None) -> float32 (n, H, W, C)."},
    {"augment_parameters", WITH_KEYWORDS(augment_parameters),
     "augment_parameters(samples, height, width, seed=0, epoch=0, view=0, **options) -> dict of arrays (n,)."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_augmentation(PyObject *module) { return PyModule_AddFunctions(module, functions); }
