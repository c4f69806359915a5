/* Area cam: class activation maps. */
#include "call.h"

#include "smri/cam.h"

#define PARSE(format, ...) PyArg_ParseTupleAndKeywords(arguments, keywords, format, names, __VA_ARGS__)

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
    ENTRY(cam_map, "cam_map(activations, gradients, method='gradcam', normalise=False, n_threads=1, out=None) -> maps."),
    ENTRY(upsample, "upsample(maps, rows, cols, n_threads=1, out=None) -> bilinear enlargement of maps[N, h, w]."),
    {NULL, NULL, 0, NULL},
};

int smri_bind_cam(PyObject *module) { return PyModule_AddFunctions(module, functions); }
