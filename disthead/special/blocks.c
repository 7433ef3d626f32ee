/* Runs recorded operations on blocks of rows (`recording.py`).

NumPy passes over memory once for each operation, and each of its calls costs a microsecond. Here one call works on all operations,
block after block of a few hundred rows, whose intermediate results stay in the cache next to the core. */

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

/* Operations on memory; functions that are quicker between limits; and those of numbers a, b and c of a row and constants k and l. */
#define OF_MEMORY(X) X(LOAD) X(STORE) X(STORE_TWO) X(STORE_THREE) X(CHECK) X(CHECK_WHOLE)
#define LIMITED(X) X(EXP, exp_, EXP_LEAST, -EXP_LEAST) X(LOG, log_, LEAST_NORMAL, LARGEST) X(LOG1P, log1p_, 0, LARGEST)
#define OF_NUMBERS(X) \
    X(FILL, k) \
    X(NEGATIVE, -a) \
    X(ABSOLUTE, a < 0 ? -a : a) \
    X(SIGN, a != a ? a : (REAL)((a > 0) - (a < 0))) \
    X(SQRT, SQUARE_ROOT(a)) \
    X(ORDINARY_EXP, NAME(ordinary_exp_)(a)) \
    X(ORDINARY_LOG, NAME(ordinary_log_)(a)) \
    X(ORDINARY_LOG1P, NAME(ordinary_log1p_)(a)) \
    X(SIN, NAME(turned)(a, 0)) \
    X(COS, NAME(turned)(a, 1)) \
    X(ADD, a + b) \
    X(ADD_NUMBER, a + k) \
    X(SUBTRACT, a - b) \
    X(SUBTRACT_FROM_NUMBER, k - a) \
    X(MULTIPLY, a * b) \
    X(MULTIPLY_NUMBER, a * k) \
    X(DIVIDE, a / b) \
    X(DIVIDE_NUMBER, k / a) \
    X(MAXIMUM, a > b || a != a ? a : b) /* what is no number stays so, as in NumPy */ \
    X(MAXIMUM_NUMBER, a > k || a != a ? a : k) \
    X(MINIMUM, a < b || a != a ? a : b) \
    X(MINIMUM_NUMBER, a < k || a != a ? a : k) \
    X(EQUAL, a == b) \
    X(EQUAL_NUMBER, a == k) \
    X(SELECT, a != 0 ? b : c) \
    X(MULTIPLY_ADD, a * b + c) \
    X(MULTIPLY_ADD_NUMBER, a * b + k) \
    X(MULTIPLY_NUMBER_ADD, a * k + b) \
    X(MULTIPLY_NUMBER_ADD_NUMBER, a * k + l) \
    X(SUBTRACT_PRODUCT, c - a * b)
#define OPERATIONS(X) OF_MEMORY(X) LIMITED(X) OF_NUMBERS(X)

#define NAME_OF(name, ...) name,
enum { OPERATIONS(NAME_OF) };

/* out, a, b and c are places of a block each. Those of memory name the tensor and its column: LOAD in a and b, STORE, whose places are
out, a and b, in c and d. */
typedef struct {
    int32_t operation, out, a, b, c, d;
    double k, l;
} Step;

typedef struct {
    char *start;
    Py_ssize_t by_row, by_column, columns, lines; /* lines of the cache that a step asks for */
    char type, is_number;
} Memory;

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

/* Ask for a part of the memory of the rows from `start` on, which come next: while all steps work it arrives, and nobody waits. */
INLINE void fetch(const Memory *memory, int tensors, Py_ssize_t start, Py_ssize_t part) {
    for (const Memory *one = memory; one < memory + tensors; one++) {
        const char *from = one->start + start * one->by_row + part * one->lines * LINE;
        const Py_ssize_t columns = one->by_column > one->by_row ? one->columns : 1; /* others lie in the same lines */
        for (Py_ssize_t column = 0; column < columns; column++, from += one->by_column)
            for (Py_ssize_t line = 0; line < one->lines; line++) FETCH(from + line * LINE);
    }
}

/* double comes first: `turned` of either precision reads the bits of doubles. */
#define REAL double
#define UINT uint64_t
#define MANTISSA 52
#define BIAS 1023ull
#define ROUND 6755399441055744.0
#define LARGEST 1.7976931348623157e308
#define LEAST_NORMAL 2.2250738585072014e-308
#define SCALE_UP 4503599627370496.0
#define SCALE_UP_POWER 52
#define HALF_ROOT 0x3fe6a09e667f3bcdull
#define LOG_TWO_HIGH 0x1.62e42feep-1
#define LOG_TWO_LOW 0x1.a39ef35793c76p-33
#define EXP_LEAST -708.0
#define EXP_MOST 709.0
#define SQUARE_ROOT sqrt
/* exp(r) - 1 to 2e-17. */
#define EXPM1_OF(r) \
    (r * (1 + r * (0.5000000000000001 + r * (0.16666666666666669 + r * (0.041666666666624164 + r * (0.008333333333330065 \
    + r * (0.0013888888917196719 + r * (0.00019841269863040545 + r * (2.4801521322368692e-5 + r * (2.7557268480310024e-6 \
    + r * (2.7620075879983367e-7 + r * 2.5100375832561234e-8)))))))))))
/* log(1 + f) - f + h by 2 artanh(s) for s = f / (2 + f), to 5e-18 of it. */
#define LOG_OF(f, h) \
    REAL s = f / (2 + f), t = s * s; \
    REAL rest = s * (h + t * (0.666666666666667 + t * (0.39999999999899505 + t * (0.28571428625975487 + t * (0.2222221113479508 \
        + t * (0.18182889125261723 + t * (0.15331721600556042 + t * 0.14616449685043406)))))));
#include "blocks.h"

#define REAL float
#define UINT uint32_t
#define MANTISSA 23
#define BIAS 127u
#define ROUND 12582912.0f
#define LARGEST 3.4028234663852886e38f
#define LEAST_NORMAL 1.1754943508222875e-38f
#define SCALE_UP 8388608.0f
#define SCALE_UP_POWER 23
#define HALF_ROOT 0x3f3504f3u
#define LOG_TWO_HIGH 0.693359375f
#define LOG_TWO_LOW -2.1219444005469058e-4f
#define EXP_LEAST -87.0f
#define EXP_MOST 88.0f
#define SQUARE_ROOT sqrtf
/* To 3e-9. */
#define EXPM1_OF(r) \
    (r * (1 + r * (0.49999994f + r * (0.16666521f + r * (0.04166839f + r * (0.00836871f + r * 0.001381461f))))))
/* To 6e-9, without a division. */
#define LOG_OF(f, h) \
    REAL rest = f * (f * f) * (0.3333333f + f * (-0.25000823f + f * (0.20001227f + f * (-0.16623357f + f * (0.14201762f \
        + f * (-0.13160194f + f * (0.1276155f + f * -0.0763443f)))))));
#include "blocks.h"
#include "compiled.h"

#define MOST_TENSORS 8

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

/* Whether all that is loaded and stored is there. */
static int within(const Step *steps, Py_ssize_t count, const Tensor *tensors, const Memory *memory, int tensors_given) {
    for (int place = 1; place < tensors_given; place++)
        if (tensors[place].dimensions && tensors[place].shape[0] != tensors[0].shape[0]) return 0;
    for (const Step *step = steps; step < steps + count; step++) {
        if (step->operation == LOAD && (step->a >= tensors_given || step->b >= memory[step->a].columns)) return 0;
        const int stored = step->operation - STORE;
        if (stored >= 0 && stored < 3
            && (step->c >= tensors_given || step->d + stored >= memory[step->c].columns || memory[step->c].is_number)) return 0;
    }
    return 1;
}

/* The compiled program with these steps, or NULL. */
static const Compiled *compiled_of(const Step *steps, Py_ssize_t count) {
    const Compiled *one = compiled, *end = compiled + sizeof compiled / sizeof *compiled;
    while (one < end && (one->count != count || memcmp(one->steps, steps, (size_t)count * sizeof(Step)) != 0)) one++;
    return one < end ? one : NULL;
}

/* Whether it went through on these four tensors. */
static int went_at_once(const Compiled *program, const Memory *memory, Py_ssize_t rows) {
    char *starts[4];
    for (int place = 0; place < 4; place++) {
        const Memory *one = memory + place;
        const Py_ssize_t columns = program->columns[place], size = sizeof(float);
        if (one->type != 'f' || one->columns != columns || one->by_row != columns * size || (columns > 1 && one->by_column != size)) return 0;
        starts[place] = one->start;
    }
    return program->at_once(starts, rows);
}

static int worked(
    int in_double, const Step *steps, Py_ssize_t count, Memory *memory, int tensors, Py_ssize_t rows, Py_ssize_t places, Py_ssize_t block) {
    char *held = malloc((size_t)(places * block) * (in_double ? sizeof(double) : sizeof(float)) + LINE);
    if (held == NULL) return 0;
    char *space = held + LINE - (uintptr_t)held % LINE;
    for (int place = 0; count && place < tensors; place++)
        memory[place].lines = (block * memory[place].by_row / LINE + count) / count;
    const int fine = (in_double ? run_double : run_float)(steps, count, memory, tensors, rows, space, block);
    free(held);
    return fine;
}

static PyObject *run(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    (void)module;
    const int tensors_given = (int)given - 7;
    if (tensors_given < 1 || tensors_given > MOST_TENSORS) {
        PyErr_SetString(PyExc_TypeError, "run(exchange, in_double, steps, places, block, start, stop, *tensors) takes 1 to 8 tensors");
        return NULL;
    }
    const Exchange *exchange = exchange_of(arguments[0]);
    const int in_double = PyObject_IsTrue(arguments[1]);
    char *bytes = NULL;
    Py_ssize_t length = 0;
    if (exchange == NULL || PyBytes_AsStringAndSize(arguments[2], &bytes, &length) < 0) return NULL;
    const Step *steps = (const Step *)(const void *)bytes;
    const Py_ssize_t count = length / (Py_ssize_t)sizeof(Step), places = PyLong_AsSsize_t(arguments[3]);
    const Py_ssize_t block = PyLong_AsSsize_t(arguments[4]), start = PyLong_AsSsize_t(arguments[5]), stop = PyLong_AsSsize_t(arguments[6]);
    if (PyErr_Occurred()) return NULL;
    Tensor tensors[MOST_TENSORS];
    Memory memory[MOST_TENSORS];
    for (int place = 0; place < tensors_given; place++) {
        if (!described(exchange, arguments[7 + place], &tensors[place], &memory[place])) Py_RETURN_FALSE;
        memory[place].start += start * memory[place].by_row;
    }
    if (tensors[0].dimensions == 0 || start < 0 || stop > tensors[0].shape[0] || !within(steps, count, tensors, memory, tensors_given)) {
        PyErr_SetString(PyExc_ValueError, "the tensors have other rows or columns than the program");
        return NULL;
    }
    PyThreadState *others = stop - start > 4096 ? PyEval_SaveThread() : NULL; /* for a few rows not worth it */
    const Compiled *program = in_double || tensors_given != 4 ? NULL : compiled_of(steps, count);
    const int fine = (program != NULL && went_at_once(program, memory, stop - start))
        || worked(in_double, steps, count, memory, tensors_given, stop - start, places, block);
    if (others != NULL) PyEval_RestoreThread(others);
    return PyBool_FromLong(fine);
}

static PyObject *is_compiled(PyObject *module, PyObject *bytes) {
    (void)module;
    char *steps = NULL;
    Py_ssize_t length = 0;
    if (PyBytes_AsStringAndSize(bytes, &steps, &length) < 0) return NULL;
    return PyBool_FromLong(compiled_of((const Step *)(const void *)steps, length / (Py_ssize_t)sizeof(Step)) != NULL);
}

static PyObject *multiply_rows(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    (void)module;
    if (given != 3) {
        PyErr_SetString(PyExc_TypeError, "multiply_rows(exchange, tensor, factors) takes 3 arguments");
        return NULL;
    }
    const Exchange *exchange = exchange_of(arguments[0]);
    if (exchange == NULL) return NULL;
    Tensor tensor, factors;
    Memory rows, factor;
    const int fine = described(exchange, arguments[1], &tensor, &rows) && described(exchange, arguments[2], &factors, &factor)
        && rows.type == factor.type && rows.type != 'q' && tensor.dimensions == 2 && factors.dimensions == 1
        && factors.shape[0] == tensor.shape[0];
    if (fine) {
        Py_BEGIN_ALLOW_THREADS
        (rows.type == 'd' ? multiply_rows_double : multiply_rows_float)(&rows, &factor, (Py_ssize_t)tensor.shape[0]);
        Py_END_ALLOW_THREADS
    }
    return PyBool_FromLong(fine);
}

/* Whether its numbers follow each other in memory. */
static int is_dense(const Tensor *tensor) {
    int64_t count = 1;
    for (int dimension = tensor->dimensions - 1; dimension >= 0; count *= tensor->shape[dimension--])
        if (tensor->shape[dimension] != 1 && tensor->strides[dimension] != count) return 0;
    return 1;
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
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL,
     "run(exchange, in_double, steps, places, block, start, stop, *tensors): work on rows from start to stop; False where a check failed or "
     "a tensor is of another type."},
    {"is_compiled", (PyCFunction)is_compiled, METH_O, "is_compiled(steps): whether a program with these steps, in single precision, is one loop."},
    {"multiply_rows", (PyCFunction)(void (*)(void))multiply_rows, METH_FASTCALL,
     "multiply_rows(exchange, tensor, factors): each row of (rows, columns) times its factor, in place; False for other shapes or types."},
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
    if (PyModule_AddStringConstant(module, "OPERATIONS", OPERATIONS(TEXT_OF)) < 0) return -1;
    return PyModule_AddStringConstant(module, "ANSWERS", ANSWERS(TEXT_OF));
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)named}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_blocks", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__blocks(void) { return PyModuleDef_Init(&definition); }
