/* Tests' area losses: NT-Xent and cross-entropy. */
#include "../call.h"

#include "smri/loss.h"
#include "testing.h"

#define PARSE(format, ...) PyArg_ParseTupleAndKeywords(arguments, keywords, format, names, __VA_ARGS__)

static PyObject *ntxent(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"z", "temperature", "groups", "n_threads", "out", "standardize", NULL};
    PyObject *z_object, *groups = Py_None, *out = NULL;
    struct smri_ntxent options = {0};
    Py_ssize_t n_threads = 1;
    int standardize = 0;
    if (!PARSE("Of|OnOp", &z_object, &options.temperature, &groups, &n_threads, &out, &standardize)) return NULL;
    options.standardize = standardize != 0;
    struct smri_call call = {.module = module};
    npy_intp dims[2] = {-1, -1};
    const float *z = smri_call_need(&call, z_object, "z", 2, dims);
    smri_call_check(&call, dims[0] % 2 == 0, "z: expected an even number of rows, two views of each image, got %zd",
                    (Py_ssize_t)dims[0]);
    if (groups != Py_None) options.groups = smri_call_typed(&call, groups, "groups", NPY_INT32, 1, dims);
    float *dz = smri_call_out(&call, out, "out", 2, dims);
    const size_t n_pairs = call.failed ? 0 : (size_t)dims[0] / 2, D = call.failed ? 0 : (size_t)dims[1];
    double loss = 0.0;
    size_t bytes = 0;
    if (!call.failed) smri_call_finish(&call, smri_ntxent_workspace_bytes(&bytes, n_pairs, D));
    if (smri_call_begin(&call, n_threads, bytes))
        smri_call_finish(&call, smri_ntxent(&loss, dz, z, n_pairs, D, &options, call.workspace, call.pool));
    return smri_call_end_with(&call, call.failed ? NULL : Py_BuildValue("(d)", loss));
}

static PyObject *cross_entropy(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"logits", "labels", "class_weights", "label_smoothing", NULL};
    PyObject *logits_object, *labels_object, *weights = NULL;
    struct smri_cross_entropy options = {0};
    if (!PARSE("OO|Of", &logits_object, &labels_object, &weights, &options.label_smoothing)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp dims[2] = {-1, -1};
    const float *logits = smri_call_need(&call, logits_object, "logits", 2, dims);
    const int32_t *labels = smri_call_typed(&call, labels_object, "labels", NPY_INT32, 1, dims);
    options.class_weights = smri_call_in(&call, weights, "class_weights", 1, dims + 1);
    float *dlogits = smri_call_new(&call, NPY_FLOAT32, 2, dims);
    double loss = 0.0;
    size_t n_correct = 0;
    if (!call.failed)
        smri_call_finish(&call, smri_softmax_cross_entropy(&loss, &n_correct, dlogits, logits, labels, (size_t)dims[0],
                                                           (size_t)dims[1], &options));
    return smri_call_end_with(&call, call.failed ? NULL : Py_BuildValue("(dn)", loss, (Py_ssize_t)n_correct));
}

#define ENTRY(name, doc) {#name, (PyCFunction)(void (*)(void))name, METH_VARARGS | METH_KEYWORDS, doc}
static PyMethodDef functions[] = {
    ENTRY(ntxent,
          "ntxent(z, temperature, groups=None, n_threads=1, out=None, standardize=False) -> loss, dz; rows i and i + n are a "
                  "pair."),
    ENTRY(cross_entropy, "cross_entropy(logits, labels, class_weights=None, label_smoothing=0) -> loss, n_correct, dlogits."),
    {NULL, NULL, 0, NULL},
};

int smri_bind_testing_losses(PyObject *module) { return PyModule_AddFunctions(module, functions); }
