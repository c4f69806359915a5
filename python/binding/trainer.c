/* Area trainer: the type Trainer. */
#include "network_object.h"

#include <stdio.h>
#include <string.h>

#include "state.h"
#include "trainer_object.h"

typedef struct smri_trainer_object trainer_object;

static PyObject *module_of(trainer_object *self) { return PyType_GetModule(Py_TYPE((PyObject *)self)); }

static int parse_choice(const char *what, const char *given, const char *const *choices, size_t n_choices) {
    for (size_t i = 0; i < n_choices; i++)
        if (strcmp(given, choices[i]) == 0) return (int)i;
    char list[128] = "";
    for (size_t i = 0; i < n_choices; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s'%s'", i == 0 ? "" : ", ", choices[i]);
    PyErr_Format(PyExc_ValueError, "%s: expected one of %s, got '%s'", what, list, given);
    return -1;
}

/* Factors for the stages and the head; NULL for None. 0 or -1. */
static int parse_rates(PyObject *given, double rates[SMRI_STAGES + 1], const double **at) {
    *at = NULL;
    if (given == NULL || given == Py_None) return 0;
    PyObject *items = PySequence_Tuple(given);
    if (items == NULL) return -1;
    const Py_ssize_t n = PyTuple_Size(items);
    for (Py_ssize_t i = 0; i < n && n == SMRI_STAGES + 1 && !PyErr_Occurred(); i++)
        rates[i] = PyFloat_AsDouble(PyTuple_GetItem(items, i));
    Py_DECREF(items);
    if (n != SMRI_STAGES + 1) PyErr_Format(PyExc_ValueError, "stage_rates: expected %d numbers, got %zd", SMRI_STAGES + 1, n);
    *at = rates;
    return PyErr_Occurred() ? -1 : 0;
}

/* *network and *ranks (None or absent: NULL) are borrowed from the arguments; `rates` is where the config's may lie. */
static int parse_config(PyObject *module, PyObject *arguments, PyObject *keywords, struct smri_network_object **network,
                        struct smri_trainer_config *config, double rates[SMRI_STAGES + 1], PyObject **ranks) {
    static char *names[] = {"network",      "optimizer", "sharpness",   "nesterov", "beta2",     "eps",
                            "weight_decay", "decay_all", "bn_momentum", "batch",    "bn_groups", "micro_batch",
                            "precision",    "frozen_stages", "stage_rates", "ranks", "wire", NULL};
    static const char *const optimizers[] = {"sgd", "adamw", "lars"}, *const sharpnesses[] = {"none", "sam", "asam", "asam-authors"};
    static const char *const wires[] = {"fp32", "bf16"}; /* in the order of enum smri_precision */
    const char *optimizer = "sgd", *sharpness = "none", *wire = wires[SMRI_FP32];
    int nesterov = 0, decay_all = 0;
    PyObject *rates_given = NULL;
    *config = (struct smri_trainer_config){.beta2 = 0.999, .eps = 1e-8, .bn_momentum = 0.1f, .bn_groups = 1};
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!|$sspdddpfO&O&O&O&O&OOs:Trainer", names, smri_network_type(module),
                                     (PyObject **)network, &optimizer, &sharpness, &nesterov, &config->beta2, &config->eps,
                                     &config->weight_decay, &decay_all, &config->bn_momentum, smri_convert_size,
                                     &config->batch, smri_convert_size, &config->bn_groups, smri_convert_size,
                                     &config->micro_batch, smri_convert_precision, &config->precision,
                                     smri_convert_size, &config->frozen_stages, &rates_given, ranks, &wire) ||
        smri_require_keywords(keywords, (const char *const[]){"batch", NULL}) < 0 ||
        parse_rates(rates_given, rates, &config->stage_rates) < 0)
        return -1;
    const int chosen = parse_choice("optimizer", optimizer, optimizers, 3);
    const int sharp = chosen < 0 ? -1 : parse_choice("sharpness", sharpness, sharpnesses, 4);
    const int wired = sharp < 0 ? -1 : parse_choice("wire", wire, wires, 2);
    if (wired < 0) return -1;
    config->wire = (enum smri_precision)wired;
    config->optimizer = (enum smri_optimizer)chosen;
    config->sharpness = (enum smri_sharpness)sharp;
    config->nesterov = nesterov != 0;
    config->decay_all = decay_all != 0;
    if (*ranks == Py_None) *ranks = NULL;
    return 0;
}

static PyObject *trainer_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    PyObject *module = PyType_GetModule(type);
    struct smri_network_object *network;
    struct smri_trainer_config config;
    double rates[SMRI_STAGES + 1];
    PyObject *ranks = NULL;
    if (parse_config(module, arguments, keywords, &network, &config, rates, &ranks) < 0) return NULL;
    const allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    trainer_object *self = (trainer_object *)allocate(type, 0);
    if (self == NULL) return NULL;
    Py_INCREF((PyObject *)network);
    self->network = network;
    if (ranks != NULL && smri_python_comm_init(&self->comm, ranks) < 0) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    config.comm = ranks != NULL ? &self->comm.comm : NULL;
    if (smri_network_enter(network) < 0) { /* its pool writes the first zeros */
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    smri_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = smri_trainer_create(&self->trainer, network->network, &config, network->pool);
    Py_END_ALLOW_THREADS;
    smri_network_leave(network);
    if (status == SMRI_OK) return (PyObject *)self;
    smri_raise(module, status);
    Py_DECREF((PyObject *)self);
    return NULL;
}

static void trainer_dealloc(PyObject *object) {
    trainer_object *self = (trainer_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    smri_trainer_destroy(self->trainer);
    Py_XDECREF((PyObject *)self->network);
    Py_XDECREF(self->comm.ranks);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF((PyObject *)type);
}

/* ---- steps ---- */

/* What the two kinds of step share, parsed. */
struct step_call {
    PyArrayObject *images;
    size_t n;
    struct smri_step step;
    const struct smri_ntxent *ntxent; /* NULL: supervised */
    const int32_t *labels;
    const struct smri_cross_entropy *cross_entropy;
};

static PyObject *run_step(trainer_object *self, struct step_call *call) {
    if (smri_network_enter(self->network) < 0) return NULL;
    struct smri_step_result result;
    struct smri_interrupt interrupt;
    const float *images = smri_floats(call->images);
    const struct smri_poll poll = smri_interrupt_begin(&interrupt);
    self->comm.interrupt = &interrupt;
    const smri_status status =
        call->ntxent != NULL
            ? smri_trainer_simclr_step(self->trainer, &result, images, call->n / 2, call->ntxent, &call->step, poll)
            : smri_trainer_supervised_step(self->trainer, &result, images, call->labels, call->n, call->cross_entropy,
                                           &call->step, poll);
    smri_interrupt_end(&interrupt);
    smri_network_leave(self->network);
    if (status != SMRI_OK) return smri_raise(module_of(self), status);
    PyObject *dict = Py_BuildValue("{s:d,s:d}", "loss", result.loss, "gradient_norm", result.gradient_norm);
    if (dict == NULL || call->ntxent != NULL) return dict;
    PyObject *n_correct = PyLong_FromSize_t(result.n_correct);
    if (n_correct == NULL || PyDict_SetItemString(dict, "n_correct", n_correct) < 0) Py_CLEAR(dict);
    Py_XDECREF(n_correct);
    return dict;
}

static int parse_step(uint64_t index, struct smri_step *step) {
    if (index > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "step: expected a number below 2**32, got %llu", (unsigned long long)index);
        return -1;
    }
    step->index = (uint32_t)index;
    return 0;
}

/* `object` as an int32 or float32 vector of n numbers; NULL is None and fine. *array: a new reference or NULL. */
static int parse_vector(PyObject *object, int type, size_t n, const char *what, PyArrayObject **array) {
    *array = NULL;
    if (object == NULL || object == Py_None) return 0;
    *array = smri_array_copy(object, type, 1, what);
    if (*array == NULL) return -1;
    return smri_expect_shape(*array, what, 1, (npy_intp[]){(npy_intp)n});
}

static PyObject *trainer_simclr_step(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"views", "lr", "momentum", "temperature", "seed", "step", "rho", "groups",
                            "standardize", NULL};
    trainer_object *self = (trainer_object *)object;
    PyObject *views, *groups_given = NULL;
    uint64_t index;
    struct step_call call = {0};
    struct smri_ntxent ntxent = {0};
    int standardize = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|$ddfO&O&fOp:simclr_step", names, &views, &call.step.lr,
                                     &call.step.momentum, &ntxent.temperature, smri_convert_u64, &call.step.seed,
                                     smri_convert_u64, &index, &call.step.rho, &groups_given, &standardize) ||
        smri_require_keywords(keywords, (const char *const[]){"lr", "momentum", "temperature", "seed", "step", NULL}) < 0)
        return NULL;
    if (parse_step(index, &call.step) < 0) return NULL;
    call.images = smri_images_array(views, self->network->network, "views");
    if (call.images == NULL) return NULL;
    call.n = (size_t)PyArray_DIM(call.images, 0);
    PyArrayObject *groups = NULL;
    PyObject *result = NULL;
    if (call.n % 2 != 0) {
        PyErr_Format(PyExc_ValueError, "views: expected an even number of images, rows i and i + n a pair, got %zu", call.n);
    } else if (parse_vector(groups_given, NPY_INT32, call.n, "groups", &groups) == 0) {
        ntxent.standardize = standardize != 0;
        ntxent.groups = groups != NULL ? PyArray_DATA(groups) : NULL;
        call.ntxent = &ntxent;
        result = run_step(self, &call);
    }
    Py_XDECREF((PyObject *)groups);
    Py_DECREF((PyObject *)call.images);
    return result;
}

static PyObject *trainer_supervised_step(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"images", "labels", "lr", "momentum", "seed", "step", "rho", "class_weights", "label_smoothing",
                            NULL};
    trainer_object *self = (trainer_object *)object;
    PyObject *images, *labels_given, *weights_given = NULL;
    uint64_t index;
    struct step_call call = {0};
    struct smri_cross_entropy options = {0};
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|$ddO&O&fOf:supervised_step", names, &images, &labels_given,
                                     &call.step.lr, &call.step.momentum, smri_convert_u64, &call.step.seed,
                                     smri_convert_u64, &index, &call.step.rho, &weights_given, &options.label_smoothing) ||
        smri_require_keywords(keywords, (const char *const[]){"lr", "momentum", "seed", "step", NULL}) < 0)
        return NULL;
    if (parse_step(index, &call.step) < 0) return NULL;
    call.images = smri_images_array(images, self->network->network, "images");
    if (call.images == NULL) return NULL;
    call.n = (size_t)PyArray_DIM(call.images, 0);
    PyArrayObject *labels = NULL, *weights = NULL;
    PyObject *result = NULL;
    if (parse_vector(labels_given, NPY_INT32, call.n, "labels", &labels) == 0 &&
        parse_vector(weights_given, NPY_FLOAT32, smri_network_output_count(self->network->network), "class_weights",
                     &weights) == 0) {
        if (labels == NULL) {
            PyErr_SetString(PyExc_TypeError, "labels: expected a numpy array, got None");
        } else {
            options.class_weights = weights != NULL ? smri_floats(weights) : NULL;
            call.labels = PyArray_DATA(labels);
            call.cross_entropy = &options;
            result = run_step(self, &call);
        }
    }
    Py_XDECREF((PyObject *)labels);
    Py_XDECREF((PyObject *)weights);
    Py_DECREF((PyObject *)call.images);
    return result;
}

/* ---- looking at it ---- */

static PyObject *trainer_rows(PyObject *object, PyObject *number) {
    size_t n, begin, end;
    if (!smri_convert_size(number, &n)) return NULL;
    smri_trainer_rows(((trainer_object *)object)->trainer, n, &begin, &end);
    return Py_BuildValue("(nn)", (Py_ssize_t)begin, (Py_ssize_t)end);
}

static PyObject *trainer_output(PyObject *object, PyObject *ignored) {
    (void)ignored;
    trainer_object *self = (trainer_object *)object;
    if (smri_network_enter(self->network) < 0) return NULL;
    size_t n, size;
    const float *output = smri_trainer_output(self->trainer, &n, &size);
    PyArrayObject *array = smri_new_array(NPY_FLOAT32, 2, (npy_intp[]){(npy_intp)n, (npy_intp)size});
    if (array != NULL) {
        if (smri_network_config_of(self->network->network)->n_head == 0)
            smri_network_export_features(self->network->network, smri_floats(array), output, n);
        else if (n > 0)
            memcpy(smri_floats(array), output, n * size * sizeof(float));
    }
    smri_network_leave(self->network);
    return (PyObject *)array;
}

static PyObject *trainer_profile(PyObject *object, PyObject *ignored) {
    (void)ignored;
    trainer_object *self = (trainer_object *)object;
    if (smri_network_enter(self->network) < 0) return NULL;
    size_t count;
    const struct smri_op_time *times = smri_trainer_times(self->trainer, &count);
    PyObject *list = smri_times_list(times, count);
    smri_network_leave(self->network);
    return list;
}

static PyObject *get_memory_bytes(PyObject *object, void *ignored) {
    (void)ignored;
    return PyLong_FromSize_t(smri_trainer_bytes(((trainer_object *)object)->trainer));
}

static PyObject *get_steps(PyObject *object, void *ignored) {
    (void)ignored;
    return PyLong_FromUnsignedLongLong(*smri_trainer_step_count(((trainer_object *)object)->trainer));
}

#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
    {"simclr_step", WITH_KEYWORDS(trainer_simclr_step), METH_VARARGS | METH_KEYWORDS,
     "simclr_step(views, *, lr, momentum, temperature, seed, step, rho=0.0, groups=None, standardize=False) -> dict: "
     "loss, gradient_norm."},
    {"supervised_step", WITH_KEYWORDS(trainer_supervised_step), METH_VARARGS | METH_KEYWORDS,
     "supervised_step(images, labels, *, lr, momentum, seed, step, rho=0.0, class_weights=None, label_smoothing=0.0) -> "
     "dict: loss, gradient_norm, n_correct."},
    {"rows", trainer_rows, METH_O, "rows(n) -> (begin, end): which images of a batch of n a step reads at this rank."},
    {"output", trainer_output, METH_NOARGS, "output() -> (n, D): embeddings or logits of the latest step's first pass."},
    {"gradients", smri_trainer_copy_gradients, METH_NOARGS, "gradients() -> dict: copies of the latest gradients."},
    {"state", smri_trainer_copy_state, METH_NOARGS, "state() -> dict: copies of the optimizer's state."},
    {"tensor", smri_trainer_copy_tensor, METH_O, "tensor(name) -> ndarray: a copy of one tensor of `table`, as in state()."},
    {"load", smri_trainer_load_state, METH_O, "load(state): the reverse of state(); all or nothing."},
    {"profile", trainer_profile, METH_NOARGS,
     "profile() -> [(op, layer, seconds, flops)]: each operation of the latest pass; with SAM, of the second one."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"memory_bytes", get_memory_bytes, NULL, "What this trainer allocated.", NULL},
    {"table", smri_trainer_table, NULL, "(name, shape) of each tensor of the optimizer's state, in order; float32.", NULL},
    {"steps", get_steps, NULL, "Steps that were done.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, trainer_new},
    {Py_tp_dealloc, trainer_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_doc, "Trainer(network, *, optimizer='sgd', sharpness='none', nesterov=False, beta2=0.999, eps=1e-8, "
                "weight_decay=0.0, decay_all=False, bn_momentum=0.1, batch, bn_groups=1, micro_batch=0, precision='fp32', "
                "frozen_stages=0, stage_rates=None, ranks=None, wire='fp32')\n\n"
                "Optimizer state and activations for training a Network."},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "simclr_mri._core.Trainer",
    .basicsize = sizeof(trainer_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int smri_bind_trainer(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL) return -1;
    const int failed = PyModule_AddObjectRef(module, "Trainer", type);
    Py_DECREF(type);
    return failed < 0 ? failed : smri_bind_tree_sum(module);
}
