/* Area augmentation: batches of views from a uint8 cache. The options are keywords, read by one table. */
#include "augmentation.h"

#include <stddef.h>
#include <string.h>

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

PyObject *smri_split_augment_keywords(struct smri_augment *options, PyObject *keywords) {
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
    PyObject *rest = smri_split_augment_keywords(&options, keywords);
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

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef functions[] = {
    {"augment_batch", WITH_KEYWORDS(augment_batch),
     "augment_batch(images, indices, seed=0, epoch=0, view=0, samples=None, n_threads=0, out=None, **options) -> float32."},
    {"gather_batch", WITH_KEYWORDS(gather_batch),
     "gather_batch(images, indices, mean=0, std=1, n_threads=0, out=None) -> float32 (n, H, W, C)."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_augmentation(PyObject *module) { return PyModule_AddFunctions(module, functions); }
