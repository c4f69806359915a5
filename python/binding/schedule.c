/* Area schedule: learning rates by step. */
#include "binding.h"

#include "smri/schedule.h"

#define PARSE(format, ...) PyArg_ParseTupleAndKeywords(arguments, keywords, format, names, __VA_ARGS__)

static PyObject *cosine_rate(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"step", "total_steps", "peak_lr", "warmup_steps", "final_lr", "momentum", NULL};
    uint64_t step, total, warmup = 0;
    struct smri_cosine schedule = {.momentum = 0.9};
    if (!PARSE("O&O&d|O&dd", smri_convert_u64, &step, smri_convert_u64, &total, &schedule.peak_lr, smri_convert_u64, &warmup,
               &schedule.final_lr, &schedule.momentum)) return NULL;
    schedule.total_steps = total;
    schedule.warmup_steps = warmup;
    const smri_status status = smri_cosine_check(&schedule);
    if (status != SMRI_OK) return smri_raise(module, status);
    const struct smri_rate rate = smri_cosine_at(&schedule, step);
    return Py_BuildValue("dd", rate.lr, rate.momentum);
}

static PyObject *one_cycle_rate(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"step", "total_steps", "peak_lr", "pct_start", "div_factor", "final_div_factor",
                            "low_momentum", "high_momentum", NULL};
    uint64_t step, total;
    struct smri_one_cycle schedule = {
        .pct_start = 0.3, .div_factor = 25.0, .final_div_factor = 1e4, .low_momentum = 0.85, .high_momentum = 0.95};
    if (!PARSE("O&O&d|ddddd", smri_convert_u64, &step, smri_convert_u64, &total, &schedule.peak_lr, &schedule.pct_start, &schedule.div_factor,
               &schedule.final_div_factor, &schedule.low_momentum, &schedule.high_momentum))
        return NULL;
    schedule.total_steps = total;
    const smri_status status = smri_one_cycle_check(&schedule);
    if (status != SMRI_OK) return smri_raise(module, status);
    const struct smri_rate rate = smri_one_cycle_at(&schedule, step);
    return Py_BuildValue("dd", rate.lr, rate.momentum);
}

#define ENTRY(name, doc) {#name, (PyCFunction)(void (*)(void))name, METH_VARARGS | METH_KEYWORDS, doc}
static PyMethodDef functions[] = {
    ENTRY(cosine_rate, "cosine_rate(step, total_steps, peak_lr, warmup_steps=0, final_lr=0, momentum=0.9) -> lr, momentum."),
    ENTRY(one_cycle_rate, "one_cycle_rate(step, total_steps, peak_lr, pct_start=0.3, ...) -> lr, momentum."),
    {NULL, NULL, 0, NULL},
};

int smri_bind_schedule(PyObject *module) { return PyModule_AddFunctions(module, functions); }
