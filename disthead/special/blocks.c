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

#define OPERATIONS(X) \
    X(LOAD) X(STORE) X(STORE_TWO) X(STORE_THREE) X(CHECK) X(CHECK_WHOLE) X(FILL) \
    X(NEGATIVE) X(ABSOLUTE) X(SIGN) X(SQRT) X(EXP) X(LOG) X(LOG1P) X(SIN) X(COS) \
    X(ADD) X(ADD_NUMBER) X(SUBTRACT) X(SUBTRACT_FROM_NUMBER) X(MULTIPLY) X(MULTIPLY_NUMBER) X(DIVIDE) X(DIVIDE_NUMBER) \
    X(MAXIMUM) X(MAXIMUM_NUMBER) X(MINIMUM) X(MINIMUM_NUMBER) X(EQUAL) X(EQUAL_NUMBER) X(SELECT) \
    X(MULTIPLY_ADD) X(MULTIPLY_ADD_NUMBER) X(MULTIPLY_NUMBER_ADD) X(MULTIPLY_NUMBER_ADD_NUMBER) X(SUBTRACT_PRODUCT)

#define NAME_OF(name) name,
enum { OPERATIONS(NAME_OF) };

/* out, a, b and c are places of a block each. Those of memory name the array and its column: LOAD in a and b, STORE, whose places are
out, a and b, in c and d. */
typedef struct {
    int32_t operation, out, a, b, c, d;
    double k, l;
} Step;

typedef struct {
    char *start;
    Py_ssize_t by_row, by_column, columns, lines; /* lines of the cache that a step asks for */
    char type, readonly;
} Memory;

/* Ask for a part of the memory of the rows from `start` on, which come next: while all steps work it arrives, and nobody waits. */
INLINE void fetch(const Memory *memory, int arrays, Py_ssize_t start, Py_ssize_t part) {
    for (const Memory *one = memory; one < memory + arrays; one++) {
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
/* exp(r) to 2e-17 of it. */
#define EXP_OF(r) \
    (1 + r * (1 + r * (0.5000000000000001 + r * (0.16666666666666669 + r * (0.041666666666624164 + r * (0.008333333333330065 \
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
#define EXP_OF(r) \
    (1 + r * (1 + r * (0.49999994f + r * (0.16666521f + r * (0.04166839f + r * (0.00836871f + r * 0.001381461f))))))
/* To 6e-9, without a division. */
#define LOG_OF(f, h) \
    REAL rest = f * (f * f) * (0.3333333f + f * (-0.25000823f + f * (0.20001227f + f * (-0.16623357f + f * (0.14201762f \
        + f * (-0.13160194f + f * (0.1276155f + f * -0.0763443f)))))));
#include "blocks.h"

#define MOST_ARRAYS 8

/* Whether the memory of an array (), (rows,) or (rows, columns) is one that steps can go along. */
static int described(const Py_buffer *view, Memory *memory) {
    const char *type = view->format;
    if (view->ndim > 2 || type == NULL || type[1] != '\0') return 0;
    if (*type == 'f' || *type == 'd') memory->type = *type;
    else if ((*type == 'q' || *type == 'l') && view->itemsize == sizeof(int64_t)) memory->type = 'q';
    else return 0;
    memory->start = view->buf;
    memory->by_row = view->ndim ? view->strides[0] : 0;
    memory->by_column = view->ndim == 2 ? view->strides[1] : 0;
    memory->columns = view->ndim == 2 ? view->shape[1] : 1;
    memory->readonly = (char)(view->readonly || view->ndim == 0);
    return 1;
}

/* Whether all that is loaded and stored is there. */
static int within(const Py_buffer *steps, const Py_buffer *views, const Memory *memory, int arrays) {
    for (int array = 1; array < arrays; array++)
        if (views[array].ndim && views[array].shape[0] != views[0].shape[0]) return 0;
    const Step *step = steps->buf, *end = step + steps->len / (Py_ssize_t)sizeof(Step);
    for (; step < end; step++) {
        if (step->operation == LOAD && (step->a >= arrays || step->b >= memory[step->a].columns)) return 0;
        const int stored = step->operation - STORE;
        if (stored >= 0 && stored < 3
            && (step->c >= arrays || step->d + stored >= memory[step->c].columns || memory[step->c].readonly)) return 0;
    }
    return 1;
}

static int worked(int in_double, const Py_buffer *steps, Memory *memory, int arrays, Py_ssize_t rows, Py_ssize_t places, Py_ssize_t block) {
    char *held = malloc((size_t)(places * block) * (in_double ? sizeof(double) : sizeof(float)) + LINE);
    if (held == NULL) return 0;
    char *space = held + LINE - (uintptr_t)held % LINE;
    const Py_ssize_t count = steps->len / (Py_ssize_t)sizeof(Step);
    for (int array = 0; count && array < arrays; array++)
        memory[array].lines = (block * memory[array].by_row / LINE + count) / count;
    const int fine = (in_double ? run_double : run_float)(steps->buf, count, memory, arrays, rows, space, block);
    free(held);
    return fine;
}

static PyObject *run(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count < 5 || count > 4 + MOST_ARRAYS) {
        PyErr_SetString(PyExc_TypeError, "run(in_double, steps, places, block, *arrays) takes 1 to 8 arrays");
        return NULL;
    }
    const int in_double = PyObject_IsTrue(arguments[0]);
    const Py_ssize_t places = PyLong_AsSsize_t(arguments[2]), block = PyLong_AsSsize_t(arguments[3]);
    if (PyErr_Occurred()) return NULL;
    Py_buffer steps, views[MOST_ARRAYS];
    Memory memory[MOST_ARRAYS];
    int taken = 0, fine = 1;
    if (PyObject_GetBuffer(arguments[1], &steps, PyBUF_SIMPLE) < 0) return NULL;
    for (; fine && taken < count - 4; taken++) {
        if (PyObject_GetBuffer(arguments[4 + taken], &views[taken], PyBUF_STRIDES | PyBUF_FORMAT) < 0) break;
        fine = described(&views[taken], &memory[taken]);
    }
    if (fine && !PyErr_Occurred() && (taken == 0 || views[0].ndim == 0 || !within(&steps, views, memory, taken)))
        PyErr_SetString(PyExc_ValueError, "the arrays have other rows or columns than the program, or cannot be written to");
    if (fine && !PyErr_Occurred()) {
        const Py_ssize_t rows = views[0].shape[0];
        if (rows > 4096) {
            Py_BEGIN_ALLOW_THREADS
            fine = worked(in_double, &steps, memory, taken, rows, places, block);
            Py_END_ALLOW_THREADS
        } else fine = worked(in_double, &steps, memory, taken, rows, places, block);
    }
    while (taken > 0) PyBuffer_Release(&views[--taken]);
    PyBuffer_Release(&steps);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(fine);
}

static PyObject *multiply_rows(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "multiply_rows(array, factors) takes 2 arrays");
        return NULL;
    }
    Py_buffer array, factors;
    Memory rows, factor;
    if (PyObject_GetBuffer(arguments[0], &array, PyBUF_STRIDES | PyBUF_FORMAT) < 0) return NULL;
    if (PyObject_GetBuffer(arguments[1], &factors, PyBUF_STRIDES | PyBUF_FORMAT) < 0) {
        PyBuffer_Release(&array);
        return NULL;
    }
    const int fine = described(&array, &rows) && described(&factors, &factor) && rows.type == factor.type && rows.type != 'q'
        && array.ndim == 2 && !rows.readonly && factors.ndim == 1 && factors.shape[0] == array.shape[0];
    if (fine) {
        Py_BEGIN_ALLOW_THREADS
        (rows.type == 'd' ? multiply_rows_double : multiply_rows_float)(&rows, &factor, array.shape[0]);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&factors);
    PyBuffer_Release(&array);
    return PyBool_FromLong(fine);
}

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL,
     "run(in_double, steps, places, block, *arrays): work on all rows; False where a check failed or an array is of another type."},
    {"multiply_rows", (PyCFunction)(void (*)(void))multiply_rows, METH_FASTCALL,
     "multiply_rows(array, factors): each row of (rows, columns) times its factor, in place; False for arrays of other shapes or types."},
    {NULL, NULL, 0, NULL},
};

static int named(PyObject *module) {
#define TEXT_OF(name) #name " "
    return PyModule_AddStringConstant(module, "OPERATIONS", OPERATIONS(TEXT_OF));
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)named}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_blocks", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__blocks(void) { return PyModuleDef_Init(&definition); }
