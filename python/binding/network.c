/* Area network: the type Network. */
#include "network_object.h"

#include <string.h>

#include "state.h"

typedef struct smri_network_object network_object;

static PyObject *module_of(network_object *self) { return PyType_GetModule(Py_TYPE((PyObject *)self)); }

PyObject *smri_network_type(PyObject *module) { return smri_state_of(module)->network_type; }

/* ---- construction ---- */

static int parse_head_layer(PyObject *row, struct smri_head_layer *layer) {
    PyObject *tuple = PySequence_Tuple(row);
    if (tuple == NULL) return -1;
    int relu;
    const int parsed = PyArg_ParseTuple(tuple, "O&fp;head: expected rows (out_features, dropout, relu)", smri_convert_size,
                                        &layer->out_features, &layer->dropout, &relu);
    Py_DECREF(tuple);
    if (!parsed) return -1;
    layer->relu = relu != 0;
    return 0;
}

static int parse_head(PyObject *head, struct smri_network_config *config) {
    if (head == NULL) return 0;
    const Py_ssize_t count = PySequence_Size(head);
    if (count < 0) return -1;
    if (count > SMRI_HEAD_MAX) {
        PyErr_Format(PyExc_ValueError, "head: expected at most %d layers, got %zd", SMRI_HEAD_MAX, count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *row = PySequence_GetItem(head, i);
        const int failed = row == NULL || parse_head_layer(row, &config->head[i]) < 0;
        Py_XDECREF(row);
        if (failed) return -1;
    }
    config->n_head = (size_t)count;
    return 0;
}

static int parse_features(const char *name, enum smri_features *features) {
    if (strcmp(name, "avgpool") == 0)
        *features = SMRI_FEATURES_AVGPOOL;
    else if (strcmp(name, "flatten") == 0)
        *features = SMRI_FEATURES_FLATTEN;
    else {
        PyErr_Format(PyExc_ValueError, "features: expected 'avgpool' or 'flatten', got '%s'", name);
        return -1;
    }
    return 0;
}

/* `is_drawn` is false for seed=None: the weights will be loaded, and stay 0 until then. */
static int parse_config(PyObject *arguments, PyObject *keywords, struct smri_network_config *config, uint64_t *seed,
                        bool *is_drawn, size_t *n_threads) {
    static char *names[] = {"depth", "image_size", "in_channels", "features", "head", "head_name", "seed", "n_threads", NULL};
    const char *features = "avgpool", *head_name = "fc";
    PyObject *head = NULL, *seed_or_none = NULL;
    *config = (struct smri_network_config){.in_channels = 1};
    *seed = *n_threads = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "i|$O&O&sOsOO&:Network", names, &config->depth, smri_convert_size,
                                     &config->image_size, smri_convert_size, &config->in_channels, &features, &head,
                                     &head_name, &seed_or_none, smri_convert_size, n_threads) ||
        smri_require_keywords(keywords, (const char *const[]){"image_size", NULL}) < 0)
        return -1;
    *is_drawn = seed_or_none != Py_None;
    if (*is_drawn && seed_or_none != NULL && !smri_convert_u64(seed_or_none, seed)) return -1;
    if (strlen(head_name) >= sizeof config->head_name) {
        PyErr_Format(PyExc_ValueError, "head_name: expected at most %zu characters, got '%s'", sizeof config->head_name - 1,
                     head_name);
        return -1;
    }
    strcpy(config->head_name, head_name);
    if (parse_features(features, &config->features) < 0) return -1;
    return parse_head(head, config);
}

static PyObject *network_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    struct smri_network_config config;
    uint64_t seed;
    bool is_drawn;
    size_t n_threads;
    if (parse_config(arguments, keywords, &config, &seed, &is_drawn, &n_threads) < 0) return NULL;
    const allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    network_object *self = (network_object *)allocate(type, 0);
    if (self == NULL) return NULL;
    smri_lock_init(&self->lock);
    smri_status status = smri_pool_create(&self->pool, n_threads);
    if (status == SMRI_OK) status = smri_network_create(&self->network, &config);
    if (status == SMRI_OK && is_drawn) {
        Py_BEGIN_ALLOW_THREADS;
        status = smri_network_initialize(self->network, seed, self->pool);
        Py_END_ALLOW_THREADS;
    }
    if (status == SMRI_OK) return (PyObject *)self;
    smri_raise(PyType_GetModule(type), status);
    Py_DECREF((PyObject *)self);
    return NULL;
}

static void network_dealloc(PyObject *object) {
    network_object *self = (network_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    smri_plan_destroy(self->infer);
    smri_network_destroy(self->network);
    smri_pool_destroy(self->pool);
    smri_lock_destroy(&self->lock);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF((PyObject *)type);
}

/* ---- passes ---- */

/* A cached plan of at least `batch` images. */
static smri_status infer_plan(network_object *self, size_t batch, enum smri_precision precision) {
    const struct smri_plan_config *kept = &self->infer_config;
    if (self->infer != NULL && kept->batch >= batch && kept->precision == precision && self->infer_isa == smri_isa_selected())
        return SMRI_OK;
    smri_plan_destroy(self->infer);
    self->infer = NULL;
    self->infer_config = (struct smri_plan_config){
        .kind = SMRI_PLAN_INFER, .batch = batch, .bn_groups = 1, .precision = precision};
    const smri_status status = smri_plan_create(&self->infer, self->network, &self->infer_config, self->pool);
    self->infer_isa = smri_isa_selected();
    return status;
}

/* Outputs (or features) of n images, batch by batch, into PyTorch's order. */
static smri_status run_forward(network_object *self, float *out, const float *images, size_t n, size_t batch, int features,
                               enum smri_precision precision, struct smri_poll poll) {
    const smri_network *network = self->network;
    const struct smri_network_config *config = smri_network_config_of(network);
    const size_t image = config->image_size * config->image_size * config->in_channels;
    const int is_features = features || config->n_head == 0;
    const size_t size = is_features ? smri_network_feature_count(network) : smri_network_output_count(network);
    smri_status status = n > 0 ? infer_plan(self, batch < n ? batch : n, precision) : SMRI_OK;
    if (batch > n) batch = n > 0 ? n : 1;
    for (size_t i = 0; status == SMRI_OK && i < n; i += batch) {
        const size_t count = n - i < batch ? n - i : batch;
        const float *output;
        size_t ignored;
        status = smri_plan_forward(self->infer, &output, images + i * image, count, &(struct smri_masks){0}, poll);
        if (status != SMRI_OK) break;
        if (is_features)
            smri_network_export_features(network, out + i * size, smri_plan_features(self->infer, &ignored), count);
        else
            memcpy(out + i * size, output, count * size * sizeof(float));
    }
    return status;
}

static int parse_output(const char *name) {
    if (strcmp(name, "head") == 0) return 0;
    if (strcmp(name, "features") == 0) return 1;
    PyErr_Format(PyExc_ValueError, "output: expected 'head' or 'features', got '%s'", name);
    return -1;
}

static PyObject *network_forward(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"images", "output", "batch_size", "precision", NULL};
    network_object *self = (network_object *)object;
    PyObject *given;
    const char *output = "head";
    size_t batch = 64;
    enum smri_precision precision = SMRI_FP32;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|$sO&O&:forward", names, &given, &output, smri_convert_size,
                                     &batch, smri_convert_precision, &precision))
        return NULL;
    const int features = parse_output(output);
    if (features < 0) return NULL;
    if (batch == 0) {
        PyErr_SetString(PyExc_ValueError, "batch_size: expected at least 1, got 0");
        return NULL;
    }
    PyArrayObject *images = smri_images_array(given, self->network, "images");
    if (images == NULL) return NULL;
    const size_t n = (size_t)PyArray_DIM(images, 0);
    const size_t size = features ? smri_network_feature_count(self->network) : smri_network_output_count(self->network);
    PyArrayObject *out = smri_new_array(NPY_FLOAT32, 2, (npy_intp[]){(npy_intp)n, (npy_intp)size});
    smri_status status = SMRI_MEMORY;
    if (out != NULL && smri_network_enter(self) == 0) {
        struct smri_interrupt interrupt;
        const struct smri_poll poll = smri_interrupt_begin(&interrupt);
        status = run_forward(self, smri_floats(out), smri_floats(images), n, batch, features, precision, poll);
        smri_interrupt_end(&interrupt);
        smri_network_leave(self);
        if (status != SMRI_OK) smri_raise(module_of(self), status);
    }
    Py_DECREF((PyObject *)images);
    if (status != SMRI_OK) Py_CLEAR(out);
    return (PyObject *)out;
}

struct explanation {
    size_t n, batch, n_outputs;
    enum smri_stage stage;
    enum smri_precision precision;
    const float *images;
    const int64_t *targets; /* NULL: the largest output */
    float *activations, *gradients, *outputs;
    float *doutput; /* [batch][n_outputs] */
    size_t shape[3];
};

static void mark_targets(struct explanation *job, size_t first, size_t count) {
    memset(job->doutput, 0, count * job->n_outputs * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        const float *row = job->outputs + (first + i) * job->n_outputs;
        size_t target = 0;
        for (size_t k = 1; k < job->n_outputs; k++)
            if (row[k] > row[target]) target = k;
        if (job->targets != NULL) target = (size_t)job->targets[first + i];
        job->doutput[i * job->n_outputs + target] = 1.0f;
    }
}

static smri_status run_explain(network_object *self, struct explanation *job, struct smri_poll poll) {
    const struct smri_network_config *config = smri_network_config_of(self->network);
    const size_t image = config->image_size * config->image_size * config->in_channels;
    const size_t maps = job->shape[0] * job->shape[1] * job->shape[2];
    const struct smri_plan_config plan_config = {
        .kind = SMRI_PLAN_EXPLAIN, .batch = job->batch, .bn_groups = 1, .precision = job->precision};
    smri_plan *plan = NULL;
    smri_status status = smri_plan_create(&plan, self->network, &plan_config, self->pool);
    for (size_t i = 0; status == SMRI_OK && i < job->n; i += job->batch) {
        const size_t count = job->n - i < job->batch ? job->n - i : job->batch;
        const float *output;
        status = smri_plan_forward(plan, &output, job->images + i * image, count, &(struct smri_masks){0}, poll);
        if (status != SMRI_OK) break;
        memcpy(job->outputs + i * job->n_outputs, output, count * job->n_outputs * sizeof(float));
        mark_targets(job, i, count);
        status = smri_plan_explain(plan, job->activations + i * maps, job->gradients + i * maps, job->stage,
                                   job->doutput, poll);
    }
    smri_plan_destroy(plan);
    return status;
}

static int parse_stage(const char *name, enum smri_stage *stage) {
    static const char *const stages[] = {"stem", "layer1", "layer2", "layer3", "layer4"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        if (strcmp(name, stages[i]) != 0) continue;
        *stage = (enum smri_stage)i;
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "stage: expected 'stem', 'layer1', 'layer2', 'layer3' or 'layer4', got '%s'", name);
    return -1;
}

/* targets: None, or (n,) int64 in [0, n_outputs). *array is a new reference or NULL. */
static int parse_targets(PyObject *object, size_t n, size_t n_outputs, PyArrayObject **array) {
    *array = NULL;
    if (object == Py_None) return 0;
    *array = smri_array_copy(object, NPY_INT64, 1, "targets");
    if (*array == NULL || smri_expect_shape(*array, "targets", 1, (npy_intp[]){(npy_intp)n}) < 0) return -1;
    const int64_t *targets = PyArray_DATA(*array);
    for (size_t i = 0; i < n; i++) {
        if (targets[i] >= 0 && (uint64_t)targets[i] < n_outputs) continue;
        PyErr_Format(PyExc_ValueError, "targets: expected numbers in [0, %zu), got %lld at %zu", n_outputs,
                     (long long)targets[i], i);
        return -1;
    }
    return 0;
}

static PyObject *explain_arrays(network_object *self, struct explanation *job) {
    const npy_intp maps[4] = {(npy_intp)job->n, (npy_intp)job->shape[0], (npy_intp)job->shape[1], (npy_intp)job->shape[2]};
    PyArrayObject *activations = smri_new_array(NPY_FLOAT32, 4, maps), *gradients = smri_new_array(NPY_FLOAT32, 4, maps);
    PyArrayObject *outputs = smri_new_array(NPY_FLOAT32, 2, (npy_intp[]){maps[0], (npy_intp)job->n_outputs});
    PyObject *result = NULL;
    job->doutput = PyMem_Calloc(job->batch * job->n_outputs, sizeof(float));
    if (job->doutput == NULL) PyErr_NoMemory();
    if (activations != NULL && gradients != NULL && outputs != NULL && job->doutput != NULL &&
        smri_network_enter(self) == 0) {
        job->activations = smri_floats(activations);
        job->gradients = smri_floats(gradients);
        job->outputs = smri_floats(outputs);
        struct smri_interrupt interrupt;
        const struct smri_poll poll = smri_interrupt_begin(&interrupt);
        const smri_status status = run_explain(self, job, poll);
        smri_interrupt_end(&interrupt);
        smri_network_leave(self);
        if (status == SMRI_OK)
            result = PyTuple_Pack(3, (PyObject *)activations, (PyObject *)gradients, (PyObject *)outputs);
        else
            smri_raise(module_of(self), status);
    }
    PyMem_Free(job->doutput);
    Py_XDECREF((PyObject *)activations);
    Py_XDECREF((PyObject *)gradients);
    Py_XDECREF((PyObject *)outputs);
    return result;
}

static PyObject *network_explain(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"images", "targets", "stage", "batch_size", "precision", NULL};
    network_object *self = (network_object *)object;
    PyObject *given, *targets_given;
    const char *stage = "layer4";
    struct explanation job = {.batch = 16, .n_outputs = smri_network_output_count(self->network)};
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|$sO&O&:explain", names, &given, &targets_given, &stage,
                                     smri_convert_size, &job.batch, smri_convert_precision, &job.precision))
        return NULL;
    if (parse_stage(stage, &job.stage) < 0) return NULL;
    if (job.batch == 0 || smri_network_config_of(self->network)->n_head == 0) {
        PyErr_SetString(PyExc_ValueError, job.batch == 0 ? "batch_size: expected at least 1, got 0"
                                                         : "explain: expected a network with a head, got one without");
        return NULL;
    }
    PyArrayObject *images = smri_images_array(given, self->network, "images"), *targets = NULL;
    if (images == NULL) return NULL;
    PyObject *result = NULL;
    job.n = (size_t)PyArray_DIM(images, 0);
    if (job.batch > job.n) job.batch = job.n > 0 ? job.n : 1;
    if (parse_targets(targets_given, job.n, job.n_outputs, &targets) == 0) {
        job.images = smri_floats(images);
        job.targets = targets != NULL ? PyArray_DATA(targets) : NULL;
        smri_network_stage_shape(job.shape, self->network, job.stage);
        result = explain_arrays(self, &job);
    }
    Py_DECREF((PyObject *)images);
    Py_XDECREF((PyObject *)targets);
    return result;
}

static PyObject *network_memory_bytes(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"kind", "batch", "bn_groups", "precision", "frozen_stages", NULL};
    static const char *const kinds[] = {"infer", "train", "explain"};
    network_object *self = (network_object *)object;
    const char *kind;
    struct smri_plan_config config = {.bn_groups = 1};
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "sO&|O&O&O&:memory_bytes", names, &kind, smri_convert_size,
                                     &config.batch, smri_convert_size, &config.bn_groups, smri_convert_precision,
                                     &config.precision, smri_convert_size, &config.frozen_stages))
        return NULL;
    size_t index = 0;
    while (index < 3 && strcmp(kind, kinds[index]) != 0) index++;
    if (index == 3) {
        PyErr_Format(PyExc_ValueError, "kind: expected 'infer', 'train' or 'explain', got '%s'", kind);
        return NULL;
    }
    config.kind = (enum smri_plan_kind)index;
    size_t bytes;
    smri_status status;
    Py_BEGIN_ALLOW_THREADS; /* it writes the whole plan */
    status = smri_plan_measure(&bytes, self->network, &config, smri_pool_size(self->pool));
    Py_END_ALLOW_THREADS;
    return status == SMRI_OK ? PyLong_FromSize_t(bytes) : smri_raise(module_of(self), status);
}

static PyObject *network_profile(PyObject *object, PyObject *ignored) {
    (void)ignored;
    network_object *self = (network_object *)object;
    if (smri_network_enter(self) < 0) return NULL;
    size_t count = 0;
    const struct smri_op_time *times = self->infer != NULL ? smri_plan_times(self->infer, &count) : NULL;
    PyObject *list = smri_times_list(times, count);
    smri_network_leave(self);
    return list;
}

#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
    {"state", smri_network_get_state, METH_NOARGS,
     "state() -> dict: copies of all parameters and buffers, torchvision's names."},
    {"tensor", smri_network_get_tensor, METH_O, "tensor(name) -> ndarray: a copy of one parameter or buffer, as in state()."},
    {"load", WITH_KEYWORDS(smri_network_load), METH_VARARGS | METH_KEYWORDS,
     "load(state, *, strict=True) -> (missing, unexpected): all or nothing."},
    {"forward", WITH_KEYWORDS(network_forward), METH_VARARGS | METH_KEYWORDS,
     "forward(images, *, output='head', batch_size=64, precision='fp32') -> (n, D): outputs of the head, or 'features'."},
    {"explain", WITH_KEYWORDS(network_explain), METH_VARARGS | METH_KEYWORDS,
     "explain(images, targets, *, stage='layer4', batch_size=16, precision='fp32') -> (activations, gradients, outputs)."},
    {"memory_bytes", WITH_KEYWORDS(network_memory_bytes), METH_VARARGS | METH_KEYWORDS,
     "memory_bytes(kind, batch, bn_groups=1, precision='fp32', frozen_stages=0): bytes of a plan of the kind 'infer', "
     "'train' or 'explain'."},
    {"profile", network_profile, METH_NOARGS,
     "profile() -> [(op, layer, seconds, flops)]: each operation of the latest batch that went forward."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"table", smri_network_get_table, NULL,
     "(name, shape, is_buffer, decays) for every parameter and buffer, in order.", NULL},
    {"n_parameters", smri_network_get_size, NULL, "Numbers that are trained.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, network_new},
    {Py_tp_dealloc, network_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_doc, "Network(depth, *, image_size, in_channels=1, features='avgpool', head=(), head_name='fc', seed=0, "
                "n_threads=0)\n\nResNet weights and running statistics, with a head; zeros for seed=None."},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "simclr_mri._core.Network",
    .basicsize = sizeof(network_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int smri_bind_network(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL) return -1;
    smri_state_of(module)->network_type = type;
    return PyModule_AddObjectRef(module, "Network", type);
}
