/* Area io: image files to arrays and back, and resizing. Paths are anything that os.fsencode takes; a file's own failure is
 * an OSError that carries errno and the path, or a DecodeError that begins with the name. */
#include "binding.h"

#include "testing/testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "smri/image.h"
#include "smri/resize.h"

/* smri_message() as a string; paths in it are whatever bytes the file system holds. */
static PyObject *message_text(const char *message) {
    return PyUnicode_DecodeFSDefault(message != NULL ? message : "memory refused by the system");
}

/* The message behind its "path: ", of which it may hold the end only. */
static const char *without_path(const char *message, const char *path) {
    for (; *path != '\0'; path++) {
        const size_t length = strlen(path);
        if (strncmp(message, path, length) == 0 && strncmp(message + length, ": ", 2) == 0) return message + length + 2;
    }
    return message;
}

/* OSError(errno, what, path), of the subclass that errno means; the message's own "path: " is left out. */
static PyObject *raise_os_error(PyObject *path, int code) {
    const char *bytes = PyBytes_AsString(path);
    const char *message = bytes != NULL ? without_path(smri_message(), bytes) : smri_message();
    PyObject *name = PyUnicode_DecodeFSDefault(bytes != NULL ? bytes : "");
    PyObject *error = name != NULL ? PyObject_CallFunction(PyExc_OSError, "isO", code, message, name) : NULL;
    if (error != NULL) PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    Py_XDECREF(name);
    return NULL;
}

static PyObject *raise_for_path(PyObject *module, smri_status status, PyObject *path, int code) {
    return status == SMRI_IO ? raise_os_error(path, code) : smri_raise(module, status);
}

static PyObject *image_array(const struct smri_image *image) {
    const npy_intp shape[3] = {(npy_intp)image->H, (npy_intp)image->W, (npy_intp)image->C};
    PyArrayObject *array = smri_new_array(image->is_float ? NPY_FLOAT32 : NPY_UINT8, 3, shape);
    if (array != NULL)
        memcpy(PyArray_DATA(array), image->pixels, image->H * image->W * image->C * (image->is_float ? sizeof(float) : 1));
    return (PyObject *)array;
}

static int parse_dtype(bool *as_float, const char *name) {
    *as_float = strcmp(name, "float32") == 0;
    if (*as_float || strcmp(name, "uint8") == 0) return 0;
    PyErr_Format(PyExc_ValueError, "dtype: expected 'uint8' or 'float32', got '%s'", name);
    return -1;
}

static int check_channels(Py_ssize_t channels) {
    if (channels == 0 || channels == 1 || channels == 3) return 0;
    PyErr_Format(PyExc_ValueError, "channels: expected 0 (keep), 1 or 3, got %zd", channels);
    return -1;
}

/* None: all of it; "percentile"; a pair of integers. */
static int parse_range(enum smri_range *range, uint32_t *low, uint32_t *high, PyObject *given) {
    *range = SMRI_RANGE_FULL;
    *low = *high = 0;
    if (given == NULL || given == Py_None) return 0;
    if (PyUnicode_Check(given) && PyUnicode_CompareWithASCIIString(given, "percentile") == 0) {
        *range = SMRI_RANGE_PERCENTILE;
        return 0;
    }
    long ends[2] = {-1, -1};
    *range = SMRI_RANGE_GIVEN;
    if (PyTuple_Check(given) && !PyArg_ParseTuple(given, "ll", &ends[0], &ends[1])) return -1;
    if (ends[0] < 0 || ends[0] >= ends[1] || ends[1] > UINT16_MAX) {
        PyErr_Format(PyExc_ValueError,
                     "range: expected None, 'percentile' or a pair of integers, 0 <= low < high <= 65535, got %R", given);
        return -1;
    }
    *low = (uint32_t)ends[0];
    *high = (uint32_t)ends[1];
    return 0;
}

static int parse_fit(enum smri_fit *fit, const char *name) {
    *fit = strcmp(name, "pad") == 0 ? SMRI_FIT_PAD : strcmp(name, "crop") == 0 ? SMRI_FIT_CROP : SMRI_FIT_STRETCH;
    if (*fit != SMRI_FIT_STRETCH || strcmp(name, "stretch") == 0) return 0;
    PyErr_Format(PyExc_ValueError, "fit: expected 'pad', 'crop' or 'stretch', got '%s'", name);
    return -1;
}

/* Facts as uint16 (n, 5): bits, stated bits, low, high, extraneous bytes. */
static PyObject *facts_array(const struct smri_image_facts *facts, size_t n) {
    const npy_intp shape[2] = {(npy_intp)n, 5};
    PyArrayObject *array = smri_new_array(NPY_UINT16, 2, shape);
    uint16_t *out = array != NULL ? PyArray_DATA(array) : NULL;
    for (size_t i = 0; out != NULL && i < n; i++, out += 5) {
        const uint16_t row[5] = {facts[i].bits, facts[i].stated_bits, facts[i].low, facts[i].high, facts[i].extraneous};
        memcpy(out, row, sizeof row);
    }
    return (PyObject *)array;
}

/* A limit of 0, which means the core's, or more. */
static int check_limit(size_t *out, Py_ssize_t limit, const char *what) {
    if (limit < 0) {
        PyErr_Format(PyExc_ValueError, "%s: expected 0 (the default) or more, got %zd", what, limit);
        return -1;
    }
    *out = (size_t)limit;
    return 0;
}

static PyObject *read_image(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"path", "channels", "dtype", "max_pixels", NULL};
    PyObject *path = NULL, *result = NULL;
    const char *dtype = "uint8";
    Py_ssize_t channels = 0, max_pixels = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O&|nsn", names, PyUnicode_FSConverter, &path, &channels, &dtype,
                                     &max_pixels))
        return NULL;
    struct smri_decode options = {0};
    const char *bytes = PyBytes_AsString(path);
    if (bytes != NULL && check_channels(channels) == 0 && parse_dtype(&options.as_float, dtype) == 0 &&
        check_limit(&options.max_pixels, max_pixels, "max_pixels") == 0) {
        options.channels = (size_t)channels;
        struct smri_image image;
        smri_status status;
        int code;
        Py_BEGIN_ALLOW_THREADS;
        status = smri_image_read(&image, bytes, &options);
        code = errno;
        Py_END_ALLOW_THREADS;
        result = status == SMRI_OK ? image_array(&image) : raise_for_path(module, status, path, code);
        smri_image_free(&image);
    }
    Py_DECREF(path);
    return result;
}

/* None: (0, 0); an integer: a square; a pair: rows and columns. */
static int parse_size(size_t *rows, size_t *cols, PyObject *size) {
    *rows = *cols = 0;
    if (size == NULL || size == Py_None) return 0;
    PyObject *pair = PyLong_Check(size) ? PyTuple_Pack(2, size, size) : PySequence_Tuple(size);
    Py_ssize_t side[2] = {0, 0};
    if (pair == NULL) return -1;
    const Py_ssize_t count = PyTuple_Size(pair);
    for (Py_ssize_t i = 0; count == 2 && i < 2; i++) side[i] = PyLong_AsSsize_t(PyTuple_GetItem(pair, i));
    Py_DECREF(pair);
    if (PyErr_Occurred()) return -1;
    if (count != 2 || side[0] < 1 || side[1] < 1) {
        PyErr_Format(PyExc_ValueError, "size: expected a positive integer or (rows, columns), got %R", size);
        return -1;
    }
    *rows = (size_t)side[0];
    *cols = (size_t)side[1];
    return 0;
}

/* The paths as bytes objects in a tuple that keeps them alive, and their characters. */
static PyObject *encode_paths(const char ***out, PyObject *paths) {
    if (PyUnicode_Check(paths) || PyBytes_Check(paths)) {
        PyErr_SetString(PyExc_TypeError, "paths: expected a sequence of paths, got one path");
        return NULL;
    }
    PyObject *given = PySequence_List(paths);
    if (given == NULL) return NULL;
    const Py_ssize_t n = PyList_Size(given);
    PyObject *encoded = PyTuple_New(n);
    *out = PyMem_Calloc((size_t)n + 1, sizeof **out);
    if (*out == NULL) PyErr_NoMemory();
    for (Py_ssize_t i = 0; *out != NULL && encoded != NULL && i < n; i++) {
        PyObject *bytes = NULL;
        if (!PyUnicode_FSConverter(PyList_GetItem(given, i), &bytes) || ((*out)[i] = PyBytes_AsString(bytes)) == NULL ||
            PyTuple_SetItem(encoded, i, bytes) < 0)
            Py_CLEAR(encoded);
    }
    Py_DECREF(given);
    if (encoded != NULL && *out != NULL) return encoded;
    Py_XDECREF(encoded);
    PyMem_Free(*out);
    *out = NULL;
    return NULL;
}

/* The name of the exception that reading this file alone would raise. */
static PyObject *exception_name(const struct smri_failure *failure) {
    if (failure->status == SMRI_IO) {
        PyObject *error = PyObject_CallFunction(PyExc_OSError, "is", failure->os_error, "");
        PyObject *name = error != NULL ? PyObject_GetAttrString((PyObject *)Py_TYPE(error), "__name__") : NULL;
        Py_XDECREF(error);
        return name;
    }
    return PyUnicode_FromString(failure->status == SMRI_DECODE   ? "DecodeError"
                                : failure->status == SMRI_MEMORY ? "MemoryError"
                                                                 : "ValueError");
}

static PyObject *failure_list(const struct smri_failure *failures, size_t n) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < n; i++) {
        if (failures[i].status == SMRI_OK) continue;
        PyObject *kind = exception_name(&failures[i]), *text = message_text(failures[i].message);
        PyObject *entry = kind != NULL && text != NULL ? Py_BuildValue("nOO", (Py_ssize_t)i, kind, text) : NULL;
        if (entry == NULL || PyList_Append(list, entry) < 0) Py_CLEAR(list);
        Py_XDECREF(entry);
        Py_XDECREF(kind);
        Py_XDECREF(text);
    }
    return list;
}

/* Files between two looks for Ctrl-C: some 20 ms of 128 x 128 JPEGs on two cores, under a second of 10-megapixel ones. */
#define FILES_AT_ONCE ((size_t)128)

/* Decodes all files, a slice at a time. -1 with an exception when a signal's handler raised one. A handler may decode files
 * itself, so the pool is not held while one may run. */
static int decode_slices(PyObject *module, uint8_t *pixels, struct smri_failure *failures, size_t H, size_t W, size_t C,
                         const struct smri_files *files, size_t n_threads) {
    for (size_t first = 0; first < files->n; first += FILES_AT_ONCE) {
        struct smri_files slice = *files;
        slice.paths += first;
        slice.facts += first;
        slice.n = files->n - first < FILES_AT_ONCE ? files->n - first : FILES_AT_ONCE;
        struct smri_shared_pool *lease;
        smri_pool *pool = smri_pool_borrow(module, n_threads, &lease);
        if (pool == NULL) return -1;
        Py_BEGIN_ALLOW_THREADS;
        smri_files_decode(pixels + first * H * W * C, failures + first, H, W, C, &slice, pool);
        Py_END_ALLOW_THREADS;
        smri_pool_return(lease);
        if (PyErr_CheckSignals() < 0) return -1;
    }
    return 0;
}

static PyObject *decode_batch(PyObject *module, struct smri_files *files, size_t n_threads, bool with_facts) {
    size_t H, W, C;
    Py_BEGIN_ALLOW_THREADS;
    smri_files_shape(&H, &W, &C, files);
    Py_END_ALLOW_THREADS;
    const npy_intp shape[4] = {(npy_intp)files->n, (npy_intp)H, (npy_intp)W, (npy_intp)C};
    PyArrayObject *array = smri_new_array(NPY_UINT8, 4, shape);
    struct smri_failure *failures = PyMem_Calloc(files->n + 1, sizeof *failures);
    files->facts = PyMem_Calloc(files->n + 1, sizeof *files->facts);
    PyObject *list = NULL, *facts = NULL;
    if (failures == NULL || files->facts == NULL) {
        PyErr_NoMemory();
        Py_CLEAR(array);
    }
    if (array != NULL) {
        const int interrupted = decode_slices(module, PyArray_DATA(array), failures, H, W, C, files, n_threads);
        if (!interrupted) list = failure_list(failures, files->n);
        if (list != NULL && with_facts) facts = facts_array(files->facts, files->n);
        smri_failures_free(failures, files->n);
    }
    PyObject *result = NULL;
    if (list != NULL && !with_facts) result = Py_BuildValue("OO", (PyObject *)array, list);
    else if (facts != NULL) result = Py_BuildValue("OOO", (PyObject *)array, list, facts);
    PyMem_Free(failures);
    PyMem_Free(files->facts);
    Py_XDECREF(facts);
    Py_XDECREF(list);
    Py_XDECREF((PyObject *)array);
    return result;
}

static PyObject *decode_files(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"paths", "channels", "size", "n_threads", "fit", "range", "facts", "max_pixels", NULL};
    PyObject *paths, *size = NULL, *range = NULL;
    Py_ssize_t channels = 0, n_threads = 0, max_pixels = 0;
    const char *fit = "stretch";
    int facts = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|nOnsOpn", names, &paths, &channels, &size, &n_threads, &fit,
                                     &range, &facts, &max_pixels))
        return NULL;
    struct smri_files files = {.channels = (size_t)channels};
    if (check_limit(&files.max_pixels, max_pixels, "max_pixels") < 0) return NULL;
    if (check_channels(channels) < 0 || smri_check_threads(n_threads) < 0) return NULL;
    if (parse_size(&files.rows, &files.cols, size) < 0 || parse_fit(&files.fit, fit) < 0) return NULL;
    if (parse_range(&files.range, &files.low, &files.high, range) < 0) return NULL;
    const char **characters = NULL;
    PyObject *encoded = encode_paths(&characters, paths);
    if (encoded == NULL) return NULL;
    files.paths = characters;
    files.n = (size_t)PyTuple_Size(encoded);
    PyObject *result = decode_batch(module, &files, (size_t)n_threads, facts != 0);
    PyMem_Free(characters);
    Py_DECREF(encoded);
    return result;
}

/* Pixels as smri_png describes them: (H, W), (H, W, 1) or (H, W, 3), uint8, or uint16 for gray. */
static PyArrayObject *png_pixels(struct smri_png *png, PyObject *object, int compression) {
    const int type = PyArray_Check(object) ? PyArray_TYPE((PyArrayObject *)object) : NPY_UINT8;
    PyArrayObject *pixels = smri_array(object, type == NPY_UINT16 ? NPY_UINT16 : NPY_UINT8, -1, "pixels");
    if (pixels == NULL) return NULL;
    const int ndim = PyArray_NDIM(pixels);
    if (ndim != 2 && ndim != 3) {
        PyErr_Format(PyExc_ValueError, "pixels: expected shape (H, W), (H, W, 1) or (H, W, 3), got %d dimensions", ndim);
        Py_DECREF(pixels);
        return NULL;
    }
    *png = (struct smri_png){.pixels = PyArray_DATA(pixels), .H = (size_t)PyArray_DIM(pixels, 0),
                             .W = (size_t)PyArray_DIM(pixels, 1), .C = ndim == 3 ? (size_t)PyArray_DIM(pixels, 2) : 1,
                             .bits = type == NPY_UINT16 ? 16 : 8, .compression = compression};
    return pixels;
}

static PyObject *encode_png(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"pixels", "compression", NULL};
    PyObject *object;
    int compression = 6;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|i", names, &object, &compression)) return NULL;
    struct smri_png png;
    PyArrayObject *pixels = png_pixels(&png, object, compression);
    if (pixels == NULL) return NULL;
    uint8_t *bytes;
    size_t n_bytes;
    smri_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = smri_png_encode(&bytes, &n_bytes, &png);
    Py_END_ALLOW_THREADS;
    Py_DECREF(pixels);
    if (status != SMRI_OK) return smri_raise(module, status);
    PyObject *result = PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)n_bytes);
    free(bytes);
    return result;
}

static PyObject *write_png(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"path", "pixels", "compression", "sync", NULL};
    PyObject *object, *path = NULL;
    int compression = 6, sync = 1;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O&O|ip", names, PyUnicode_FSConverter, &path, &object, &compression,
                                     &sync))
        return NULL;
    struct smri_png png;
    PyArrayObject *pixels = png_pixels(&png, object, compression);
    const char *bytes = PyBytes_AsString(path);
    if (pixels == NULL || bytes == NULL) {
        Py_XDECREF((PyObject *)pixels);
        Py_DECREF(path);
        return NULL;
    }
    smri_status status;
    int code;
    Py_BEGIN_ALLOW_THREADS;
    status = smri_png_write(bytes, &png, sync != 0);
    code = errno;
    Py_END_ALLOW_THREADS;
    if (status != SMRI_OK) raise_for_path(module, status, path, code);
    Py_DECREF(pixels);
    Py_DECREF(path);
    return status == SMRI_OK ? Py_NewRef(Py_None) : NULL;
}

static PyObject *replace_file(PyObject *module, PyObject *arguments) {
    PyObject *path = NULL;
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "O&y*", PyUnicode_FSConverter, &path, &data)) return NULL;
    const char *bytes = PyBytes_AsString(path);
    smri_status status = SMRI_ARGUMENT;
    int code;
    if (bytes != NULL) {
        Py_BEGIN_ALLOW_THREADS;
        status = smri_file_replace(bytes, data.buf, (size_t)data.len, true);
        code = errno;
        Py_END_ALLOW_THREADS;
        if (status != SMRI_OK) raise_for_path(module, status, path, code);
    }
    PyBuffer_Release(&data);
    Py_DECREF(path);
    return status == SMRI_OK ? Py_NewRef(Py_None) : NULL;
}

static PyObject *run_resize(PyObject *module, PyArrayObject *images, const struct smri_resize *shape, size_t n_threads) {
    const int type = PyArray_TYPE(images);
    const npy_intp dims[4] = {(npy_intp)shape->N, (npy_intp)shape->rows, (npy_intp)shape->cols, (npy_intp)shape->C};
    PyArrayObject *out = smri_new_array(type, 4, dims);
    if (out == NULL) return NULL;
    struct smri_shared_pool *lease;
    smri_pool *pool = smri_pool_borrow(module, n_threads, &lease);
    smri_status status = SMRI_OK;
    if (pool != NULL) {
        Py_BEGIN_ALLOW_THREADS;
        status = type == NPY_UINT8 ? smri_resize_u8(PyArray_DATA(out), PyArray_DATA(images), shape, pool)
                                   : smri_resize_f32(smri_floats(out), smri_floats(images), shape, pool);
        Py_END_ALLOW_THREADS;
        smri_pool_return(lease);
    }
    if (pool != NULL && status == SMRI_OK) return (PyObject *)out;
    Py_DECREF(out);
    return pool != NULL ? smri_raise(module, status) : NULL;
}

static PyObject *resize(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"images", "size", "n_threads", NULL};
    PyObject *object, *size;
    Py_ssize_t n_threads = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|n", names, &object, &size, &n_threads)) return NULL;
    struct smri_resize shape = {0};
    if (smri_check_threads(n_threads) < 0 || parse_size(&shape.rows, &shape.cols, size) < 0) return NULL;
    const bool is_float = PyArray_Check(object) && PyArray_TYPE((PyArrayObject *)object) == NPY_FLOAT32;
    PyArrayObject *images = smri_array(object, is_float ? NPY_FLOAT32 : NPY_UINT8, 4, "images");
    if (images == NULL) return NULL;
    shape.N = (size_t)PyArray_DIM(images, 0);
    shape.H = (size_t)PyArray_DIM(images, 1);
    shape.W = (size_t)PyArray_DIM(images, 2);
    shape.C = (size_t)PyArray_DIM(images, 3);
    if (shape.rows == 0) {
        shape.rows = shape.H;
        shape.cols = shape.W;
    }
    PyObject *result = run_resize(module, images, &shape, (size_t)n_threads);
    Py_DECREF(images);
    return result;
}

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef functions[] = {
    {"read_image", WITH_KEYWORDS(read_image), "read_image(path, channels=0, dtype='uint8', max_pixels=0) -> (H, W, C) array."},
    {"decode_files", WITH_KEYWORDS(decode_files),
     "decode_files(paths, channels=0, size=None, n_threads=0, fit='stretch', range=None, facts=False, max_pixels=0) -> "
     "(uint8 (N, H, W, C), [(index, exception, message)]), with facts, uint16 (N, 5), if asked for."},
    {"encode_png", WITH_KEYWORDS(encode_png), "encode_png(pixels, compression=6) -> bytes."},
    {"write_png", WITH_KEYWORDS(write_png), "write_png(path, pixels, compression=6, sync=True): all or nothing."},
    {"replace_file", replace_file, METH_VARARGS, "replace_file(path, data): all or nothing."},
    {"resize", WITH_KEYWORDS(resize), "resize(images, size, n_threads=0) -> (N, rows, columns, C), antialiased bilinear."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_io(PyObject *module) { return PyModule_AddFunctions(module, functions); }

#ifdef SMRI_TESTING
/* (array, facts of shape (5,)) */
static PyObject *with_facts(PyObject *array, const struct smri_image_facts *facts) {
    PyObject *rows = array != NULL ? facts_array(facts, 1) : NULL;
    PyObject *result = rows != NULL ? Py_BuildValue("OO", array, rows) : NULL;
    Py_XDECREF(rows);
    Py_XDECREF(array);
    return result;
}

static PyObject *decode_image(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"data", "name", "channels", "dtype", "max_side", "max_pixels", "range", "facts", NULL};
    Py_buffer data;
    const char *name = "image", *dtype = "uint8";
    Py_ssize_t channels = 0, max_side = 0, max_pixels = 0;
    PyObject *range = NULL;
    int facts = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "y*|snsnnOp", names, &data, &name, &channels, &dtype, &max_side,
                                     &max_pixels, &range, &facts))
        return NULL;
    PyObject *result = NULL;
    struct smri_decode options = {0};
    if (check_channels(channels) == 0 && parse_dtype(&options.as_float, dtype) == 0 &&
        check_limit(&options.max_side_px, max_side, "max_side") == 0 &&
        check_limit(&options.max_pixels, max_pixels, "max_pixels") == 0 &&
        parse_range(&options.range, &options.low, &options.high, range) == 0) {
        options.channels = (size_t)channels;
        struct smri_image image;
        smri_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = smri_image_decode(&image, data.buf, (size_t)data.len, name, &options);
        Py_END_ALLOW_THREADS;
        result = status == SMRI_OK ? image_array(&image) : smri_raise(module, status);
        if (facts && result != NULL) result = with_facts(result, &image.facts);
        smri_image_free(&image);
    }
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef testing[] = {
    {"decode_image", WITH_KEYWORDS(decode_image),
     "decode_image(data, name='image', channels=0, dtype='uint8', max_side=0, max_pixels=0, range=None, facts=False) -> "
     "(H, W, C) array, with its facts if asked for."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_testing_io(PyObject *module) { return PyModule_AddFunctions(module, testing); }
#endif
