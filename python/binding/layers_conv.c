/* Area conv: the convolution in its three directions, and its packed weights. All of a convolution's
 * sizes travel as one tuple (N, H, W, C, K, R, S, stride, pad), as struct smri_conv2d in the core; activations are float32,
 * or uint16 with precision "bf16". */
#include "conv2d_shape.h"

#include <string.h>

#include "call.h"
#include "smri/memory.h"

#define BLOCK 32 /* output channels in one block of packed weights */

int smri_parse_conv2d(PyObject *module, PyObject *tuple, const char *precision_name, struct smri_conv2d *shape) {
    enum smri_precision precision;
    if (smri_parse_precision(precision_name, &precision) < 0) return -1;
    Py_ssize_t N, H, W, C, K, R, S, stride, pad;
    if (!PyTuple_Check(tuple)) {
        PyErr_Format(PyExc_TypeError, "shape: expected a tuple (N, H, W, C, K, R, S, stride, pad), got %R", tuple);
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "nnnnnnnnn;shape: expected (N, H, W, C, K, R, S, stride, pad)", &N, &H, &W, &C, &K, &R,
                          &S, &stride, &pad))
        return -1;
    if (N < 0 || H < 0 || W < 0 || C < 0 || K < 0 || R < 0 || S < 0 || stride < 0 || pad < 0) {
        PyErr_Format(PyExc_ValueError, "shape: expected sizes >= 0, got %R", tuple);
        return -1;
    }
    *shape = (struct smri_conv2d){(size_t)N, (size_t)H, (size_t)W,      (size_t)C,  (size_t)K,
                                  (size_t)R, (size_t)S, (size_t)stride, (size_t)pad, precision};
    const smri_status status = smri_conv2d_check(shape);
    if (status != SMRI_OK) smri_raise(module, status);
    return status == SMRI_OK ? 0 : -1;
}

static size_t n_workers(Py_ssize_t n_threads) { return n_threads > 0 ? (size_t)n_threads : smri_cpu_count(); }

/* Both in one array: what is shared, then what is each thread's own. */
static size_t bytes_in_all(struct smri_workspace_bytes bytes, Py_ssize_t n_threads) {
    return smri_align(bytes.shared) + n_workers(n_threads) * smri_align(bytes.per_thread);
}

static struct smri_workspace workspace_in(void *array, struct smri_workspace_bytes bytes) {
    return (struct smri_workspace){array, (char *)array + smri_align(bytes.shared), smri_align(bytes.per_thread)};
}

static int parse_method(const char *name, enum smri_conv2d_direction direction, const struct smri_conv2d *shape,
                        enum smri_conv2d_method *method) {
    for (int i = SMRI_CONV2D_AUTO; i < SMRI_CONV2D_METHODS; i++) {
        if (strcmp(name, smri_conv2d_method_name(i)) != 0) continue;
        *method = i;
        if (smri_conv2d_supports(i, direction, shape)) return 0;
        PyErr_Format(PyExc_NotImplementedError, "method: %s cannot do this shape, direction or instruction set", name);
        return -1;
    }
    PyErr_Format(PyExc_ValueError, "method: unknown method '%s'", name);
    return -1;
}

struct dims {
    npy_intp x[4], w[4], y[4];
};

static struct dims dims_of(const struct smri_conv2d *s) {
    const npy_intp C = (npy_intp)s->C, N = (npy_intp)s->N, blocks = (npy_intp)((s->K + BLOCK - 1) / BLOCK);
    return (struct dims){
        {N, (npy_intp)s->H, (npy_intp)s->W, C},
        {blocks, (npy_intp)(s->R * s->S), C, BLOCK},
        {N, (npy_intp)smri_conv2d_out_rows(s), (npy_intp)smri_conv2d_out_cols(s), (npy_intp)s->K},
    };
}

/* For tests of struct smri_conv2d_fusion: makes the source by copying it, and adds the bits of what is to be kept, and
 * of what it is shown, to arrays of counters. Bits that come once are there in the end. */
struct witness {
    const char *source;
    char *result, *kept, *seen;
    size_t source_channels, result_channels, number_bytes;
};

static void add_bits(char *sums, const char *numbers, size_t count, size_t number_bytes) {
    for (size_t i = 0; i < count; i++)
        if (number_bytes == sizeof(uint16_t)) ((uint16_t *)sums)[i] += ((const uint16_t *)numbers)[i];
        else ((uint32_t *)sums)[i] += ((const uint32_t *)numbers)[i];
}

static void copy_source(void *producer, void *part, size_t first, size_t rows, bool keep) {
    const struct witness *w = producer;
    const size_t numbers = rows * w->source_channels, at = first * w->source_channels * w->number_bytes;
    memcpy(part, w->source + at, numbers * w->number_bytes);
    if (keep) add_bits(w->kept + at, part, numbers, w->number_bytes);
}

static void see_result(void *consumer, size_t first, size_t rows, size_t channel, size_t channels) {
    const struct witness *w = consumer;
    for (size_t row = first; row < first + rows; row++) {
        const size_t at = (row * w->result_channels + channel) * w->number_bytes;
        add_bits(w->seen + at, w->result + at, channels, w->number_bytes);
    }
}

/* The common body: out = direction(a, b). A given workspace serves benchmarks and overrun tests. */
static PyObject *run(PyObject *module, PyObject *arguments, PyObject *keywords, enum smri_conv2d_direction direction) {
    static char *names[] = {"shape", "a", "b", "out", "accumulate", "n_threads", "method", "workspace", "precision",
                            "scale", "shift", "relu", "kept", "seen", NULL};
    static const char *const operand_names[3][2] = {{"x", "w"}, {"dy", "w"}, {"x", "dy"}};
    PyObject *tuple, *a_object, *b_object, *out_object = NULL, *workspace_object = NULL;
    PyObject *scale = NULL, *shift = NULL, *kept = NULL, *seen = NULL;
    int accumulate = 0, relu = 0;
    Py_ssize_t n_threads = 0;
    const char *method_name = "auto", *precision_name = "fp32";
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOO|$OpnsOsOOpOO", names, &tuple, &a_object, &b_object,
                                     &out_object, &accumulate, &n_threads, &method_name, &workspace_object, &precision_name,
                                     &scale, &shift, &relu, &kept, &seen))
        return NULL;
    struct smri_conv2d shape;
    enum smri_conv2d_method method;
    if (smri_parse_conv2d(module, tuple, precision_name, &shape) < 0) return NULL;
    if (parse_method(method_name, direction, &shape, &method) < 0) return NULL;

    struct smri_call call = {.module = module};
    struct dims dims = dims_of(&shape);
    const bool forward = direction == SMRI_CONV2D_FORWARD, of_weights = direction == SMRI_CONV2D_BACKWARD_WEIGHTS;
    npy_intp *a_dims = direction == SMRI_CONV2D_BACKWARD_DATA ? dims.y : dims.x, *b_dims = of_weights ? dims.y : dims.w;
    npy_intp *out_dims[] = {dims.y, dims.x, dims.w};
    const enum smri_precision b_precision = of_weights ? shape.precision : SMRI_FP32;
    const enum smri_precision out_precision = of_weights ? SMRI_FP32 : shape.precision;
    const char *const *operands = operand_names[direction];
    const void *a = smri_call_typed(&call, a_object, operands[0], smri_precision_type(shape.precision), 4, a_dims);
    const void *b = smri_call_typed(&call, b_object, operands[1], smri_precision_type(b_precision), 4, b_dims);
    const struct smri_conv2d_epilogue epilogue = {smri_call_in(&call, scale, "scale", 1, dims.y + 3),
                                                  smri_call_in(&call, shift, "shift", 1, dims.y + 3), accumulate, relu};
    const bool finishes = epilogue.scale != NULL;
    smri_call_check(&call, finishes == (epilogue.shift != NULL) && (finishes || !relu) && (forward || !finishes),
                    "scale, shift: expected both, with or without relu, of forward only");
    smri_call_check(&call, !accumulate || ((direction == SMRI_CONV2D_BACKWARD_DATA || finishes) && out_object != NULL &&
                                           out_object != Py_None),
                    "accumulate: only backward_data and forward with scale and shift can, and only into a given out");
    void *out = smri_call_out_activations(&call, out_object, "out", 4, out_dims[direction], out_precision);
    struct witness witness = {.source = a, .result = out, .number_bytes = smri_precision_bytes(shape.precision)};
    witness.source_channels = (size_t)a_dims[3], witness.result_channels = (size_t)out_dims[direction][3];
    witness.kept = smri_call_inout_activations(&call, kept, "kept", 4, a_dims, shape.precision);
    witness.seen = smri_call_inout_activations(&call, seen, "seen", 4, out_dims[direction], shape.precision);
    const struct smri_conv2d_fusion parts = {
        .produce_src = witness.kept != NULL ? copy_source : NULL, .producer = &witness, .producer_reads = {a, NULL},
        .consume_dst = witness.seen != NULL ? see_result : NULL, .consumer = &witness,
    };
    const bool in_parts = parts.produce_src != NULL || parts.consume_dst != NULL;
    smri_call_check(&call, !in_parts || (!finishes && smri_conv2d_part_rows(method, direction, &shape) > 0),
                    "kept, seen: this method, shape or direction has no parts");
    if (parts.produce_src != NULL) a = NULL; /* nobody else reads it */

    const struct smri_workspace_bytes sizes = smri_conv2d_workspace_bytes(method, direction, finishes, &shape);
    const size_t bytes = bytes_in_all(sizes, n_threads);
    void *given = smri_call_workspace(&call, workspace_object, bytes);
    if (smri_call_begin(&call, n_threads, given != NULL ? 0 : bytes)) {
        const struct smri_workspace scratch = workspace_in(given != NULL ? given : call.workspace, sizes);
        struct smri_conv2d_call conv = {.shape = &shape, .method = method, .out = out, .workspace = scratch, .pool = call.pool};
        conv.x = direction != SMRI_CONV2D_BACKWARD_DATA ? a : NULL, conv.dy = forward ? NULL : of_weights ? b : a;
        conv.w = of_weights ? NULL : b;
        conv.accumulate = accumulate && !forward;
        conv.epilogue = finishes ? &epilogue : NULL;
        conv.fusion = in_parts ? &parts : NULL;
        (forward      ? smri_conv2d_forward
         : of_weights ? smri_conv2d_backward_weights
                      : smri_conv2d_backward_data)(&conv);
    }
    return smri_call_end(&call);
}

static PyObject *conv2d_forward(PyObject *module, PyObject *arguments, PyObject *keywords) {
    return run(module, arguments, keywords, SMRI_CONV2D_FORWARD);
}

static PyObject *conv2d_backward_data(PyObject *module, PyObject *arguments, PyObject *keywords) {
    return run(module, arguments, keywords, SMRI_CONV2D_BACKWARD_DATA);
}

static PyObject *conv2d_backward_weights(PyObject *module, PyObject *arguments, PyObject *keywords) {
    return run(module, arguments, keywords, SMRI_CONV2D_BACKWARD_WEIGHTS);
}

static PyObject *conv2d_pack(PyObject *module, PyObject *object) {
    PyArrayObject *w = smri_array(object, NPY_FLOAT32, 4, "w"), *packed = NULL;
    if (w == NULL) return NULL;
    const npy_intp *d = PyArray_DIMS(w);
    const struct smri_conv2d shape = {1, (size_t)d[2], (size_t)d[3], (size_t)d[1], (size_t)d[0],
                                      (size_t)d[2], (size_t)d[3], 1, 0, SMRI_FP32};
    const smri_status status = smri_conv2d_check(&shape);
    if (status != SMRI_OK)
        smri_raise(module, status);
    else
        packed = smri_new_array(NPY_FLOAT32, 4, dims_of(&shape).w);
    if (packed != NULL) smri_conv2d_pack(smri_floats(packed), smri_floats(w), &shape);
    Py_DECREF(w);
    return (PyObject *)packed;
}

static PyObject *conv2d_plan(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"shape", "n_threads", "method", "precision", NULL};
    PyObject *tuple;
    Py_ssize_t n_threads = 0;
    const char *name = "auto", *precision_name = "fp32";
    struct smri_conv2d shape;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|ns$s", names, &tuple, &n_threads, &name, &precision_name))
        return NULL;
    if (smri_parse_conv2d(module, tuple, precision_name, &shape) < 0) return NULL;
    if (n_threads < 0) return PyErr_Format(PyExc_ValueError, "n_threads: expected >= 0, got %zd", n_threads);
    PyObject *plan = PyList_New(0);
    for (int direction = SMRI_CONV2D_FORWARD; plan != NULL && direction <= SMRI_CONV2D_BACKWARD_WEIGHTS; direction++) {
        enum smri_conv2d_method method;
        PyObject *entry = NULL;
        if (parse_method(name, direction, &shape, &method) == 0) {
            const struct smri_workspace_bytes sizes = smri_conv2d_workspace_bytes(method, direction, false, &shape);
            if (method == SMRI_CONV2D_AUTO) method = smri_conv2d_choose(direction, &shape);
            entry = Py_BuildValue("sn", smri_conv2d_method_name(method), (Py_ssize_t)bytes_in_all(sizes, n_threads));
        } else if (PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
            PyErr_Clear();
            entry = Py_NewRef(Py_None);
        }
        if (entry == NULL || PyList_Append(plan, entry) < 0) Py_CLEAR(plan);
        Py_XDECREF(entry);
    }
    return plan;
}

#define KEYWORDS(function) (PyCFunction)(void (*)(void))function, METH_VARARGS | METH_KEYWORDS

static PyMethodDef functions[] = {
    {"conv2d_forward", KEYWORDS(conv2d_forward),
     "conv2d_forward(shape, x, w, *, out=None, n_threads=0, method='auto', workspace=None, precision='fp32', scale=None, "
     "shift=None, relu=False, accumulate=False) -> y [N, P, Q, K], or scale * y + shift (+ out), no less than 0 with relu."},
    {"conv2d_backward_data", KEYWORDS(conv2d_backward_data),
     "conv2d_backward_data(shape, dy, w, *, out=None, accumulate=False, n_threads=0, method='auto', workspace=None, "
     "precision='fp32') -> dx."},
    {"conv2d_backward_weights", KEYWORDS(conv2d_backward_weights),
     "conv2d_backward_weights(shape, x, dy, *, out=None, n_threads=0, method='auto', workspace=None, precision='fp32') -> dw, "
     "packed."},
    {"conv2d_pack", conv2d_pack, METH_O, "conv2d_pack(w [K, C, R, S]) -> packed [ceil(K/32), R*S, C, 32]."},
    {"conv2d_plan", KEYWORDS(conv2d_plan),
     "conv2d_plan(shape, n_threads=0, method='auto', *, precision='fp32') -> [(method, workspace bytes) or None] of the three "
     "directions."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_layers_conv(PyObject *module) { return PyModule_AddFunctions(module, functions); }
