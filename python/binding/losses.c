/* Area losses: NT-Xent, cross-entropy and class activation maps. */
#include "call.h"

#include "smri/cam.h"
#include "smri/loss.h"

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

static PyObject *cam_map(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"activations", "gradients", "method", "normalise", "n_threads", "out", NULL};
    PyObject *A_object, *dA_object, *out = NULL;
    const char *name = "gradcam";
    int normalise = 0;
    Py_ssize_t n_threads = 1;
    if (!PARSE("OO|spnO", &A_object, &dA_object, &name, &normalise, &n_threads, &out)) return NULL;
    struct smri_call call = {.module = module};
    struct smri_cam shape = {.normalise = normalise != 0};
    const smri_status status = smri_cam_parse(&shape.method, name);
    if (status != SMRI_OK) return smri_raise(module, status);
    npy_intp dims[4] = {-1, -1, -1, -1};
    const float *A = smri_call_need(&call, A_object, "activations", 4, dims);
    const float *dA = smri_call_in(&call, dA_object, "gradients", 4, dims);
    smri_call_check(&call, dA != NULL || shape.method == SMRI_CAM_EIGEN,
                    "gradients: expected an array for %s, got None", name);
    smri_call_check(&call, dims[1] > 0 && dims[2] > 0 && dims[3] > 0, "activations: expected no empty dimension");
    float *map = smri_call_out(&call, out, "out", 3, dims);
    shape.N = (size_t)dims[0], shape.H = (size_t)dims[1], shape.W = (size_t)dims[2], shape.C = (size_t)dims[3];
    if (n_threads < 1) n_threads = (Py_ssize_t)smri_cpu_count();
    size_t bytes = 0;
    if (!call.failed) smri_call_finish(&call, smri_cam_workspace_bytes(&bytes, &shape, (size_t)n_threads));
    if (smri_call_begin(&call, n_threads, bytes)) smri_cam_map(map, A, dA, &shape, call.workspace, call.pool);
    return smri_call_end(&call);
}

static PyObject *upsample(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"maps", "rows", "cols", "n_threads", "out", NULL};
    PyObject *maps_object, *out = NULL;
    Py_ssize_t rows, cols, n_threads = 1;
    if (!PARSE("Onn|nO", &maps_object, &rows, &cols, &n_threads, &out)) return NULL;
    struct smri_call call = {.module = module};
    npy_intp dims[3] = {-1, -1, -1};
    const float *maps = smri_call_need(&call, maps_object, "maps", 3, dims);
    smri_call_check(&call, rows > 0 && cols > 0 && dims[1] > 0 && dims[2] > 0, "upsample: expected sizes above 0");
    const npy_intp out_dims[3] = {dims[0], rows, cols};
    float *large = smri_call_out(&call, out, "out", 3, out_dims);
    if (smri_call_begin(&call, n_threads, 0))
        smri_upsample_bilinear(large, maps, (size_t)dims[0], (size_t)dims[1], (size_t)dims[2], (size_t)rows, (size_t)cols,
                               call.pool);
    return smri_call_end(&call);
}

#define ENTRY(name, doc) {#name, (PyCFunction)(void (*)(void))name, METH_VARARGS | METH_KEYWORDS, doc}
static PyMethodDef functions[] = {
    ENTRY(ntxent,
          "ntxent(z, temperature, groups=None, n_threads=1, out=None, standardize=False) -> loss, dz; rows i and i + n are a "
                  "pair."),
    ENTRY(cross_entropy, "cross_entropy(logits, labels, class_weights=None, label_smoothing=0) -> loss, n_correct, dlogits."),
    ENTRY(cam_map, "cam_map(activations, gradients, method='gradcam', normalise=False, n_threads=1, out=None) -> maps."),
    ENTRY(upsample, "upsample(maps, rows, cols, n_threads=1, out=None) -> bilinear enlargement of maps[N, h, w]."),
    {NULL, NULL, 0, NULL},
};

int smri_bind_losses(PyObject *module) { return PyModule_AddFunctions(module, functions); }
