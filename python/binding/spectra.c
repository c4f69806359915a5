/* Area spectra: polar spectra of small pictures, and what a search for copies compares of them. */
#include "binding.h"

#include "smri/spectra.h"

enum { MOST = 4 };

/* An argument: its name, type and shape; -1 matches anything, and what is given there takes its place for the next. */
struct argument {
    const char *name;
    int type, ndim;
    npy_intp shape[4];
};

/* The arrays of `given`, of which `which` says what they must be. 0, or -1 with an exception and none held. */
static int take_arrays(PyArrayObject *arrays[MOST], PyObject *const given[MOST], const struct argument *which, int n) {
    for (int i = 0; i < n; i++) {
        arrays[i] = smri_array(given[i], which[i].type, which[i].ndim, which[i].name);
        if (arrays[i] != NULL && smri_expect_shape(arrays[i], which[i].name, which[i].ndim, which[i].shape) == 0) continue;
        for (; i >= 0; i--) Py_XDECREF((PyObject *)arrays[i]);
        return -1;
    }
    return 0;
}

static PyObject *given_back(PyArrayObject *arrays[MOST], int n, PyArrayObject *out) {
    for (int i = 0; i < n; i++) Py_DECREF((PyObject *)arrays[i]);
    return (PyObject *)out;
}

/* A dimension of an object that may be no array: -1, so that the check of its type speaks. */
static npy_intp dimension(PyObject *object, int i) {
    return PyArray_Check(object) && i < PyArray_NDIM((PyArrayObject *)object) ? PyArray_DIM((PyArrayObject *)object, i) : -1;
}

/* ValueError unless low <= value <= high and it is a multiple of `of`. 0 or -1. */
static int check_number(npy_intp value, npy_intp low, npy_intp high, npy_intp of, const char *what) {
    if (value >= low && value <= high && value % of == 0) return 0;
    PyErr_Format(PyExc_ValueError, "%s: expected a multiple of %zd from %zd to %zd, got %zd", what, of, low, high, value);
    return -1;
}

static PyObject *local_contrast(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *given[MOST];
    float least;
    if (!PyArg_ParseTuple(arguments, "OOOf", &given[0], &given[1], &given[2], &least)) return NULL;
    const npy_intp S = dimension(given[0], 2);
    if (S >= 0 && check_number(S, 8, SMRI_PICTURE_PX, 8, "gray: columns") != 0) return NULL;
    const struct argument which[] = {{"gray", NPY_FLOAT32, 3, {-1, S, S}}, {"fine_t", NPY_FLOAT32, 2, {S, S}},
                                     {"coarse_t", NPY_FLOAT32, 2, {S, S}}};
    PyArrayObject *in[MOST];
    if (take_arrays(in, given, which, 3) != 0) return NULL;
    PyArrayObject *out = smri_new_array(NPY_FLOAT32, 3, PyArray_DIMS(in[0]));
    if (out != NULL) {
        Py_BEGIN_ALLOW_THREADS;
        smri_local_contrast(smri_floats(out), smri_floats(in[0]), smri_floats(in[1]), smri_floats(in[2]), least,
                            (size_t)PyArray_DIM(in[0], 0), (size_t)S);
        Py_END_ALLOW_THREADS;
    }
    return given_back(in, 3, out);
}

/* Whether all places lie in the magnitudes of so many waves. */
static bool lie_within(const int32_t *index, size_t n, int32_t n_magnitudes) {
    bool within = true;
    for (size_t i = 0; i < n; i++) within &= index[i] >= 0 && index[i] < n_magnitudes;
    return within;
}

static PyArrayObject *spectra_of(PyArrayObject *const in[MOST], PyArrayObject *index, Py_ssize_t row, Py_ssize_t column,
                                 float least) {
    enum { READINGS = 16 };
    const npy_intp *shape = PyArray_DIMS(index), n = shape[2], W = PyArray_DIM(in[2], 2);
    const npy_intp out_shape[3] = {PyArray_DIM(in[0], 0), shape[0], n};
    struct smri_places readings[READINGS];
    if (check_number(shape[0], 1, READINGS, 1, "index: readings") != 0) return NULL;
    if (!lie_within(PyArray_DATA(index), (size_t)PyArray_SIZE(index), (int32_t)(2 * W * W))) {
        PyErr_Format(PyExc_ValueError, "index: expected 0 to %zd", 2 * W * W - 1);
        return NULL;
    }
    PyArrayObject *out = smri_new_array(NPY_FLOAT32, 3, out_shape);
    if (out == NULL) return NULL;
    for (npy_intp r = 0; r < shape[0]; r++)
        readings[r] = (struct smri_places){(size_t)n, (const int32_t *)PyArray_DATA(index) + r * 4 * n,
                                           smri_floats(in[3]) + r * 4 * n};
    const float *waves = smri_floats(in[2]);
    const struct smri_cut cut = {(size_t)row, (size_t)column, (size_t)PyArray_DIM(in[1], 0), (size_t)W, smri_floats(in[1]),
                                 waves, waves + PyArray_DIM(in[2], 1) * W};
    Py_BEGIN_ALLOW_THREADS;
    smri_polar_spectra(smri_floats(out), smri_floats(in[0]), &cut, readings, (size_t)shape[0], least,
                       (size_t)out_shape[0], (size_t)PyArray_DIM(in[0], 1));
    Py_END_ALLOW_THREADS;
    return out;
}

static PyObject *polar_spectra(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *given[MOST], *given_index;
    Py_ssize_t row, column;
    float least;
    if (!PyArg_ParseTuple(arguments, "OnnOOOOf", &given[0], &row, &column, &given[1], &given[2], &given_index, &given[3], &least))
        return NULL;
    const npy_intp S = dimension(given[0], 2), size = dimension(given[1], 0), W = dimension(given[2], 2);
    if (S >= 0 && check_number(S, 2, SMRI_PICTURE_PX, 1, "pictures: columns") != 0) return NULL;
    if (size >= 0 && check_number(size, 2, S, 2, "window: rows") != 0) return NULL;
    if (W >= 0 && check_number(W, 8, SMRI_WAVES, 8, "waves: columns") != 0) return NULL;
    if (check_number(row, 0, S - size, 1, "row") != 0 || check_number(column, 0, S - size, 1, "column") != 0) return NULL;
    PyArrayObject *index = smri_array_copy(given_index, NPY_INT32, 3, "index"), *out = NULL, *in[MOST];
    if (index == NULL) return NULL;
    const struct argument which[] = {{"pictures", NPY_FLOAT32, 3, {-1, S, S}},
                                     {"window", NPY_FLOAT32, 2, {size, size}},
                                     {"waves", NPY_FLOAT32, 3, {2, size / 2, W}},
                                     {"weights", NPY_FLOAT32, 3, {PyArray_DIM(index, 0), 4, PyArray_DIM(index, 2)}}};
    if (smri_expect_shape(index, "index", 3, (const npy_intp[]){-1, 4, -1}) == 0 && take_arrays(in, given, which, 4) == 0) {
        out = spectra_of(in, index, row, column, least);
        given_back(in, 4, out);
    }
    Py_DECREF((PyObject *)index);
    return (PyObject *)out;
}

/* maps (N, R, A), angles (A, 32) and rings (2 k, R) into `in`, with what they are in `waves`. 0 or -1. */
static int take_maps(PyArrayObject *in[MOST], PyObject *arguments, struct smri_polar_waves *waves) {
    PyObject *given[MOST];
    Py_ssize_t n_angular;
    if (!PyArg_ParseTuple(arguments, "OOOn", &given[0], &given[1], &given[2], &n_angular)) return -1;
    const npy_intp R = dimension(given[0], 1), A = dimension(given[0], 2), rows = dimension(given[2], 0);
    if (R >= 0 && check_number(R, 1, SMRI_POLAR_RINGS, 1, "maps: rings") != 0) return -1;
    if (A >= 0 && check_number(A, 1, SMRI_PICTURE_PX, 1, "maps: angles") != 0) return -1;
    if (rows >= 0 && check_number(rows, 2, SMRI_POLAR_RINGS, 2, "rings: rows") != 0) return -1;
    if (check_number(n_angular, 1, SMRI_POLAR_WAVES / 2, 1, "n_angular") != 0) return -1;
    const struct argument which[] = {{"maps", NPY_FLOAT32, 3, {-1, R, A}}, {"angles", NPY_FLOAT32, 2, {A, SMRI_POLAR_WAVES}},
                                     {"rings", NPY_FLOAT32, 2, {rows, R}}};
    if (take_arrays(in, given, which, 3) != 0) return -1;
    *waves = (struct smri_polar_waves){(size_t)R, (size_t)A, (size_t)rows / 2, (size_t)n_angular, smri_floats(in[1]),
                                       smri_floats(in[2])};
    return 0;
}

static PyObject *polar_descriptors(PyObject *module, PyObject *arguments) {
    (void)module;
    struct smri_polar_waves waves;
    PyArrayObject *in[MOST];
    if (take_maps(in, arguments, &waves) != 0) return NULL;
    const npy_intp shape[2] = {PyArray_DIM(in[0], 0), (npy_intp)(waves.n_radial * waves.n_angular)};
    PyArrayObject *out = smri_new_array(NPY_FLOAT32, 2, shape);
    if (out != NULL) {
        Py_BEGIN_ALLOW_THREADS;
        smri_polar_descriptors(smri_floats(out), smri_floats(in[0]), &waves, (size_t)shape[0]);
        Py_END_ALLOW_THREADS;
    }
    return given_back(in, 3, out);
}

static PyObject *polar_low(PyObject *module, PyObject *arguments) {
    (void)module;
    struct smri_polar_waves waves;
    PyArrayObject *in[MOST];
    if (take_maps(in, arguments, &waves) != 0) return NULL;
    const npy_intp shape[4] = {PyArray_DIM(in[0], 0), (npy_intp)(2 * waves.n_radial - 1), (npy_intp)waves.n_angular, 2};
    PyArrayObject *out = smri_new_array(NPY_FLOAT32, 4, shape);
    if (out != NULL) {
        Py_BEGIN_ALLOW_THREADS;
        smri_polar_low(smri_floats(out), smri_floats(in[0]), &waves, (size_t)shape[0]);
        Py_END_ALLOW_THREADS;
    }
    return given_back(in, 3, out);
}

static PyObject *low_heights(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *given[MOST];
    if (!PyArg_ParseTuple(arguments, "OOOO", &given[0], &given[1], &given[2], &given[3])) return NULL;
    const npy_intp n = dimension(given[0], 1), pairs = dimension(given[0], 0);
    if (n >= 0 && (n % 2 == 0 || n > SMRI_POLAR_RINGS))
        return PyErr_Format(PyExc_ValueError, "a: expected an odd number of frequencies up to %d, got %zd", SMRI_POLAR_RINGS, n);
    const struct argument which[] = {{"a", NPY_FLOAT32, 4, {pairs, n, SMRI_LOW_WAVES, 2}},
                                     {"b", NPY_FLOAT32, 4, {pairs, n, SMRI_LOW_WAVES, 2}},
                                     {"rings", NPY_FLOAT32, 3, {-1, n, 2}},
                                     {"angles", NPY_FLOAT32, 3, {SMRI_LOW_WAVES, 2, SMRI_LOW_ANGLES}}};
    PyArrayObject *in[MOST];
    if (take_arrays(in, given, which, 4) != 0) return NULL;
    PyArrayObject *out = smri_new_array(NPY_FLOAT32, 1, &pairs);
    if (out != NULL) {
        const struct smri_low_waves waves = {(size_t)(n + 1) / 2, (size_t)PyArray_DIM(in[2], 0), smri_floats(in[2]),
                                             smri_floats(in[3])};
        Py_BEGIN_ALLOW_THREADS;
        smri_low_heights(smri_floats(out), smri_floats(in[0]), smri_floats(in[1]), &waves, (size_t)pairs);
        Py_END_ALLOW_THREADS;
    }
    return given_back(in, 4, out);
}

static PyMethodDef functions[] = {
    {"local_contrast", local_contrast, METH_VARARGS, "local_contrast(gray, fine_t, coarse_t, floor) -> (N, S, S)."},
    {"polar_spectra", polar_spectra, METH_VARARGS,
     "polar_spectra(pictures, row, column, window, waves, index, weights, floor) -> (N, readings, n)."},
    {"polar_descriptors", polar_descriptors, METH_VARARGS, "polar_descriptors(maps, angles, rings, n_angular) -> (N, D)."},
    {"polar_low", polar_low, METH_VARARGS, "polar_low(maps, angles, rings, n_angular) -> (N, 2 k - 1, n_angular, 2)."},
    {"low_heights", low_heights, METH_VARARGS, "low_heights(a, b, rings, angles) -> (N,)."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_spectra(PyObject *module) { return PyModule_AddFunctions(module, functions); }
