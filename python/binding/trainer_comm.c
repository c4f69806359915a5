/* Area trainer: the calls between ranks, which Python makes. They come from a step that has dropped the GIL, and take it. */
#include "trainer_comm.h"

/* An exception that was set before a call, such as KeyboardInterrupt, waits meanwhile; it gives way to that of another rank. */
struct exception {
    PyObject *type, *value, *traceback;
};

/* While `is_busy`, no signal's handler is to raise: the other ranks wait for this one. It is set before any line of Python
 * runs. */
static void set_busy(struct smri_python_comm *self, PyObject *busy) {
    if (PyObject_SetAttrString(self->ranks, "is_busy", busy) < 0) PyErr_Clear();
}

static struct smri_python_comm *enter(void *context, struct exception *waiting) {
    struct smri_python_comm *self = context;
    PyEval_RestoreThread(self->interrupt->state);
    PyErr_Fetch(&waiting->type, &waiting->value, &waiting->traceback);
    set_busy(self, Py_True);
    return self;
}

/* Drops the GIL, and `result`. SMRI_INTERRUPTED for NULL, whose exception stays set: smri_raise keeps it. */
static smri_status leave(struct smri_python_comm *self, PyObject *result, struct exception *waiting) {
    struct exception now;
    PyErr_Fetch(&now.type, &now.value, &now.traceback);
    set_busy(self, Py_False);
    const bool failed = result == NULL;
    struct exception *kept = failed ? &now : waiting, *dropped = failed ? waiting : &now;
    PyErr_Restore(kept->type, kept->value, kept->traceback);
    Py_XDECREF(dropped->type);
    Py_XDECREF(dropped->value);
    Py_XDECREF(dropped->traceback);
    Py_XDECREF(result);
    self->interrupt->state = PyEval_SaveThread();
    return failed ? smri_fail(SMRI_INTERRUPTED, "a call between ranks failed") : SMRI_OK;
}

/* The core's memory as an array, for the time of a call. */
static PyObject *view_of(float *data, size_t n) {
    return PyArray_SimpleNewFromData(1, (npy_intp[]){(npy_intp)n}, NPY_FLOAT32, data);
}

static PyObject *list_of(const size_t *numbers, size_t n) {
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; list != NULL && i < n; i++) {
        PyObject *number = PyLong_FromSize_t(numbers[i]);
        if (number == NULL || PyList_SetItem(list, (Py_ssize_t)i, number) < 0) Py_CLEAR(list);
    }
    return list;
}

static smri_status gather(void *context, float *data, const size_t *bounds) {
    struct exception waiting;
    struct smri_python_comm *self = enter(context, &waiting);
    PyObject *array = view_of(data, bounds[self->comm.size]), *list = list_of(bounds, self->comm.size + 1);
    PyObject *result = array != NULL && list != NULL ? PyObject_CallMethod(self->ranks, "gather", "OO", array, list) : NULL;
    Py_XDECREF(array);
    Py_XDECREF(list);
    return leave(self, result, &waiting);
}

static smri_status begin_sum(void *context, float *data, size_t n, size_t n_terms, enum smri_precision wire) {
    struct exception waiting;
    struct smri_python_comm *self = enter(context, &waiting);
    PyObject *array = view_of(data, n), *result = NULL;
    if (array != NULL)
        result = PyObject_CallMethod(self->ranks, "begin_sum", "Ons", array, (Py_ssize_t)n_terms,
                                     wire == SMRI_BF16 ? "bf16" : "fp32");
    Py_XDECREF(array);
    return leave(self, result, &waiting);
}

static smri_status finish_sums(void *context) {
    struct exception waiting;
    struct smri_python_comm *self = enter(context, &waiting);
    return leave(self, PyObject_CallMethod(self->ranks, "finish_sums", NULL), &waiting);
}

static smri_status agree(void *context, smri_status status) {
    struct exception waiting;
    struct smri_python_comm *self = enter(context, &waiting);
    PyObject *result =
        PyObject_CallMethod(self->ranks, "agree", "is", (int)status, status == SMRI_OK ? "" : smri_message());
    const smri_status called = leave(self, result, &waiting);
    return called != SMRI_OK ? called : status;
}

static int read_number(PyObject *object, const char *name, size_t *out) {
    PyObject *number = PyObject_GetAttrString(object, name);
    const int read = number != NULL && smri_convert_size(number, out);
    Py_XDECREF(number);
    return read ? 0 : -1;
}

int smri_python_comm_init(struct smri_python_comm *self, PyObject *ranks) {
    self->comm = (struct smri_comm){
        .context = self, .gather = gather, .begin_sum = begin_sum, .finish_sums = finish_sums, .agree = agree};
    if (read_number(ranks, "rank", &self->comm.rank) < 0 || read_number(ranks, "size", &self->comm.size) < 0) return -1;
    self->ranks = Py_NewRef(ranks);
    return 0;
}

/* Without the GIL, so that a thread may add up while another computes. */
static PyObject *tree_sum(PyObject *module, PyObject *object) {
    (void)module;
    const bool is_bf16 = PyArray_Check(object) && PyArray_TYPE((PyArrayObject *)object) == NPY_UINT16;
    const enum smri_precision precision = is_bf16 ? SMRI_BF16 : SMRI_FP32;
    PyArrayObject *rows = smri_array(object, smri_precision_type(precision), 2, "rows");
    if (rows == NULL) return NULL;
    if ((PyObject *)rows != object || !PyArray_ISWRITEABLE(rows)) {
        Py_DECREF((PyObject *)rows);
        PyErr_SetString(PyExc_ValueError, "rows: expected a writeable C-contiguous array");
        return NULL;
    }
    void *data = PyArray_DATA(rows);
    const size_t n_rows = (size_t)PyArray_DIM(rows, 0), n = (size_t)PyArray_DIM(rows, 1);
    Py_BEGIN_ALLOW_THREADS;
    smri_tree_sum(data, n_rows, n, precision);
    Py_END_ALLOW_THREADS;
    Py_DECREF((PyObject *)rows);
    return Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"tree_sum", tree_sum, METH_O,
     "tree_sum(rows): rows[0] becomes the sum of all rows, ((0 + 1) + (2 + 3)) + 4; the others are overwritten."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_tree_sum(PyObject *module) { return PyModule_AddFunctions(module, functions); }
