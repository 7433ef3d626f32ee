/* The library in C: log-likelihoods with their derivatives (`likelihood.h`, `vectors.h`, `rows.h`) and answers of distributions
(`answers.h`) on blocks of rows, whose intermediate results stay in the cache next to the core. This file sees tensors' memory and calls
the others. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* No row depends on another. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif

#if defined(__GNUC__)
#define UNROLLED _Pragma("GCC unroll 4")
#else
#define UNROLLED
#endif

/* One number of many, in any order. */
#if defined(__GNUC__)
#define REDUCED(pragma) _Pragma(pragma)
#else
#define REDUCED(pragma)
#endif

/* The widest vectors that the machine has are chosen when the library is loaded. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORISED
#endif

#if defined(__GNUC__)
#define FETCH(address) __builtin_prefetch(address)
#else
#define FETCH(address) (void)(address)
#endif
#define LINE 64 /* bytes of a cache line */

typedef struct {
    char *start; /* NULL where there is no such tensor */
    Py_ssize_t by_row, by_column, columns;
    char type, is_number;
} Memory;

#define BLOCK 256   /* rows that are worked on at once */
#define VECTORS 64  /* of them, where a row has many numbers that depend on each other */
#define RANKED 64
#define LANES 16     /* numbers of a vector, or of some */
#define CHOICES 1024 /* logits that are worked on at once, where a row has no more */
#define STRETCH 256  /* of them, while which as many of the next rows arrive */

/* Rows of logits one after the other, each with the index of a class; results likewise. */
typedef struct {
    const void *logits;
    const int64_t *index;
    void *value, *slopes, *shares;
    Py_ssize_t classes;
} Choice;

typedef struct {
    Memory scores, orders, value, slopes;
    Py_ssize_t items;
} Rankings;

/* What `likelihood/kernels.py` says of a likelihood: the formula and the links of its parameters; `components` of a mixture (0 without),
classes, or coordinates of a vector. */
enum { SCALAR, CLASSES, VECTOR };
enum { REALS, POSITIVES, COUNTS }; /* the targets of a formula */
enum { IDENTITY, CONSTANT, GIVEN, EXPONENTIAL, SOFTPLUS, DIRECTION };
#define MOST_PARAMETERS 4

typedef struct {
    int32_t kind, columns;         /* of raw outputs */
    double lower, number, other;   /* what is added; the constant value, and its logarithm or, of a direction, cosine and sine */
    double least, greatest;        /* between which single precision does */
} Link;

typedef struct {
    int32_t kind, formula, parameters, components, is_whole, is_angle, has_support, is_double;
    double least, greatest, harmless; /* the ends of the support, and a number within */
    double fast_least, fast_greatest; /* between which single precision does */
    Link links[MOST_PARAMETERS];
} Likelihood;

typedef struct { Memory raw, y, loc, scale, value, slopes; } Memories;

/* likelihood, rows, raw outputs, y and what is left of it, logarithm of the unit, values, slopes (or NULL) -> rows that were done */
typedef Py_ssize_t (*Fused)(const Likelihood *, Py_ssize_t, const float *, const float *, const float *, float, float *, float *);

/* double comes first: single precision falls back to it. */
#define IS_SINGLE 0
#include "precision.h"
#include "elementary.h"
#include "rows.h"
#include "likelihood.h"
#include "vectors.h"
#undef IS_SINGLE
#define IS_SINGLE 1
#include "precision.h"
#include "elementary.h"
#include "rows.h"
#include "likelihood.h"

/* What torch says of a tensor and where it says so: the part that is used here of DLPack's table of functions (dlpack.h, from version 1.3). */
typedef struct {
    void *data;
    int32_t device, device_number, dimensions;
    uint8_t kind, bits;
    uint16_t lanes;
    const int64_t *shape, *strides; /* in numbers */
    uint64_t offset;
} Tensor;

typedef struct {
    uint32_t major, minor;
    const void *other_versions;
    void (*allocate)(void), (*from_object)(void), (*to_object)(void);
    int (*describe)(void *object, Tensor *tensor);
    void (*stream)(void);
} Exchange;

enum { CPU = 1, INTEGER = 0, FLOATING = 2 };

static const Exchange *exchange_of(PyObject *capsule) { return PyCapsule_GetPointer(capsule, "dlpack_exchange_api"); }

/* A tensor (), (rows,) or (rows, columns) whose memory steps can go along; 0 for any other. */
static int described(const Exchange *exchange, PyObject *object, Tensor *tensor, Memory *memory) {
    if (exchange->describe(object, tensor)) {
        PyErr_Clear();
        return 0;
    }
    const int dimensions = tensor->dimensions;
    if (tensor->device != CPU || tensor->lanes != 1 || dimensions > 2 || (dimensions && tensor->strides == NULL)) return 0;
    if (tensor->kind == FLOATING && (tensor->bits == 32 || tensor->bits == 64)) memory->type = tensor->bits == 32 ? 'f' : 'd';
    else if (tensor->kind == INTEGER && tensor->bits == 64) memory->type = 'q';
    else return 0;
    const Py_ssize_t size = tensor->bits / 8;
    memory->start = (char *)tensor->data + tensor->offset;
    memory->by_row = dimensions ? (Py_ssize_t)tensor->strides[0] * size : 0;
    memory->by_column = dimensions == 2 ? (Py_ssize_t)tensor->strides[1] * size : 0;
    memory->columns = dimensions == 2 ? (Py_ssize_t)tensor->shape[1] : 1;
    memory->is_number = dimensions == 0;
    const int is_empty = (dimensions && tensor->shape[0] == 0) || memory->columns == 0;
    return tensor->data != NULL || is_empty; /* some tensors only pass themselves off as such */
}

/* Working memory that begins at a line of the cache, and what to free. */
static void *working_memory(size_t size, void **held) {
    *held = malloc(size + LINE);
    return *held == NULL ? NULL : (char *)*held + LINE - (uintptr_t)*held % LINE;
}

static PyObject *refused(void) {
    PyErr_SetString(PyExc_ValueError, "the tensors have other rows or columns than the likelihood");
    return NULL;
}

/* Whether a tensor has one number for each of so many rows, or so many columns of them. */
static int fits(const Tensor *tensor, const Memory *memory, int64_t rows, Py_ssize_t columns) {
    return tensor->dimensions >= 1 && tensor->shape[0] == rows && memory->columns == columns;
}

static PyObject *log_prob(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    (void)module;
    if (given != 10) {
        PyErr_SetString(PyExc_TypeError, "log_prob(exchange, likelihood, start, stop, raw, y, loc, scale, value, slopes) takes 10 arguments");
        return NULL;
    }
    const Exchange *exchange = exchange_of(arguments[0]);
    char *bytes = NULL;
    Py_ssize_t length = 0;
    if (exchange == NULL || PyBytes_AsStringAndSize(arguments[1], &bytes, &length) < 0) return NULL;
    const Py_ssize_t start = PyLong_AsSsize_t(arguments[2]), stop = PyLong_AsSsize_t(arguments[3]);
    if (PyErr_Occurred()) return NULL;
    Likelihood it;
    if (length != (Py_ssize_t)sizeof it) return refused();
    memcpy(&it, bytes, sizeof it);
    Tensor tensors[6];
    Memories memories = {{NULL}};
    Memory *memory = &memories.raw;
    for (int place = 0; place < 6; place++) {
        if (arguments[4 + place] == Py_None) continue;
        if (!described(exchange, arguments[4 + place], &tensors[place], &memory[place])) Py_RETURN_FALSE;
    }
    const int has_loc_scale = arguments[6] != Py_None, needs_grad = arguments[9] != Py_None;
    if (arguments[4] == Py_None || arguments[5] == Py_None || arguments[8] == Py_None || (arguments[7] != Py_None) != has_loc_scale) return refused();
    const Py_ssize_t each = it.kind == SCALAR && it.components ? it.components : 1, numbers = it.kind == VECTOR ? it.components : 1;
    Py_ssize_t width = it.kind == VECTOR ? numbers * (numbers + 3) / 2 : it.components, raws = 0;
    for (int place = 0; it.kind == SCALAR && place < it.parameters; place++) raws += it.links[place].columns;
    width += raws * each;
    const int64_t rows = tensors[0].dimensions ? tensors[0].shape[0] : -1;
    int fine = start >= 0 && stop <= rows && fits(&tensors[0], &memories.raw, rows, width) && fits(&tensors[1], &memories.y, rows, numbers)
        && fits(&tensors[4], &memories.value, rows, 1) && memories.value.type != 'q';
    if (needs_grad) fine &= fits(&tensors[5], &memories.slopes, rows, width) && memories.slopes.type != 'q';
    for (int place = 2; has_loc_scale && place < 4; place++) fine &= memory[place].is_number || fits(&tensors[place], &memory[place], rows, 1);
    if (!fine || memories.raw.type == 'q') return refused();
    void *held, *space;
    const size_t columns = (size_t)(it.kind == VECTOR ? width + 3 * numbers : (3 + 2 * MOST_PARAMETERS) * it.components);
    space = working_memory(columns * (it.kind == VECTOR ? VECTORS : BLOCK) * sizeof(double), &held);
    if (space == NULL) return PyErr_NoMemory();
    PyThreadState *others = stop - start > 4096 ? PyEval_SaveThread() : NULL; /* for a few rows not worth it */
    if (rows && it.kind == VECTOR) vectors(&it, &memories, start, stop, space);
    else if (rows) (it.is_double || memories.raw.type == 'd' ? likelihood_double : likelihood_float)(&it, &memories, start, stop, space);
    if (others != NULL) PyEval_RestoreThread(others);
    free(held);
    Py_RETURN_TRUE;
}

static PyObject *rank(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    (void)module;
    if (given != 7) {
        PyErr_SetString(PyExc_TypeError, "rank(exchange, start, stop, scores, orders, value, slopes) takes 7 arguments");
        return NULL;
    }
    const Exchange *exchange = exchange_of(arguments[0]);
    if (exchange == NULL) return NULL;
    const Py_ssize_t start = PyLong_AsSsize_t(arguments[1]), stop = PyLong_AsSsize_t(arguments[2]);
    if (PyErr_Occurred()) return NULL;
    Tensor tensors[4];
    Rankings it = {{NULL}};
    Memory *memory = &it.scores;
    const int count = arguments[6] == Py_None ? 3 : 4;
    for (int place = 0; place < count; place++)
        if (!described(exchange, arguments[3 + place], &tensors[place], &memory[place])) Py_RETURN_FALSE;
    it.items = it.scores.columns;
    const int64_t rows = tensors[0].dimensions == 2 ? tensors[0].shape[0] : -1;
    int fine = start >= 0 && stop <= rows && it.scores.type != 'q' && it.orders.type == 'q';
    for (int place = 1; place < count; place++)
        fine &= fits(&tensors[place], &memory[place], rows, place == 2 ? 1 : it.items) && (place == 1 || memory[place].type != 'q');
    if (!fine) return refused();
    void *held, *space = working_memory((size_t)it.items * 2 * RANKED * sizeof(double), &held);
    if (space == NULL) return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    fine = (it.scores.type == 'd' ? rank_double : rank_float)(&it, start, stop, space);
    Py_END_ALLOW_THREADS
    free(held);
    return PyBool_FromLong(fine);
}

/* Whether its numbers follow each other in memory. */
static int is_dense(const Tensor *tensor) {
    int64_t count = 1;
    for (int dimension = tensor->dimensions - 1; dimension >= 0; count *= tensor->shape[dimension--])
        if (tensor->shape[dimension] != 1 && tensor->strides[dimension] != count) return 0;
    return 1;
}

static PyObject *multiply_rows(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    (void)module;
    if (given != 3 && given != 4) {
        PyErr_SetString(PyExc_TypeError, "multiply_rows(exchange, tensor, factors, divisor) takes 3 or 4 arguments");
        return NULL;
    }
    const Exchange *exchange = exchange_of(arguments[0]);
    if (exchange == NULL) return NULL;
    const double divisor = given == 4 ? PyFloat_AsDouble(arguments[3]) : 1;
    if (PyErr_Occurred()) return NULL;
    Tensor tensor, factors;
    Memory rows, factor;
    const int fine = described(exchange, arguments[1], &tensor, &rows) && described(exchange, arguments[2], &factors, &factor)
        && rows.type == factor.type && rows.type != 'q' && tensor.dimensions == 2
        && (given == 4 ? factor.is_number : fits(&factors, &factor, tensor.shape[0], 1));
    union { float single; double wide; } quotient;
    if (fine && given == 4) {
        if (rows.type == 'd') quotient.wide = *(const double *)factor.start / divisor;
        else quotient.single = *(const float *)factor.start / (float)divisor;
        factor.start = (char *)&quotient;
    }
    if (fine) {
        Py_ssize_t total = (Py_ssize_t)tensor.shape[0];
        if (given == 4 && is_dense(&tensor)) { /* one column */
            total *= rows.columns;
            rows.columns = 1;
            rows.by_row = tensor.bits / 8;
        }
        Py_BEGIN_ALLOW_THREADS
        (rows.type == 'd' ? multiply_rows_double : multiply_rows_float)(&rows, &factor, total);
        Py_END_ALLOW_THREADS
    }
    return PyBool_FromLong(fine);
}

static PyObject *negative_mean(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    (void)module;
    if (given != 3) {
        PyErr_SetString(PyExc_TypeError, "negative_mean(exchange, values, result) takes 3 arguments");
        return NULL;
    }
    const Exchange *exchange = exchange_of(arguments[0]);
    if (exchange == NULL) return NULL;
    Tensor tensors[2];
    Memory values, result;
    const int fine = described(exchange, arguments[1], &tensors[0], &values) && described(exchange, arguments[2], &tensors[1], &result)
        && result.is_number && values.type == result.type && values.type != 'q' && tensors[0].dimensions == 1;
    if (!fine) Py_RETURN_FALSE;
    const int64_t rows = tensors[0].shape[0];
    const double sum = (values.type == 'd' ? sum_double : sum_float)(&values, (Py_ssize_t)rows);
    if (values.type == 'd') *(double *)result.start = -sum / (double)rows;
    else *(float *)result.start = (float)(-sum / (double)rows);
    Py_RETURN_TRUE;
}

static PyObject *choose(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    (void)module;
    const int tensors_given = (int)given - 3;
    if (tensors_given < 3 || tensors_given > 4) {
        PyErr_SetString(PyExc_TypeError, "choose(exchange, start, stop, logits, index, value, slopes) takes 3 or 4 tensors");
        return NULL;
    }
    const Exchange *exchange = exchange_of(arguments[0]);
    if (exchange == NULL) return NULL;
    const Py_ssize_t start = PyLong_AsSsize_t(arguments[1]), stop = PyLong_AsSsize_t(arguments[2]);
    if (PyErr_Occurred()) return NULL;
    Tensor tensors[4];
    Memory memory[4];
    for (int place = 0; place < tensors_given; place++)
        if (!described(exchange, arguments[3 + place], &tensors[place], &memory[place]) || !is_dense(&tensors[place])) Py_RETURN_FALSE;
    const char type = memory[0].type;
    const int64_t rows = tensors[0].dimensions == 2 ? tensors[0].shape[0] : -1, classes = memory[0].columns;
    int fits = type != 'q' && memory[1].type == 'q' && start >= 0 && stop <= rows && classes > 0;
    for (int place = 1; place < tensors_given; place++) {
        fits &= tensors[place].dimensions == (place == 3 ? 2 : 1) && tensors[place].shape[0] == rows;
        fits &= (memory[place].type == type) == (place != 1) && memory[place].columns == (place == 3 ? classes : 1);
    }
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "logits (rows, classes) and slopes of that shape, values (rows,) of their type, and 64-bit indices (rows,)");
        return NULL;
    }
    void *held = malloc((size_t)(classes + CHOICES) * sizeof(double) + LINE);
    if (held == NULL) Py_RETURN_FALSE;
    const Choice choice = {
        .logits = memory[0].start, .index = (const int64_t *)(void *)memory[1].start, .value = memory[2].start,
        .slopes = tensors_given == 4 ? memory[3].start : NULL, .shares = (char *)held + LINE - (uintptr_t)held % LINE, .classes = classes};
    int fine;
    Py_BEGIN_ALLOW_THREADS
    fine = (type == 'd' ? choose_double : choose_float)(&choice, start, stop);
    Py_END_ALLOW_THREADS
    free(held);
    return PyBool_FromLong(fine);
}

#include "answers.h"

static PyObject *understands(PyObject *module, PyObject *capsule) {
    (void)module;
    const Exchange *exchange = PyCapsule_IsValid(capsule, "dlpack_exchange_api") ? exchange_of(capsule) : NULL;
    return PyBool_FromLong(exchange != NULL && exchange->major == 1 && exchange->describe != NULL);
}

static PyMethodDef methods[] = {
    {"log_prob", (PyCFunction)(void (*)(void))log_prob, METH_FASTCALL,
     "log_prob(exchange, likelihood, start, stop, raw, y, loc, scale, value, slopes): log-likelihoods and, unless slopes are None, derivatives "
     "by the raw outputs, of rows from start to stop; False for a tensor of another type."},
    {"rank", (PyCFunction)(void (*)(void))rank, METH_FASTCALL,
     "rank(exchange, start, stop, scores, orders, value, slopes): the same of whole rankings; False also where scores are too far apart."},
    {"multiply_rows", (PyCFunction)(void (*)(void))multiply_rows, METH_FASTCALL,
     "multiply_rows(exchange, tensor, factors, divisor): each row of (rows, columns) times its factor, in place, or all times one factor (), "
     "which is divided first; False for other shapes or types."},
    {"negative_mean", (PyCFunction)(void (*)(void))negative_mean, METH_FASTCALL,
     "negative_mean(exchange, values, result): less the mean of (rows,), into a number of their type; False for other shapes or types."},
    {"choose", (PyCFunction)(void (*)(void))choose, METH_FASTCALL,
     "choose(exchange, start, stop, logits, index, value, slopes): log-probabilities of classes and, if asked for, 1{k = class} - p_k, of "
     "rows from start to stop; False for a logit or an index that is none."},
    {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL,
     "answer(exchange, number, result, *tensors): the answer of that number in ANSWERS, of tensors that broadcast to the result; False where "
     "one of its numbers is not ordinary or a tensor is of another type."},
    {"understands", (PyCFunction)understands, METH_O, "understands(exchange): whether tensors can be described by this table of functions."},
    {NULL, NULL, 0, NULL},
};

static int named(PyObject *module) {
#define TEXT_OF(name, ...) #name " "
    if (PyModule_AddStringConstant(module, "FORMULAS", FORMULAS(TEXT_OF)) < 0) return -1;
    return PyModule_AddStringConstant(module, "ANSWERS", ANSWERS(TEXT_OF));
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)named}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_blocks", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__blocks(void) { return PyModuleDef_Init(&definition); }
