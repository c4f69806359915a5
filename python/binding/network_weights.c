/* Area network: the parameter table, and weights in and out under the names and in the layouts of torchvision. */
#include "network_object.h"

#include <stdbool.h>
#include <string.h>

#include "smri/memory.h"
#include "state.h"

typedef struct smri_network_object network_object;

PyObject *smri_param_array(const smri_network *network, size_t param, const float *arena) {
    size_t count;
    const struct smri_parameter *parameter = &smri_network_table(network, &count)[param];
    npy_intp shape[4];
    for (size_t i = 0; i < parameter->ndim; i++) shape[i] = (npy_intp)parameter->shape[i];
    PyArrayObject *array = smri_new_array(NPY_FLOAT32, (int)parameter->ndim, shape);
    if (array != NULL) smri_network_export(network, param, smri_floats(array), arena);
    return (PyObject *)array;
}

size_t smri_param_number(const smri_network *network, const char *name) {
    size_t count, param = 0;
    const struct smri_parameter *table = smri_network_table(network, &count);
    while (param < count && strcmp(table[param].name, name) != 0) param++;
    return param < count ? param : SIZE_MAX;
}

PyObject *smri_param_shape(const struct smri_parameter *param) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)param->ndim);
    for (size_t i = 0; tuple != NULL && i < param->ndim; i++) {
        PyObject *size = PyLong_FromSize_t(param->shape[i]);
        if (size == NULL || PyTuple_SetItem(tuple, (Py_ssize_t)i, size) < 0) Py_CLEAR(tuple);
    }
    return tuple;
}

PyObject *smri_network_get_table(PyObject *object, void *ignored) {
    (void)ignored;
    size_t count;
    const struct smri_parameter *table = smri_network_table(((network_object *)object)->network, &count);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *shape = smri_param_shape(&table[i]);
        PyObject *param = shape == NULL ? NULL : Py_BuildValue("(sNNN)", table[i].name, shape,
                                                               PyBool_FromLong(table[i].is_buffer),
                                                             PyBool_FromLong(table[i].decays));
        if (param == NULL || PyList_Append(list, param) < 0) Py_CLEAR(list);
        Py_XDECREF(param);
    }
    return list;
}

static size_t param_numbers(const struct smri_parameter *param) {
    size_t numbers = 1;
    for (size_t i = 0; i < param->ndim; i++) numbers *= param->shape[i];
    return numbers;
}

PyObject *smri_network_get_size(PyObject *object, void *ignored) {
    (void)ignored;
    size_t count, total = 0;
    const struct smri_parameter *table = smri_network_table(((network_object *)object)->network, &count);
    for (size_t i = 0; i < count; i++)
        if (!table[i].is_buffer) total += param_numbers(&table[i]);
    return PyLong_FromSize_t(total);
}

PyObject *smri_network_get_state(PyObject *object, PyObject *ignored) {
    (void)ignored;
    network_object *self = (network_object *)object;
    if (smri_network_enter(self) < 0) return NULL;
    size_t count;
    const struct smri_parameter *table = smri_network_table(self->network, &count);
    PyObject *state = PyDict_New();
    for (size_t i = 0; state != NULL && i < count; i++) {
        PyObject *array = smri_param_array(self->network, i, smri_network_weights(self->network));
        if (array == NULL || PyDict_SetItemString(state, table[i].name, array) < 0) Py_CLEAR(state);
        Py_XDECREF(array);
    }
    smri_network_leave(self);
    return state;
}

PyObject *smri_network_get_tensor(PyObject *object, PyObject *name) {
    network_object *self = (network_object *)object;
    const char *text = PyUnicode_AsUTF8AndSize(name, NULL);
    if (text == NULL) return NULL;
    const size_t param = smri_param_number(self->network, text);
    if (param == SIZE_MAX) return PyErr_Format(PyExc_KeyError, "tensor: the network has no %R", name);
    if (smri_network_enter(self) < 0) return NULL;
    PyObject *array = smri_param_array(self->network, param, smri_network_weights(self->network));
    smri_network_leave(self);
    return array;
}

/* A list of the mapping's names that no param has; counters of batches, which PyTorch keeps and nobody needs, are passed
 * over. */
static PyObject *unexpected_names(PyObject *state, const smri_network *network) {
    PyObject *keys = PyMapping_Keys(state), *unexpected = PyList_New(0);
    const Py_ssize_t n_keys = keys != NULL ? PyList_Size(keys) : -1;
    for (Py_ssize_t i = 0; i < n_keys && unexpected != NULL; i++) {
        PyObject *key = PyList_GetItem(keys, i);
        const char *name = key != NULL ? PyUnicode_AsUTF8AndSize(key, NULL) : NULL;
        if (name == NULL) {
            Py_CLEAR(unexpected);
            break;
        }
        const char *last = strrchr(name, '.');
        if (last != NULL && strcmp(last, ".num_batches_tracked") == 0) continue;
        if (smri_param_number(network, name) == SIZE_MAX && PyList_Append(unexpected, key) < 0) Py_CLEAR(unexpected);
    }
    if (n_keys < 0) Py_CLEAR(unexpected);
    Py_XDECREF(keys);
    return unexpected;
}

/* True when `array`, of the shape (64, 3, 7, 7), is meant for a stem of one channel. */
static int is_rgb_stem(PyArrayObject *array, const struct smri_parameter *param) {
    return strcmp(param->name, "conv1.weight") == 0 && param->shape[1] == 1 && PyArray_NDIM(array) == 4 &&
           PyArray_DIM(array, 0) == (npy_intp)param->shape[0] && PyArray_DIM(array, 1) == 3 &&
           PyArray_DIM(array, 2) == (npy_intp)param->shape[2] && PyArray_DIM(array, 3) == (npy_intp)param->shape[3];
}

static PyArrayObject *gray_stem(PyArrayObject *rgb) {
    const npy_intp shape[4] = {PyArray_DIM(rgb, 0), 1, PyArray_DIM(rgb, 2), PyArray_DIM(rgb, 3)};
    PyArrayObject *gray = smri_new_array(NPY_FLOAT32, 4, shape);
    if (gray != NULL) smri_network_stem_to_gray(smri_floats(gray), smri_floats(rgb));
    Py_DECREF((PyObject *)rgb);
    return gray;
}

/* 0 unless a number is NaN or infinite, or a variance below 0: ValueError. Weights like that spoil every result. */
static int check_numbers(PyArrayObject *array, const struct smri_parameter *param) {
    const float *numbers = smri_floats(array);
    const size_t n = (size_t)PyArray_SIZE(array), length = strlen(param->name);
    const bool is_variance = length >= 11 && strcmp(param->name + length - 11, "running_var") == 0;
    bool finite = true, negative = false;
    for (size_t i = 0; i < n; i++) {
        finite &= numbers[i] - numbers[i] == 0.0f;
        negative |= numbers[i] < 0.0f;
    }
    if (finite && !(is_variance && negative)) return 0;
    PyErr_Format(PyExc_ValueError, "%s: expected %s", param->name,
                 finite ? "variances of 0 or more" : "finite numbers, got NaN or infinity");
    return -1;
}

/* The mapping's array for one param, checked: a new reference; NULL with *absent = 1, or with an exception set. */
static PyArrayObject *param_from(PyObject *state, const struct smri_parameter *param, int *absent) {
    *absent = 0;
    PyObject *value = PyMapping_GetItemString(state, param->name);
    if (value == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) return NULL;
        PyErr_Clear();
        *absent = 1;
        return NULL;
    }
    PyArrayObject *array = smri_array(value, NPY_FLOAT32, -1, param->name);
    Py_DECREF(value);
    if (array == NULL) return NULL;
    if (is_rgb_stem(array, param) && (array = gray_stem(array)) == NULL) return NULL;
    npy_intp shape[4];
    for (size_t i = 0; i < param->ndim; i++) shape[i] = (npy_intp)param->shape[i];
    if (smri_expect_shape(array, param->name, (int)param->ndim, shape) == 0 && check_numbers(array, param) == 0)
        return array;
    Py_DECREF((PyObject *)array);
    return NULL;
}

/* Every param's array into `arrays` (NULL where it is absent, with its name in `missing`); 0, or -1 with an exception. */
static int collect_rows(PyObject *state, const struct smri_parameter *table, size_t count, PyArrayObject **arrays,
                        PyObject *missing) {
    for (size_t i = 0; i < count; i++) {
        int absent;
        arrays[i] = param_from(state, &table[i], &absent);
        if (arrays[i] != NULL) continue;
        if (!absent) return -1;
        PyObject *name = PyUnicode_FromString(table[i].name);
        const int failed = name == NULL || PyList_Append(missing, name) < 0;
        Py_XDECREF(name);
        if (failed) return -1;
    }
    return 0;
}

static int refuse_differences(PyObject *missing, PyObject *unexpected) {
    if (PyList_Size(missing) == 0 && PyList_Size(unexpected) == 0) return 0;
    PyErr_Format(PyExc_ValueError, "the names do not agree with the network's: missing %R, unexpected %R", missing,
                 unexpected);
    return -1;
}

PyObject *smri_network_load(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"state", "strict", NULL};
    network_object *self = (network_object *)object;
    PyObject *state;
    int strict = 1;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|$p:load", names, &state, &strict)) return NULL;
    size_t count;
    const struct smri_parameter *table = smri_network_table(self->network, &count);
    PyObject *result = NULL, *missing = PyList_New(0), *unexpected = unexpected_names(state, self->network);
    PyArrayObject **arrays = PyMem_Calloc(count, sizeof *arrays);
    if (arrays == NULL) PyErr_NoMemory();
    if (missing == NULL || unexpected == NULL || arrays == NULL) goto done;
    if (collect_rows(state, table, count, arrays, missing) < 0) goto done;
    if (strict && refuse_differences(missing, unexpected) < 0) goto done;
    if (smri_network_enter(self) < 0) goto done;
    for (size_t i = 0; i < count; i++)
        if (arrays[i] != NULL)
            smri_network_import(self->network, i, smri_network_weights(self->network), smri_floats(arrays[i]));
    smri_network_leave(self);
    result = PyTuple_Pack(2, missing, unexpected);
done:
    for (size_t i = 0; arrays != NULL && i < count; i++) Py_XDECREF((PyObject *)arrays[i]);
    PyMem_Free(arrays);
    Py_XDECREF(missing);
    Py_XDECREF(unexpected);
    return result;
}
