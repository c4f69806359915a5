/* Area registration: images moved by affine maps, and maps that lay one image over another. */
#include "binding.h"

#include "smri/registration.h"

static int check_size(PyArrayObject *images, Py_ssize_t margin) {
    const npy_intp H = PyArray_DIM(images, 1), W = PyArray_DIM(images, 2);
    if (margin < 0 || margin > SMRI_REGISTRATION_WIDTH) {
        PyErr_Format(PyExc_ValueError, "margin: expected 0 to %d, got %zd", SMRI_REGISTRATION_WIDTH, margin);
        return -1;
    }
    if (H >= 2 * margin + 3 && W >= 2 * margin + 3 && W <= SMRI_REGISTRATION_WIDTH) return 0;
    PyErr_Format(PyExc_ValueError, "images: expected %zd to %d rows and columns, got %zd x %zd", 2 * margin + 3,
                 SMRI_REGISTRATION_WIDTH, (Py_ssize_t)H, (Py_ssize_t)W);
    return -1;
}

static PyObject *warp_affine(PyObject *module, PyObject *arguments, PyObject *keywords) {
    (void)module;
    static char *names[] = {"images", "maps", "nearest", NULL};
    PyObject *given, *given_maps;
    int nearest = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|p", names, &given, &given_maps, &nearest)) return NULL;
    PyArrayObject *images = smri_array(given, NPY_FLOAT32, 3, "images"), *maps = NULL, *out = NULL;
    if (images == NULL) return NULL;
    maps = smri_array(given_maps, NPY_FLOAT64, 2, "maps");
    const npy_intp shape[2] = {PyArray_DIM(images, 0), 6};
    if (maps != NULL && check_size(images, 0) == 0 && smri_expect_shape(maps, "maps", 2, shape) == 0)
        out = smri_new_array(NPY_FLOAT32, 3, PyArray_DIMS(images));
    if (out != NULL) {
        Py_BEGIN_ALLOW_THREADS;
        smri_warp_affine(smri_floats(out), smri_floats(images), PyArray_DATA(maps), (size_t)shape[0],
                         (size_t)PyArray_DIM(images, 1), (size_t)PyArray_DIM(images, 2), nearest != 0);
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF((PyObject *)images);
    Py_XDECREF((PyObject *)maps);
    return (PyObject *)out;
}

static PyObject *register_affine(PyObject *module, PyObject *arguments, PyObject *keywords) {
    (void)module;
    static char *names[] = {"a", "b", "maps", "steps", "margin", NULL};
    PyObject *given[3];
    Py_ssize_t steps, margin = 4;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOOn|n", names, &given[0], &given[1], &given[2], &steps, &margin))
        return NULL;
    if (steps < 0) return PyErr_Format(PyExc_ValueError, "steps: expected >= 0, got %zd", steps);
    PyArrayObject *a = smri_array(given[0], NPY_FLOAT32, 3, "a"), *b = NULL, *maps = NULL, *match = NULL;
    if (a == NULL) return NULL;
    const npy_intp n = PyArray_DIM(a, 0), shape[2] = {n, 6};
    if (check_size(a, margin) == 0) b = smri_array(given[1], NPY_FLOAT32, 3, "b");
    if (b != NULL && smri_expect_shape(b, "b", 3, PyArray_DIMS(a)) == 0)
        maps = smri_array_copy(given[2], NPY_FLOAT64, 2, "maps");
    if (maps != NULL && smri_expect_shape(maps, "maps", 2, shape) == 0) match = smri_new_array(NPY_FLOAT32, 1, &n);
    if (match != NULL) {
        const struct smri_registration how = {(size_t)n, (size_t)PyArray_DIM(a, 1), (size_t)PyArray_DIM(a, 2),
                                              (size_t)margin, (size_t)steps};
        Py_BEGIN_ALLOW_THREADS;
        smri_register_affine(PyArray_DATA(maps), smri_floats(match), smri_floats(a), smri_floats(b), &how);
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF((PyObject *)a);
    Py_XDECREF((PyObject *)b);
    PyObject *result = match != NULL ? PyTuple_Pack(2, (PyObject *)maps, (PyObject *)match) : NULL;
    Py_XDECREF((PyObject *)maps);
    Py_XDECREF((PyObject *)match);
    return result;
}

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef functions[] = {
    {"warp_affine", WITH_KEYWORDS(warp_affine), "warp_affine(images, maps, nearest=False) -> (P, H, W), bilinear."},
    {"register_affine", WITH_KEYWORDS(register_affine),
     "register_affine(a, b, maps, steps, margin=4) -> (maps (P, 6), match (P,)), by Gauss-Newton."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_registration(PyObject *module) { return PyModule_AddFunctions(module, functions); }
