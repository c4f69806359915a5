/* Area trainer: gradients and the optimizer's state, out of a Trainer and back. */
#include "trainer_object.h"

#include <stdio.h>
#include <string.h>

#include "state.h"

typedef struct smri_trainer_object trainer_object;

/* Adds "<prefix><name>" for every trained param of `arena` to the dictionary. 0 or -1. */
static int add_arena(PyObject *dict, const smri_network *network, const char *prefix, const float *arena) {
    size_t count;
    const struct smri_parameter *table = smri_network_table(network, &count);
    for (size_t i = 0; i < count; i++) {
        if (table[i].is_buffer) continue;
        PyObject *key = PyUnicode_FromFormat("%s%s", prefix, table[i].name), *array = smri_param_array(network, i, arena);
        const int failed = key == NULL || array == NULL || PyDict_SetItem(dict, key, array) < 0;
        Py_XDECREF(key);
        Py_XDECREF(array);
        if (failed) return -1;
    }
    return 0;
}

PyObject *smri_trainer_copy_gradients(PyObject *object, PyObject *ignored) {
    (void)ignored;
    trainer_object *self = (trainer_object *)object;
    if (smri_network_enter(self->network) < 0) return NULL;
    PyObject *dict = PyDict_New();
    if (dict != NULL && add_arena(dict, self->network->network, "", smri_trainer_gradients(self->trainer)) < 0)
        Py_CLEAR(dict);
    smri_network_leave(self->network);
    return dict;
}

static int add_step(PyObject *dict, uint64_t step) {
    PyArrayObject *array = smri_new_array(NPY_INT64, 0, NULL);
    if (array == NULL) return -1;
    *(int64_t *)PyArray_DATA(array) = (int64_t)step;
    const int failed = PyDict_SetItemString(dict, "step", (PyObject *)array);
    Py_DECREF((PyObject *)array);
    return failed;
}

PyObject *smri_trainer_copy_state(PyObject *object, PyObject *ignored) {
    (void)ignored;
    trainer_object *self = (trainer_object *)object;
    if (smri_network_enter(self->network) < 0) return NULL;
    PyObject *dict = PyDict_New();
    const char *name;
    const float *arena;
    for (size_t i = 0; dict != NULL && (arena = smri_trainer_state(self->trainer, i, &name)) != NULL; i++) {
        char prefix[32];
        PyOS_snprintf(prefix, sizeof prefix, "%s/", name);
        if (add_arena(dict, self->network->network, prefix, arena) < 0) Py_CLEAR(dict);
    }
    if (dict != NULL && add_step(dict, *smri_trainer_step_count(self->trainer)) < 0) Py_CLEAR(dict);
    smri_network_leave(self->network);
    return dict;
}

/* "<moment>/<param>": the moment's arena, with *param; NULL when there is none of this name. */
static const float *find_tensor(const trainer_object *self, const char *key, size_t *param) {
    const char *name, *slash = strchr(key, '/');
    const float *arena;
    for (size_t i = 0; slash != NULL && (arena = smri_trainer_state(self->trainer, i, &name)) != NULL; i++) {
        if (strlen(name) != (size_t)(slash - key) || memcmp(name, key, strlen(name)) != 0) continue;
        size_t count;
        const struct smri_parameter *table = smri_network_table(self->network->network, &count);
        *param = smri_param_number(self->network->network, slash + 1);
        return *param < count && !table[*param].is_buffer ? arena : NULL;
    }
    return NULL;
}

PyObject *smri_trainer_copy_tensor(PyObject *object, PyObject *name) {
    trainer_object *self = (trainer_object *)object;
    const char *key = PyUnicode_AsUTF8AndSize(name, NULL);
    if (key == NULL) return NULL;
    size_t param;
    const float *arena = find_tensor(self, key, &param);
    if (arena == NULL) return PyErr_Format(PyExc_KeyError, "tensor: the optimizer has no %R", name);
    if (smri_network_enter(self->network) < 0) return NULL;
    PyObject *array = smri_param_array(self->network->network, param, arena);
    smri_network_leave(self->network);
    return array;
}

PyObject *smri_trainer_table(PyObject *object, void *ignored) {
    (void)ignored;
    trainer_object *self = (trainer_object *)object;
    size_t count;
    const struct smri_parameter *table = smri_network_table(self->network->network, &count);
    const char *moment;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && smri_trainer_state(self->trainer, i, &moment) != NULL; i++)
        for (size_t param = 0; list != NULL && param < count; param++) {
            if (table[param].is_buffer) continue;
            PyObject *name = PyUnicode_FromFormat("%s/%s", moment, table[param].name),
                *shape = smri_param_shape(&table[param]);
            PyObject *pair = name == NULL || shape == NULL ? NULL : PyTuple_Pack(2, name, shape);
            if (pair == NULL || PyList_Append(list, pair) < 0) Py_CLEAR(list);
            Py_XDECREF(name);
            Py_XDECREF(shape);
            Py_XDECREF(pair);
        }
    return list;
}

/* The mapping's value for "<prefix>/<name>", checked against the param; a new reference or NULL with an exception. */
static PyArrayObject *moment_from(PyObject *state, const char *prefix, const struct smri_parameter *param) {
    char key[SMRI_NAME_MAX + 32];
    PyOS_snprintf(key, sizeof key, "%s/%s", prefix, param->name);
    PyObject *value = PyMapping_GetItemString(state, key);
    if (value == NULL) {
        if (PyErr_ExceptionMatches(PyExc_KeyError))
            PyErr_Format(PyExc_ValueError, "optimizer state: %s is missing (saved with another optimizer?)", key);
        return NULL;
    }
    PyArrayObject *array = smri_array(value, NPY_FLOAT32, -1, key);
    Py_DECREF(value);
    if (array == NULL) return NULL;
    npy_intp shape[4];
    for (size_t i = 0; i < param->ndim; i++) shape[i] = (npy_intp)param->shape[i];
    if (smri_expect_shape(array, key, (int)param->ndim, shape) == 0) return array;
    Py_DECREF((PyObject *)array);
    return NULL;
}

static int step_from(PyObject *state, uint64_t *step) {
    PyObject *value = PyMapping_GetItemString(state, "step");
    if (value == NULL) {
        if (PyErr_ExceptionMatches(PyExc_KeyError)) PyErr_SetString(PyExc_ValueError, "optimizer state: step is missing");
        return -1;
    }
    PyObject *number = PyNumber_Long(value);
    Py_DECREF(value);
    const long long count = number != NULL ? PyLong_AsLongLong(number) : -1;
    Py_XDECREF(number);
    if (count < 0) {
        if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "optimizer state: expected step of 0 or more, got %lld", count);
        return -1;
    }
    *step = (uint64_t)count;
    return 0;
}

/* Checks every array of the mapping first (arrays[moment * count + param]), so that a bad one changes nothing. */
static int collect_moments(trainer_object *self, PyObject *state, PyArrayObject **arrays, size_t *n_used) {
    size_t count;
    const struct smri_parameter *table = smri_network_table(self->network->network, &count);
    const char *name;
    *n_used = 0;
    for (size_t i = 0; smri_trainer_state(self->trainer, i, &name) != NULL; i++)
        for (size_t param = 0; param < count && !table[param].is_buffer; param++)
            if ((arrays[(*n_used)++] = moment_from(state, name, &table[param])) == NULL) return -1;
    Py_ssize_t size = PyMapping_Size(state);
    if (size < 0) return -1;
    if ((size_t)size == *n_used + 1) return 0;
    PyErr_Format(PyExc_ValueError, "optimizer state: expected %zu entries, got %zd (saved with another optimizer?)",
                 *n_used + 1, size);
    return -1;
}

static void import_moments(trainer_object *self, PyArrayObject *const *arrays) {
    size_t count;
    const struct smri_parameter *table = smri_network_table(self->network->network, &count);
    const char *name;
    float *arena;
    for (size_t i = 0; (arena = smri_trainer_state(self->trainer, i, &name)) != NULL; i++)
        for (size_t param = 0; param < count && !table[param].is_buffer; param++)
            smri_network_import(self->network->network, param, arena, smri_floats(*arrays++));
}

PyObject *smri_trainer_load_state(PyObject *object, PyObject *state) {
    trainer_object *self = (trainer_object *)object;
    size_t count, n_used = 0;
    uint64_t step;
    (void)smri_network_table(self->network->network, &count);
    PyArrayObject **arrays = PyMem_Calloc(2 * count, sizeof *arrays);
    if (arrays == NULL) return PyErr_NoMemory();
    PyObject *result = NULL;
    if (collect_moments(self, state, arrays, &n_used) == 0 && step_from(state, &step) == 0 &&
        smri_network_enter(self->network) == 0) {
        import_moments(self, arrays);
        *smri_trainer_step_count(self->trainer) = step;
        smri_network_leave(self->network);
        result = Py_NewRef(Py_None);
    }
    for (size_t i = 0; i < n_used; i++) Py_XDECREF((PyObject *)arrays[i]);
    PyMem_Free(arrays);
    return result;
}
