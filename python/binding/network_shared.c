/* Area network: what the types Network and Trainer share: the lock, interruption, converters of arguments. */
#include "network_object.h"

#include <string.h>

#include "state.h"

typedef struct smri_network_object network_object;

int smri_network_enter(network_object *self) { return smri_lock_enter(&self->lock, "Network"); }
void smri_network_leave(network_object *self) { smri_lock_leave(&self->lock); }

static int ask_python(void *context) {
    struct smri_interrupt *interrupt = context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double passed =
        (double)(now.tv_sec - interrupt->last.tv_sec) + 1e-9 * (double)(now.tv_nsec - interrupt->last.tv_nsec);
    if (passed < 0.05) return 0;
    interrupt->last = now;
    PyEval_RestoreThread(interrupt->state);
    const int stop = PyErr_CheckSignals();
    interrupt->state = PyEval_SaveThread();
    return stop;
}

struct smri_poll smri_interrupt_begin(struct smri_interrupt *interrupt) {
    clock_gettime(CLOCK_MONOTONIC, &interrupt->last);
    interrupt->state = PyEval_SaveThread();
    return (struct smri_poll){ask_python, interrupt};
}

void smri_interrupt_end(struct smri_interrupt *interrupt) { PyEval_RestoreThread(interrupt->state); }

int smri_convert_size(PyObject *object, void *out) {
    const Py_ssize_t value = PyNumber_AsSsize_t(object, PyExc_OverflowError);
    if (value == -1 && PyErr_Occurred()) return 0;
    if (value < 0) {
        PyErr_Format(PyExc_ValueError, "expected a number of 0 or more, got %zd", value);
        return 0;
    }
    *(size_t *)out = (size_t)value;
    return 1;
}

int smri_convert_precision(PyObject *object, void *out) {
    const char *name = PyUnicode_AsUTF8AndSize(object, NULL);
    return name != NULL && smri_parse_precision(name, out) == 0;
}

int smri_require_keywords(PyObject *keywords, const char *const *names) {
    for (; *names != NULL; names++) {
        if (keywords != NULL && PyDict_GetItemString(keywords, *names) != NULL) continue;
        PyErr_Format(PyExc_TypeError, "missing keyword argument '%s'", *names);
        return -1;
    }
    return 0;
}

PyArrayObject *smri_images_array(PyObject *object, const smri_network *network, const char *what) {
    const struct smri_network_config *config = smri_network_config_of(network);
    PyArrayObject *images = smri_array(object, NPY_FLOAT32, 4, what);
    if (images == NULL) return NULL;
    const npy_intp size = (npy_intp)config->image_size;
    if (smri_expect_shape(images, what, 4, (npy_intp[]){-1, size, size, (npy_intp)config->in_channels}) == 0) return images;
    Py_DECREF((PyObject *)images);
    return NULL;
}

PyObject *smri_times_list(const struct smri_op_time *times, size_t count) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *row = Py_BuildValue("(ssdd)", times[i].op, times[i].layer, times[i].seconds, times[i].flops);
        if (row == NULL || PyList_Append(list, row) < 0) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}
