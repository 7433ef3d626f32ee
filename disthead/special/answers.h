/* Answers in closed form, each in one pass over its numbers (`answers.py`), in double precision
between tensors of either one.

An answer that is no number says that its formula is not for these: then others answer. */

#include <float.h>
#include "normal.h"

#define MOST_DIMENSIONS 8
#define MOST_ARGUMENTS 4
#define ROWS 256 /* that are worked on at once */
#define NOT_ORDINARY ((double)NAN)
#define LOG_TWO 0.6931471805599453

INLINE double sigmoid(double x) {
    const double odds = exp__double(x < 0 ? x : -x), rest = 1 / (1 + odds);
    return x < 0 ? odds * rest : rest;
}

INLINE double log_sigmoid(double x) {
    return (x < 0 ? x : 0) - log1p__double(exp__double(x < 0 ? x : -x));
}

/* log(1 - exp(x)) for x <= 0. */
INLINE double log1mexp(double x) {
    const int is_near = x > -LOG_TWO;
    const double e = exp__double(x), above = 1 - e, sum = is_near ? -expm1__double(x) : above;
    const double scaled = sum < DBL_MIN ? sum * 0x1p52 : sum;
    const double value =
        log_of_double(scaled, sum < DBL_MIN ? 52 : 0, 1, is_near ? 0 : -e - (above - 1));
    return sum > 0 ? value : -(double)INFINITY;
}

/* exp(x), where it is neither 0 nor infinite. */
INLINE double exp_within(double x) {
    return x > -708 && x < 709 ? ordinary_exp__double(x) : NOT_ORDINARY;
}

INLINE double laplace_cdf(double z) {
    const double tail = 0.5 * exp__double(z < 0 ? z : -z);
    return z < -708 ? NOT_ORDINARY : z < 0 ? tail : 1 - tail;
}

INLINE double laplace_log_cdf(double z) {
    return z < 0 ? z - LOG_TWO : log1p__double(-0.5 * exp__double(-z));
}

INLINE double laplace_quantile(double q) {
    const double z = log__double(2 * (q < 0.5 ? q : 1 - q));
    return q < 0.5 ? z : -z;
}

/* (log(y) - loc) / scale, both logarithms in units of the power of two next to exp(loc), so that a
great loc cancels no digits. */
INLINE double log_normal_standard(double y, double loc, double scale) {
    double power = loc * 1.4426950408889634;
    power = power < -400 ? -400 : power > 400 ? 400 : power;
    const double rounded = power + 6755399441055744.0;
    const uint64_t exponent = (1023 - bits_double(rounded)) << 52;
    power = rounded - 6755399441055744.0;
    const double rest = loc - power * 0.6931471803691238 - power * 1.9082149292705877e-10;
    return (log__double(y * real_double(exponent)) - rest) / scale;
}

/* log((y / scale)^concentration); -inf where the quotient is no normal number. */
INLINE double weibull_log_hazard(double y, double scale, double concentration) {
    const double ratio = y / scale;
    return concentration * log__double(ratio < DBL_MIN ? 0 : ratio);
}

/* The value, where the hazard is neither 0 nor infinite. */
INLINE double with_hazard(double log_hazard, double value) {
    return log_hazard > -708 && log_hazard < 709 ? value : NOT_ORDINARY;
}

INLINE double weibull_cdf(double log_hazard) {
    return with_hazard(log_hazard, -expm1__double(-exp__double(log_hazard)));
}
INLINE double weibull_log_survival(double log_hazard) {
    return with_hazard(log_hazard, -exp__double(log_hazard));
}
INLINE double weibull_log_cdf(double log_hazard) {
    const double hazard = exp__double(log_hazard);
    const double value = log_hazard < -30 ? log_hazard - 0.5 * hazard : log1mexp(-hazard);
    return with_hazard(log_hazard, value);
}

INLINE double weibull_quantile(double q, double scale, double concentration) {
    return scale * exp_within(log__double(-log1p__double(-q)) / concentration);
}

/* Their derivatives by the logarithms of the concentration and of the scale. */
INLINE double weibull_quantile_slope(double q, double scale, double concentration) {
    const double log_ratio = log__double(-log1p__double(-q)) / concentration;
    return -log_ratio * scale * exp_within(log_ratio);
}

INLINE double log_normal_quantile_slope(double q, double loc, double scale) {
    const double distance = scale * ndtri(q);
    return distance * exp_within(loc + distance);
}

/* Whether the level q reaches the probability, to the rounding of q in its own precision
(`Discrete.icdf`). */
INLINE int reaches(double probability, double q, double precision) {
    const double below = q * (0.5 * precision + 1e-15), above = 0.25 * precision + 1e-15 * (1 - q);
    return probability < q - (below < above ? below : above);
}

/* A sign where a number is not finite, is no positive one that did not underflow, not that or 0, no
level, or a concentration of a weibull distribution that magnifies the rounding of a logarithm. */
#define FINITE(x) beyond_double(x, -DBL_MAX, DBL_MAX)
#define POSITIVE(x) beyond_double(x, 3 * (double)FLT_MIN, DBL_MAX)
#define NOT_NEGATIVE(x) beyond_double(x, 0, DBL_MAX)
#define LEVEL(x) beyond_double(x, DBL_TRUE_MIN, 1 - DBL_EPSILON / 2)
#define UP_TO_16(x) beyond_double(x, 3 * (double)FLT_MIN, 16)

/* Name, formula of numbers x, a, b and c of a row, and where it does not hold. */
#define ANSWERS(X) \
    X(exponential_cdf, -expm1__double(-x * a), NOT_NEGATIVE(x) | POSITIVE(a)) \
    X(exponential_log_cdf, log1mexp(-x * a), NOT_NEGATIVE(x) | POSITIVE(a)) \
    X(exponential_log_survival, -x * a, NOT_NEGATIVE(x) | POSITIVE(a)) \
    X(exponential_icdf, -log1p__double(-x) / a, LEVEL(x) | POSITIVE(a)) \
    X(weibull_cdf, weibull_cdf(weibull_log_hazard(x, a, b)), \
        POSITIVE(x) | POSITIVE(a) | UP_TO_16(b)) \
    X(weibull_log_cdf, weibull_log_cdf(weibull_log_hazard(x, a, b)), \
        POSITIVE(x) | POSITIVE(a) | UP_TO_16(b)) \
    X(weibull_log_survival, weibull_log_survival(weibull_log_hazard(x, a, b)), \
        POSITIVE(x) | POSITIVE(a) | UP_TO_16(b)) \
    X(weibull_icdf, weibull_quantile(x, a, b), LEVEL(x) | POSITIVE(a) | POSITIVE(b)) \
    X(laplace_cdf, laplace_cdf((x - a) / b), FINITE(x) | FINITE(a) | POSITIVE(b)) \
    X(laplace_log_cdf, laplace_log_cdf((x - a) / b), FINITE(x) | FINITE(a) | POSITIVE(b)) \
    X(laplace_log_survival, laplace_log_cdf((a - x) / b), FINITE(x) | FINITE(a) | POSITIVE(b)) \
    X(laplace_icdf, a + b * laplace_quantile(x), LEVEL(x) | FINITE(a) | POSITIVE(b)) \
    X(normal_cdf, ndtr((x - a) / b), FINITE(x) | FINITE(a) | POSITIVE(b)) \
    X(normal_log_cdf, log_ndtr((x - a) / b), FINITE(x) | FINITE(a) | POSITIVE(b)) \
    X(normal_log_survival, log_ndtr((a - x) / b), FINITE(x) | FINITE(a) | POSITIVE(b)) \
    X(normal_icdf, a + b * ndtri(x), LEVEL(x) | FINITE(a) | POSITIVE(b)) \
    X(log_normal_cdf, ndtr(log_normal_standard(x, a, b)), POSITIVE(x) | FINITE(a) | POSITIVE(b)) \
    X(log_normal_log_cdf, log_ndtr(log_normal_standard(x, a, b)), \
        POSITIVE(x) | FINITE(a) | POSITIVE(b)) \
    X(log_normal_log_survival, log_ndtr(-log_normal_standard(x, a, b)), \
        POSITIVE(x) | FINITE(a) | POSITIVE(b)) \
    X(log_normal_icdf, exp_within(a + b * ndtri(x)), LEVEL(x) | FINITE(a) | POSITIVE(b)) \
    X(bernoulli_cdf, x < 1 ? sigmoid(-a) : 1, NOT_NEGATIVE(x) | FINITE(a)) \
    X(bernoulli_log_cdf, x < 1 ? log_sigmoid(-a) : 0, NOT_NEGATIVE(x) | FINITE(a)) \
    X(bernoulli_log_survival, x < 1 ? log_sigmoid(a) : -(double)INFINITY, \
        NOT_NEGATIVE(x) | FINITE(a)) \
    X(bernoulli_icdf, reaches(sigmoid(-a), x, precision), LEVEL(x) | FINITE(a)) \
    /* Gradients of a quantile, the last argument, times its derivatives. */ \
    X(exponential_icdf_by_log_rate, b * log1p__double(-x) / a, LEVEL(x) | POSITIVE(a) | FINITE(b)) \
    X(weibull_icdf_by_log_scale, c * weibull_quantile(x, a, b), \
        LEVEL(x) | POSITIVE(a) | POSITIVE(b) | FINITE(c)) \
    X(weibull_icdf_by_log_concentration, c * weibull_quantile_slope(x, a, b), \
        LEVEL(x) | POSITIVE(a) | POSITIVE(b) | FINITE(c)) \
    X(laplace_icdf_by_log_scale, c * b * laplace_quantile(x), \
        LEVEL(x) | FINITE(a) | POSITIVE(b) | FINITE(c)) \
    X(normal_icdf_by_log_scale, c * b * ndtri(x), LEVEL(x) | FINITE(a) | POSITIVE(b) | FINITE(c)) \
    X(log_normal_icdf_by_loc, c * exp_within(a + b * ndtri(x)), \
        LEVEL(x) | FINITE(a) | POSITIVE(b) | FINITE(c)) \
    X(log_normal_icdf_by_log_scale, c * log_normal_quantile_slope(x, a, b), \
        LEVEL(x) | FINITE(a) | POSITIVE(b) | FINITE(c))

/* Numbers of some rows; 0 where the formula does not hold, or an answer is none. `precision` is
that of x. */
typedef int (*Work)(const void *const *in, double precision, void *out, Py_ssize_t rows);

#define WORK_OF(name, formula, odd, type) \
VECTORISED \
static int name##_of_##type(const void *const *in, double precision, void *out, Py_ssize_t rows) { \
    const type *xs = in[0], *as = in[1], *bs = in[2], *cs = in[3]; \
    type *ys = out; \
    uint64_t any = 0; \
    (void)precision; \
    INDEPENDENT for (Py_ssize_t i = 0; i < rows; i++) { \
        const double x = (double)xs[i], a = (double)as[i], b = (double)bs[i], c = (double)cs[i]; \
        const double y = (formula); \
        (void)b; \
        (void)c; \
        any |= (odd) | (bits_double((double)INFINITY) - (bits_double(y) & ~((uint64_t)1 << 63))); \
        ys[i] = (type)y; \
    } \
    return !(any >> 63); \
}
#define BOTH_OF(name, formula, odd) \
    WORK_OF(name, formula, odd, double) WORK_OF(name, formula, odd, float)
ANSWERS(BOTH_OF)

typedef struct {
    Work in_double, in_single;
} Answer;

static const Answer answers[] = {
#define ANSWER_OF(name, formula, odd) {name##_of_double, name##_of_float},
    ANSWERS(ANSWER_OF)
};

/* A tensor along the dimensions of the result: by how many bytes its numbers are apart. */
typedef struct {
    char *start;
    Py_ssize_t by[MOST_DIMENSIONS];
    char type;
} Operand;

/* Whether it broadcasts to the shape. */
static int laid_out(const Exchange *exchange, PyObject *object, int dimensions,
    const int64_t *shape, Operand *operand) {
    Tensor tensor;
    if (exchange->describe(object, &tensor)) {
        PyErr_Clear();
        return 0;
    }
    const int missing = dimensions - tensor.dimensions;
    if (tensor.device != CPU || tensor.lanes != 1 || tensor.kind != FLOATING
        || (tensor.bits != 32 && tensor.bits != 64) || missing < 0)
        return 0;
    operand->type = tensor.bits == 32 ? 'f' : 'd';
    operand->start = (char *)tensor.data + tensor.offset;
    for (int dimension = 0; dimension < dimensions; dimension++) {
        const int64_t size = dimension < missing ? 1 : tensor.shape[dimension - missing];
        if (size != 1 && size != shape[dimension]) return 0;
        operand->by[dimension] =
            size == 1 ? 0 : (Py_ssize_t)tensor.strides[dimension - missing] * (tensor.bits / 8);
    }
    return tensor.data != NULL;
}

/* Dimensions that are walked through in one go become one; returns how many are left, at
least one. */
static int merged(int dimensions, int64_t *shape, Operand *operands, int count) {
    int kept = 0;
    for (int dimension = 0; dimension < dimensions; dimension++) {
        if (shape[dimension] == 1) continue;
        int is_joined = kept > 0;
        for (int one = 0; one < count && is_joined; one++)
            is_joined =
                operands[one].by[kept - 1] == operands[one].by[dimension] * shape[dimension];
        if (!is_joined) kept++;
        shape[kept - 1] = is_joined ? shape[kept - 1] * shape[dimension] : shape[dimension];
        for (int one = 0; one < count; one++)
            operands[one].by[kept - 1] = operands[one].by[dimension];
    }
    if (kept > 0) return kept;
    shape[0] = 1;
    for (int one = 0; one < count; one++) operands[one].by[0] = 0;
    return 1;
}

/* Rows of numbers as the work takes them: where they lie, or copied. */
VECTORISED
static const void *loaded(const char *from, Py_ssize_t by, char type, char wanted, void *copy,
    Py_ssize_t rows) {
    double *doubles = copy;
    float *floats = copy;
    if (type == wanted
        && by == (type == 'd' ? (Py_ssize_t)sizeof(double) : (Py_ssize_t)sizeof(float)))
        return from;
    if (wanted == 'f') { /* the numbers are, too */
        INDEPENDENT for (Py_ssize_t i = 0; i < rows; i++)
            floats[i] = *(const float *)(const void *)(from + i * by);
    } else if (type == 'd') {
        INDEPENDENT for (Py_ssize_t i = 0; i < rows; i++)
            doubles[i] = *(const double *)(const void *)(from + i * by);
    } else {
        INDEPENDENT for (Py_ssize_t i = 0; i < rows; i++)
            doubles[i] = (double)*(const float *)(const void *)(from + i * by);
    }
    return copy;
}

VECTORISED
static void rounded(const double *numbers, float *to, Py_ssize_t rows) {
    INDEPENDENT for (Py_ssize_t i = 0; i < rows; i++) to[i] = (float)numbers[i];
}

/* The answer along the last dimension of the result, which lies in one piece. */
static int answered_line(
    const Answer *answer, double precision, const Operand *operands, int count, char *const *from,
    int last, Py_ssize_t total) {
    double copies[MOST_ARGUMENTS][ROWS], result[ROWS];
    const void *in[MOST_ARGUMENTS];
    char wanted = 'f';
    for (int one = 0; one < count; one++) wanted = operands[one].type == 'd' ? 'd' : wanted;
    const Work work = wanted == 'd' ? answer->in_double : answer->in_single;
    for (Py_ssize_t start = 0; start < total; start += ROWS) {
        const Py_ssize_t rows = total - start < ROWS ? total - start : ROWS;
        for (int one = 1; one < count; one++) {
            const Py_ssize_t by = operands[one].by[last];
            const char *source = from[one] + start * by;
            if (by == 0 && start > 0) continue;
            in[one - 1] = loaded(source, by, operands[one].type, wanted, copies[one - 1], rows);
        }
        for (int one = count - 1; one < MOST_ARGUMENTS; one++) in[one] = in[0];
        const int is_there = operands[0].type == wanted;
        void *out = is_there ? (void *)(from[0] + start * operands[0].by[last]) : result;
        if (!work(in, precision, out, rows)) return 0;
        if (!is_there) rounded(result, (float *)(void *)from[0] + start, rows);
    }
    return 1;
}

static int answered(const Answer *answer, int dimensions, int64_t *shape, Operand *operands,
    int count) {
    const double precision = operands[1].type == 'd' ? DBL_EPSILON : (double)FLT_EPSILON;
    const int last = merged(dimensions, shape, operands, count) - 1;
    int64_t place[MOST_DIMENSIONS] = {0};
    for (;;) {
        char *from[MOST_ARGUMENTS + 1];
        for (int one = 0; one < count; one++) {
            from[one] = operands[one].start;
            for (int dimension = 0; dimension < last; dimension++)
                from[one] += place[dimension] * operands[one].by[dimension];
        }
        if (!answered_line(answer, precision, operands, count, from, last, (Py_ssize_t)shape[last]))
            return 0;
        int dimension = last - 1;
        while (dimension >= 0 && ++place[dimension] == shape[dimension]) place[dimension--] = 0;
        if (dimension < 0) return 1;
    }
}

static PyObject *answer(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    (void)module;
    const int count = (int)given - 2;
    if (count < 2 || count > MOST_ARGUMENTS + 1) {
        PyErr_SetString(PyExc_TypeError,
            "answer(exchange, number, result, *tensors) takes 1 to 4 tensors");
        return NULL;
    }
    const Exchange *exchange = exchange_of(arguments[0]);
    const Py_ssize_t number = PyLong_AsSsize_t(arguments[1]);
    Tensor result;
    if (exchange == NULL || PyErr_Occurred() || exchange->describe(arguments[2], &result))
        return NULL;
    if (number < 0 || number >= (Py_ssize_t)(sizeof answers / sizeof *answers)) {
        PyErr_SetString(PyExc_ValueError, "there is no answer of this number");
        return NULL;
    }
    if (result.dimensions > MOST_DIMENSIONS || !is_dense(&result)) Py_RETURN_FALSE;
    int64_t shape[MOST_DIMENSIONS] = {1}, total = 1;
    for (int dimension = 0; dimension < result.dimensions; dimension++)
        total *= shape[dimension] = result.shape[dimension];
    if (total == 0) Py_RETURN_TRUE;
    Operand operands[MOST_ARGUMENTS + 1] = {{0}};
    for (int one = 0; one < count; one++)
        if (!laid_out(exchange, arguments[2 + one], result.dimensions, shape, &operands[one]))
            Py_RETURN_FALSE;
    /* for a few rows not worth it */
    PyThreadState *others = total > 4096 ? PyEval_SaveThread() : NULL;
    const int fine = answered(&answers[number], result.dimensions, shape, operands, count);
    if (others != NULL) PyEval_RestoreThread(others);
    return PyBool_FromLong(fine);
}
