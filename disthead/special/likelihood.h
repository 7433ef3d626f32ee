/* Log-likelihoods and their derivatives by raw outputs, block of rows by block, in one precision: included once for double and once for
float.

Raw outputs pass through the links, one parameter after the other; a formula (`formulas.h`) takes the numbers of all parameters to the
value and its derivatives by them; the links carry these back. In single precision a block of which one number is not of ordinary size is
done in double precision, there and then. */

/* The numbers of one parameter in one row: the value with its logarithm, and the derivative of that by the raw output; of a direction the
cosine, sine and length. */
typedef struct { REAL value, log, slope; } NAME(Number);

INLINE NAME(Number) NAME(number_of)(int kind, REAL raw, REAL second, REAL lower, int needs_log) {
    const REAL most = IS_SINGLE ? 80 : 700, bound = kind == SOFTPLUS ? 40 : most; /* softplus(x) is x beyond 40 */
    NAME(Number) one = {raw, raw, 1};
    if (kind == IDENTITY) return one;
    if (kind == DIRECTION) {
        const REAL length = SQUARE_ROOT(raw * raw + second * second), divisor = length == 0 ? (REAL)INFINITY : length;
        one.value = length == 0 ? 1 : raw / divisor;
        one.log = second / divisor;
        one.slope = divisor;
        return one;
    }
#if IS_SINGLE
    if (kind == SOFTPLUS) { /* max(0, x) + log(1 + exp(-|x|)) */
        const float size = fabsf(raw), share = ordinary_exp__float(size > most ? -most : -size);
        one.value = (raw < 0 ? 0 : raw) + log1p_of_share(share) + lower;
        one.slope = (raw < 0 ? share : 1) / ((1 + share) * one.value);
        if (needs_log) one.log = ordinary_log__float(one.value);
        return one;
    }
#endif
    const int is_great = !(raw <= bound); /* or no number */
    REAL bounded = is_great ? bound : raw;
    bounded = bounded < -most ? -most : bounded;
    if (kind == GIVEN) {
        one.value = raw + lower;
        one.slope = 1 / one.value;
    } else if (kind == EXPONENTIAL) {
        const REAL above = NAME(ordinary_exp_)(bounded);
        one.value = raw != raw ? raw : above + lower;
        one.slope = above / one.value;
    } else {
        const REAL odds = NAME(ordinary_exp_)(bounded), known = NAME(ordinary_log1p_)(odds);
        one.value = (is_great ? raw : known) + lower;
        one.slope = odds / ((1 + odds) * one.value);
    }
    if (!needs_log) return one;
    const REAL known = IS_SINGLE ? NAME(ordinary_log_)(one.value) : NAME(log_)(one.value);
    const REAL limit = lower == 0 ? raw : (REAL)INFINITY; /* of the smallest numbers the raw output is all that there is */
    if (kind == EXPONENTIAL) one.log = lower == 0 ? raw : known;
    else if (kind == SOFTPLUS && !IS_SINGLE) one.log = NAME(minimum_)(known, limit);
    else one.log = known;
    return one;
}

/* The sign bit of the answer is set for a number that is not between these: two without a sign, or, with `has_sign`, -greatest and
greatest. */
typedef struct { UINT from, span; } NAME(Range);

INLINE NAME(Range) NAME(range_of)(double least, double greatest, int has_sign) {
    const UINT from = has_sign ? 0 : NAME(bits)((REAL)least + 0);
    return (NAME(Range)){from, NAME(bits)((REAL)greatest + 0) - from};
}

INLINE UINT NAME(not_within)(REAL x, NAME(Range) range, int has_sign) {
    const UINT sign = (UINT)1 << (8 * sizeof(UINT) - 1), above = NAME(bits)(x) - range.from;
    return has_sign ? range.span - (NAME(bits)(x) & ~sign) : above | (range.span - above);
}

typedef struct { REAL value[BLOCK], log[BLOCK], slope[BLOCK]; } NAME(Parameter);

typedef UINT (*NAME(Formula))(
    Py_ssize_t rows, const REAL *y, const REAL *low, const NAME(Parameter) *parameters, REAL *value, REAL (*slopes)[BLOCK], int needs_grad);

#include "formulas.h"

/* A loop for each formula over the rows of a block; what nobody asks for is not computed. */
#define ARGUMENTS(...) __VA_ARGS__
#define LOOP(name, targets, count, width, logs, arguments, ...) \
    INLINE UINT NAME(name##_loop)(Py_ssize_t rows, const REAL *y, const REAL *low, const NAME(Parameter) *parameters, \
        REAL *value, REAL (*slopes)[BLOCK], int needs_grad) { \
        UINT any = 0; \
        (void)low; \
        EACH_ROW { \
            NAME(Number) one[count]; \
            REAL slope[count]; \
            UNROLLED for (int place = 0; place < count; place++) \
                one[place] = (NAME(Number)){parameters[place].value[i], parameters[place].log[i], parameters[place].slope[i]}; \
            value[i] = NAME(name)(Y_AND_LOW, ARGUMENTS arguments, slope, &any); \
            if (needs_grad) UNROLLED for (int place = 0; place < count; place++) slopes[place][i] = slope[place]; \
        } \
        return any; \
    } \
    VECTORISED \
    static UINT NAME(name##_rows)(Py_ssize_t rows, const REAL *y, const REAL *low, const NAME(Parameter) *parameters, \
        REAL *value, REAL (*slopes)[BLOCK], int needs_grad) { \
        return needs_grad ? NAME(name##_loop)(rows, y, low, parameters, value, slopes, 1) \
                          : NAME(name##_loop)(rows, y, low, parameters, value, slopes, 0); \
    }
#if IS_SINGLE
#define Y_AND_LOW y[i], low[i]
#else
#define Y_AND_LOW y[i]
#endif
FORMULAS(LOOP)
#define ROWS_OF(name, ...) NAME(name##_rows),
#define LOGS_OF(name, targets, count, width, logs, ...) logs,
static const NAME(Formula) NAME(formulas)[] = {FORMULAS(ROWS_OF)};
static const int NAME(logs_of)[] = {FORMULAS(LOGS_OF)}; /* a bit for each parameter whose logarithm it takes */

#if IS_SINGLE
/* The same with the family's own links, in one loop whose numbers stay in registers, for raw outputs and results that lie row after row:
how many rows were done, up to the block for which single precision does not do. `less` is the logarithm of the targets' unit. */
#define FUSED(name, targets, count, width, logs, arguments, ...) \
    INLINE Py_ssize_t name##_fused_loop(const Likelihood *it, Py_ssize_t total, const float *raws, const float *ys, const float *low, \
        float less, float *values, float *derivatives, int needs_grad) { \
        static const int kinds[] = {__VA_ARGS__}; \
        float lower[count]; \
        Range_float range[count]; \
        const Range_float of_targets = range_of_float(it->fast_least, it->fast_greatest, targets == REALS); \
        for (int place = 0; place < count; place++) { \
            lower[place] = (float)it->links[place].lower; \
            range[place] = range_of_float(it->links[place].least, it->links[place].greatest, kinds[place] == IDENTITY); \
        } \
        for (Py_ssize_t start = 0; start < total; start += BLOCK) { \
            const Py_ssize_t rows = total - start < BLOCK ? total - start : BLOCK; \
            const float *raw = raws + width * start, *y = ys + start; \
            float *value = values + start, *slopes = needs_grad ? derivatives + width * start : NULL; \
            uint32_t any = 0; \
            EACH_ROW { \
                Number_float one[count]; \
                float slope[count]; \
                int column = 0; \
                UNROLLED for (int place = 0; place < count; place++) { \
                    const int two = kinds[place] == DIRECTION; \
                    const float *from = raw + width * i + column; \
                    one[place] = number_of_float(kinds[place], from[0], from[two], lower[place], logs >> place & 1); \
                    any |= not_within_float(two ? one[place].slope : one[place].value, range[place], kinds[place] == IDENTITY); \
                    column += 1 + two; \
                } \
                any |= not_within_float(y[i], of_targets, targets == REALS); \
                if (targets == COUNTS) any |= 0 - (bits_float(y[i] + ROUND - ROUND - y[i]) & 0x7fffffffu); \
                const float result = name##_float(y[i], low[i], ARGUMENTS arguments, slope, &any) - less; \
                float sum = result; /* infinite, or no number, where one of the results is */ \
                value[i] = result; \
                column = 0; \
                if (needs_grad) UNROLLED for (int place = 0; place < count; place++) { \
                    const int two = kinds[place] == DIRECTION; \
                    const float by = two ? slope[place] / one[place].slope : slope[place] * one[place].slope; \
                    float *to = slopes + width * i + column; \
                    sum += by; \
                    to[0] = two ? -one[place].log * by : by; \
                    if (two) to[1] = one[place].value * by; \
                    column += 1 + two; \
                } \
                any |= beyond_float(sum, -LARGEST, LARGEST); \
            } \
            if (any >> 31) return start; \
        } \
        return total; \
    } \
    VECTORISED \
    static Py_ssize_t name##_fused(const Likelihood *it, Py_ssize_t rows, const float *raw, const float *y, const float *low, float less, \
        float *value, float *slopes) { \
        return slopes != NULL ? name##_fused_loop(it, rows, raw, y, low, less, value, slopes, 1) \
                              : name##_fused_loop(it, rows, raw, y, low, less, value, slopes, 0); \
    }
FORMULAS(FUSED)
#define FUSED_OF(name, targets, count, width, logs, arguments, ...) {name##_fused, targets, {__VA_ARGS__}},
static const struct { Fused loop; int targets, kinds[MOST_PARAMETERS]; } fused_of[] = {FORMULAS(FUSED_OF)};

static int is_dense_float(const Memory *memory) {
    const Py_ssize_t size = sizeof(float);
    return memory->type == 'f' && memory->by_row == memory->columns * size && (memory->columns == 1 || memory->by_column == size);
}

/* The loop for this likelihood and these tensors, NULL where it goes parameter by parameter. */
static Fused fused_loop(const Likelihood *it, const Memories *memory) {
    if (it->kind != SCALAR || it->components || memory->scale.by_row || !is_dense_float(&memory->raw)
        || (memory->slopes.start != NULL && !is_dense_float(&memory->slopes)))
        return NULL;
    if (fused_of[it->formula].targets != (it->fast_least < 0 ? REALS : it->is_whole ? COUNTS : POSITIVES)) return NULL;
    for (int place = 0; place < it->parameters; place++)
        if (it->links[place].kind != fused_of[it->formula].kinds[place]) return NULL;
    return fused_of[it->formula].loop;
}
#endif

#define LOADED_BY(count) EACH_ROW out[i] = (REAL)((const float *)from)[count * i]; break
#define LOADED(type) EACH_ROW out[i] = (REAL)*(const type *)(from + i * by); break

/* A column of a block of rows. */
VECTORISED
static void NAME(load)(const Memory *source, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t column, REAL *out) {
    const Py_ssize_t by = source->by_row;
    const char *from = source->start + start * by + column * source->by_column;
    switch (source->type) {
    case 'f':
        switch (by) { /* strides that compilers know become shuffles */
        case 4: LOADED_BY(1);
        case 8: LOADED_BY(2);
        case 12: LOADED_BY(3);
        default: LOADED(float);
        }
        break;
    case 'd': LOADED(double);
    default: LOADED(int64_t);
    }
}

/* Columns that follow each other, which in rows of their own are written together. */
VECTORISED
static void NAME(store)(const Memory *target, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t column, int count, REAL *const *columns) {
    char *to = target->start + start * target->by_row + column * target->by_column;
    const Py_ssize_t by = target->by_row;
    if (target->type == 'f' && count <= 3 && by == count * (Py_ssize_t)sizeof(float) && (count == 1 || target->by_column == sizeof(float))) {
        float *row = (float *)to;
        const REAL *a = columns[0], *b = columns[count > 1], *c = columns[count > 2 ? 2 : 0];
        if (count == 1) EACH_ROW row[i] = (float)a[i];
        else if (count == 2) EACH_ROW { row[2 * i] = (float)a[i]; row[2 * i + 1] = (float)b[i]; }
        else EACH_ROW { row[3 * i] = (float)a[i]; row[3 * i + 1] = (float)b[i]; row[3 * i + 2] = (float)c[i]; }
        return;
    }
    for (int one = 0; one < count; one++, to += target->by_column) {
        const REAL *values = columns[one];
        if (target->type == 'd') EACH_ROW *(double *)(to + i * by) = (double)values[i];
        else EACH_ROW *(float *)(to + i * by) = (float)values[i];
    }
}

/* Whether one of them is not between these. */
VECTORISED
static int NAME(outside)(const REAL *a, Py_ssize_t rows, double least, double greatest) {
    const int has_sign = least < 0;
    const NAME(Range) range = NAME(range_of)(least, greatest, has_sign);
    UINT any = 0;
    if (has_sign) EACH_ROW any |= NAME(not_within)(a[i], range, 1);
    else EACH_ROW any |= NAME(not_within)(a[i], range, 0);
    return any >> (8 * sizeof(UINT) - 1);
}

VECTORISED
static int NAME(is_infinite)(const REAL *a, Py_ssize_t rows) {
    UINT any = 0;
    EACH_ROW any |= NAME(beyond)(a[i], -LARGEST, LARGEST);
    return any >> (8 * sizeof(UINT) - 1);
}

#if !IS_SINGLE
/* (y - loc) / scale in double precision. */
VECTORISED
static void exact_targets(const Memories *memory, Py_ssize_t start, Py_ssize_t rows, double *y) {
    load_double(&memory->y, start, rows, 0, y);
    if (memory->loc.start == NULL) return;
    double loc[BLOCK], scale[BLOCK];
    if (memory->loc.by_row || memory->scale.by_row) {
        load_double(&memory->loc, start, rows, 0, loc);
        load_double(&memory->scale, start, rows, 0, scale);
        EACH_ROW y[i] = (y[i] - loc[i]) / scale[i];
    } else {
        load_double(&memory->loc, start, 1, 0, loc);
        load_double(&memory->scale, start, 1, 0, scale);
        const double first = loc[0], inverse = 1 / scale[0]; /* off by as little as the quotient is */
        EACH_ROW y[i] = (y[i] - first) * inverse;
    }
}

VECTORISED
static void logs_of_scale(const Memories *memory, Py_ssize_t start, Py_ssize_t rows, double *log_scale) {
    double scale[BLOCK];
    load_double(&memory->scale, start, rows, 0, scale);
    if (memory->scale.by_row) EACH_ROW log_scale[i] = log__double(scale[i]);
    else {
        const double log_of_all = log__double(scale[0]);
        EACH_ROW log_scale[i] = log_of_all;
    }
}

/* Which targets have no likelihood, and whether there are any; a harmless number takes their place. Angles lose whole turns. */
static int outside_support(const Likelihood *it, Py_ssize_t rows, double *y, char *out) {
    int any = 0;
    if (it->is_angle && outside_double(y, rows, -1e6, 1e6))
        for (Py_ssize_t i = 0; i < rows; i++) y[i] = atan2(sin(y[i]), cos(y[i]));
    if (!it->has_support) return 0;
    for (Py_ssize_t i = 0; i < rows; i++) {
        out[i] = !(y[i] >= it->least && y[i] <= it->greatest) || (it->is_whole && floor(y[i]) != y[i]);
        any |= out[i];
        y[i] = out[i] ? it->harmless : y[i];
    }
    return any;
}
#endif

/* Targets in the unit of the distribution, (y - loc) / scale, as the nearest number of this precision and what is left of them; 0 where
single precision does not do, because counts are not whole. */
VECTORISED
static int NAME(targets)(const Likelihood *it, const Memories *memory, Py_ssize_t start, Py_ssize_t rows, REAL *y, REAL *low) {
#if IS_SINGLE
    const char type = memory->y.type, *from = memory->y.start + start * memory->y.by_row;
    if (!memory->loc.by_row && !memory->scale.by_row && memory->y.by_row == (type == 'f' ? 4 : 8) && type != 'q') { /* at once */
        double loc = 0, scale = 1;
        if (memory->loc.start != NULL) {
            load_double(&memory->loc, start, 1, 0, &loc);
            load_double(&memory->scale, start, 1, 0, &scale);
        }
        const double inverse = 1 / scale;
#define SPLIT(given) EACH_ROW { \
            const double exact = ((given)[i] - loc) * inverse; \
            y[i] = (float)exact; low[i] = (float)(exact - y[i]); \
        }
        if (type == 'f') SPLIT((const float *)from) else SPLIT((const double *)from)
#undef SPLIT
    } else {
        double exact[BLOCK];
        exact_targets(memory, start, rows, exact);
        EACH_ROW { y[i] = (float)exact[i]; low[i] = (float)(exact[i] - y[i]); }
    }
    int broken = 0;
    if (it->is_whole) EACH_ROW broken |= !is_whole_float(y[i]) | (low[i] != 0);
    return !broken;
#else
    (void)it, (void)low;
    exact_targets(memory, start, rows, y);
    return 1;
#endif
}

/* The numbers of one parameter, whose raw outputs begin in that column; 1 where single precision does not do. */
VECTORISED
static int NAME(linked)(const Link *link, const Memory *raw, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t column, int needs_log, NAME(Parameter) *out) {
    REAL *value = out->value, *log = out->log, *slope = out->slope;
    const REAL lower = (REAL)link->lower;
    const NAME(Range) range = NAME(range_of)(link->least, link->greatest, link->kind == IDENTITY);
    UINT any = 0;
    if (link->kind == CONSTANT) {
        EACH_ROW { value[i] = (REAL)link->number; log[i] = (REAL)link->other; }
        return 0;
    }
    NAME(load)(raw, start, rows, column, value);
    if (link->kind == DIRECTION) NAME(load)(raw, start, rows, column + 1, log);
#define LINKED(kind, logs) EACH_ROW { \
        const NAME(Number) one = NAME(number_of)(kind, value[i], log[i], lower, logs); \
        any |= NAME(not_within)(kind == DIRECTION ? one.slope : one.value, range, 0); \
        value[i] = one.value; log[i] = one.log; slope[i] = one.slope; \
    } break
    switch (2 * link->kind + needs_log) {
    case 2 * IDENTITY: case 2 * IDENTITY + 1: EACH_ROW any |= NAME(not_within)(value[i], range, 1); break;
    case 2 * GIVEN: LINKED(GIVEN, 0);
    case 2 * GIVEN + 1: LINKED(GIVEN, 1);
    case 2 * EXPONENTIAL: LINKED(EXPONENTIAL, 0);
    case 2 * EXPONENTIAL + 1: LINKED(EXPONENTIAL, 1);
#if IS_SINGLE
    case 2 * SOFTPLUS: LINKED(SOFTPLUS, 0);
    case 2 * SOFTPLUS + 1: LINKED(SOFTPLUS, 1);
#else
    case 2 * SOFTPLUS: case 2 * SOFTPLUS + 1: { /* `number_of` in steps, of which compilers make vectors in double precision, too */
        REAL odds[BLOCK], known[BLOCK];
        EACH_ROW { log[i] = value[i]; odds[i] = NAME(exp_)(value[i] > 40 ? 40 : value[i] < -700 ? -700 : value[i]); }
        EACH_ROW known[i] = NAME(ordinary_log1p_)(odds[i]);
        EACH_ROW value[i] = (log[i] <= 40 ? known[i] : log[i]) + lower;
        EACH_ROW any |= NAME(not_within)(value[i], range, 0);
        EACH_ROW slope[i] = odds[i] / ((1 + odds[i]) * value[i]);
        if (!needs_log) break;
        EACH_ROW known[i] = NAME(log_)(value[i]);
        if (lower == 0) EACH_ROW log[i] = known[i] < log[i] ? known[i] : log[i]; /* of the smallest numbers all that there is */
        else EACH_ROW log[i] = known[i];
        break;
    }
#endif
    default: LINKED(DIRECTION, 0);
    }
#undef LINKED
    return IS_SINGLE && any >> (8 * sizeof(UINT) - 1);
}

/* The derivatives by the raw outputs of a parameter, from those by the parameter: how many there are. */
VECTORISED
static int NAME(by_raw)(const Link *link, const NAME(Parameter) *parameter, Py_ssize_t rows, REAL *slope, REAL *second) {
    switch (link->kind) {
    case CONSTANT: return 0;
    case IDENTITY: return 1;
    case DIRECTION:
        EACH_ROW {
            const REAL turn = slope[i] / parameter->slope[i];
            slope[i] = -parameter->log[i] * turn;
            second[i] = parameter->value[i] * turn;
        }
        return 2;
    default: EACH_ROW slope[i] *= parameter->slope[i]; return 1;
    }
}

/* One distribution: values and derivatives, one column for each raw output, whose number is returned; -1 where single precision does not
do. */
static int NAME(of_component)(const Likelihood *it, const Memories *memory, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t component,
    const REAL *y, const REAL *low, NAME(Parameter) *parameters, REAL (*slopes)[BLOCK], REAL *value, REAL **columns, int needs_grad) {
    Py_ssize_t first = it->components;
    int beyond = 0, count = 0;
    for (int place = 0; place < it->parameters; place++) {
        const Link *link = &it->links[place];
        beyond |= NAME(linked)(link, &memory->raw, start, rows, first + component * link->columns, NAME(logs_of)[it->formula] >> place & 1, &parameters[place]);
        first += link->columns * (it->components ? it->components : 1);
    }
    if (beyond) return -1;
    beyond = NAME(formulas)[it->formula](rows, y, low, parameters, value, slopes, needs_grad) >> (8 * sizeof(UINT) - 1);
    if (IS_SINGLE && (beyond || NAME(is_infinite)(value, rows))) return -1;
    for (int place = 0; needs_grad && place < it->parameters; place++) {
        REAL *slope = slopes[place], *second = slopes[it->parameters + place];
        const int more = NAME(by_raw)(&it->links[place], &parameters[place], rows, slope, second);
        if (more > 0) columns[count++] = slope;
        if (more > 1) columns[count++] = second;
    }
    for (int column = 0; IS_SINGLE && column < count; column++) if (NAME(is_infinite)(columns[column], rows)) return -1;
    return count;
}

/* log sum_k exp(x_k) = top + rest of columns x_k that follow each other, which may become the shares exp(x_k - top - rest). */
VECTORISED
static void NAME(log_sum_exp)(REAL (*x)[BLOCK], Py_ssize_t columns, Py_ssize_t rows, REAL *top, REAL *rest, int needs_shares) {
    EACH_ROW { top[i] = -LARGEST; rest[i] = 0; } /* where all are -inf, so is the sum */
    for (Py_ssize_t k = 0; k < columns; k++) EACH_ROW top[i] = NAME(maximum_)(x[k][i], top[i]);
    for (Py_ssize_t k = 0; k < columns; k++) EACH_ROW { x[k][i] = NAME(exp_)(x[k][i] - top[i]); rest[i] += x[k][i]; }
    for (Py_ssize_t k = 0; needs_shares && k < columns; k++) EACH_ROW x[k][i] /= rest[i];
    EACH_ROW rest[i] = NAME(log_)(rest[i]);
}

/* A mixture, as one distribution. */
VECTORISED
static int NAME(of_mixture)(const Likelihood *it, const Memories *memory, Py_ssize_t start, Py_ssize_t rows, void *space,
    const REAL *y, const REAL *low, NAME(Parameter) *parameters, REAL (*slopes)[BLOCK], REAL *value, int needs_grad) {
    const Py_ssize_t components = it->components;
    REAL (*weight)[BLOCK] = space, (*joint)[BLOCK] = weight + components, (*by_raw)[BLOCK] = joint + components;
    REAL top[BLOCK], rest[BLOCK], *columns[2 * MOST_PARAMETERS] = {NULL};
    int count = 0;
    for (Py_ssize_t k = 0; k < components; k++) {
        NAME(load)(&memory->raw, start, rows, k, joint[k]);
        if (IS_SINGLE && NAME(is_infinite)(joint[k], rows)) return -1;
        memcpy(weight[k], joint[k], sizeof *weight);
    }
    NAME(log_sum_exp)(weight, components, rows, top, rest, needs_grad);
    for (Py_ssize_t k = 0; k < components; k++) {
        count = NAME(of_component)(it, memory, start, rows, k, y, low, parameters, slopes, value, columns, needs_grad);
        if (count < 0) return -1;
        for (int column = 0; column < count; column++) memcpy(by_raw[k * count + column], columns[column], sizeof *by_raw);
        EACH_ROW joint[k][i] = value[i] + (joint[k][i] - top[i] - rest[i]);
    }
    NAME(log_sum_exp)(joint, components, rows, top, rest, needs_grad);
    EACH_ROW value[i] = top[i] + rest[i];
    if (IS_SINGLE && NAME(is_infinite)(value, rows)) return -1;
    for (Py_ssize_t k = 0; needs_grad && k < components; k++) {
        for (int column = 0; column < count; column++) { /* a component out of the question may have an infinite slope */
            REAL *slope = by_raw[k * count + column];
            EACH_ROW slope[i] = joint[k][i] == 0 ? 0 : joint[k][i] * slope[i];
        }
        EACH_ROW weight[k][i] = joint[k][i] - weight[k][i];
    }
    return count;
}

/* Few classes, along columns. */
VECTORISED
static int NAME(of_classes)(const Likelihood *it, const Memories *memory, Py_ssize_t start, Py_ssize_t rows, void *space, const REAL *y, REAL *value, int needs_grad) {
    REAL (*logit)[BLOCK] = space, top[BLOCK], rest[BLOCK];
    EACH_ROW value[i] = 0;
    for (Py_ssize_t k = 0; k < it->components; k++) {
        NAME(load)(&memory->raw, start, rows, k, logit[k]);
        EACH_ROW value[i] = y[i] == k ? logit[k][i] : value[i];
    }
    NAME(log_sum_exp)(logit, it->components, rows, top, rest, needs_grad);
    EACH_ROW value[i] = value[i] - top[i] - rest[i];
    if (IS_SINGLE && NAME(is_infinite)(value, rows)) return -1;
    for (Py_ssize_t k = 0; needs_grad && k < it->components; k++) EACH_ROW logit[k][i] = (y[i] == k) - logit[k][i];
    return 0;
}

/* Up to BLOCK rows; 0 where single precision does not do. */
VECTORISED
static int NAME(likelihood_of_block)(
    const Likelihood *it, const Memories *memory, Py_ssize_t start, Py_ssize_t rows, void *space) {
    NAME(Parameter) parameters[MOST_PARAMETERS];
    REAL slopes[2 * MOST_PARAMETERS][BLOCK], y[BLOCK], low[BLOCK], value[BLOCK], *columns[2 * MOST_PARAMETERS], *one = value;
    const int needs_grad = memory->slopes.start != NULL;
    const Py_ssize_t components = it->components;
    if (!NAME(targets)(it, memory, start, rows, y, low)) return 0;
    if (IS_SINGLE && NAME(outside)(y, rows, it->fast_least, it->fast_greatest)) return 0;
#if !IS_SINGLE
    char out[BLOCK];
    const int some_out = outside_support(it, rows, y, out);
#endif
    int count;
    if (it->kind == CLASSES) count = NAME(of_classes)(it, memory, start, rows, space, y, value, needs_grad);
    else if (components) count = NAME(of_mixture)(it, memory, start, rows, space, y, low, parameters, slopes, value, needs_grad);
    else count = NAME(of_component)(it, memory, start, rows, 0, y, low, parameters, slopes, value, columns, needs_grad);
    if (count < 0) return 0;
    if (memory->loc.start != NULL) {
        double log_scale[BLOCK];
        logs_of_scale(memory, start, rows, log_scale);
        EACH_ROW value[i] = (REAL)(value[i] - log_scale[i]);
    }
#if !IS_SINGLE
    if (some_out) EACH_ROW value[i] = out[i] ? -INFINITY : value[i];
#define FINISHED(column) if (some_out) EACH_ROW (column)[i] = out[i] ? 0 : (column)[i];
#else
#define FINISHED(column)
#endif
    NAME(store)(&memory->value, start, rows, 0, 1, &one);
    if (!needs_grad) return 1;
    if (!components) {
        for (int column = 0; column < count; column++) FINISHED(columns[column])
        NAME(store)(&memory->slopes, start, rows, 0, count, columns);
        return 1;
    }
    REAL (*weight)[BLOCK] = space, (*by_raw)[BLOCK] = weight + 2 * components;
    for (Py_ssize_t k = 0; k < components; k++) {
        REAL *column = weight[k];
        FINISHED(column)
        NAME(store)(&memory->slopes, start, rows, k, 1, &column);
    }
    Py_ssize_t first = components;
    for (int place = 0, before = 0; it->kind == SCALAR && place < it->parameters; before += it->links[place++].columns)
        for (Py_ssize_t k = 0; k < components; k++)
            for (int more = 0; more < it->links[place].columns; more++, first++) {
                REAL *column = by_raw[k * count + before + more];
                FINISHED(column)
                NAME(store)(&memory->slopes, start, rows, first, 1, &column);
            }
#undef FINISHED
    return 1;
}

#if IS_SINGLE
/* Rows from `start` on, by the loop for all parameters: how many were done. */
static Py_ssize_t fused(Fused loop, const Likelihood *it, const Memories *memory, Py_ssize_t start, Py_ssize_t stop) {
    static const float zeros[BLOCK];
    const Py_ssize_t width = memory->raw.columns, most = stop - start < BLOCK ? stop - start : BLOCK;
    const int is_direct = is_dense_float(&memory->value), is_exact = memory->y.type == 'f' && memory->y.by_row == sizeof(float) && !memory->loc.start;
    const float *raw = (const float *)memory->raw.start + start * width, *from = (const float *)memory->y.start + start;
    float y[BLOCK], low[BLOCK], value[BLOCK], *one = value, *slopes = memory->slopes.start ? (float *)memory->slopes.start + start * width : NULL;
    double less = 0;
    if (is_direct && is_exact) return loop(it, stop - start, raw, from, zeros, 0, (float *)memory->value.start + start, slopes);
    if (memory->loc.start) logs_of_scale(memory, start, 1, &less);
    if (!is_exact && !targets_float(it, memory, start, most, y, low)) return 0;
    const Py_ssize_t done = loop(it, most, raw, is_exact ? from : y, is_exact ? zeros : low, (float)less, value, slopes);
    store_float(&memory->value, start, done, 0, 1, &one);
    return done;
}
#endif

static void NAME(likelihood)(const Likelihood *it, const Memories *memory, Py_ssize_t start, Py_ssize_t stop, void *space) {
#if IS_SINGLE
    const Fused loop = fused_loop(it, memory);
#endif
    while (start < stop) {
        const Py_ssize_t rows = stop - start < BLOCK ? stop - start : BLOCK;
#if IS_SINGLE
        const Py_ssize_t done = loop ? fused(loop, it, memory, start, stop) : NAME(likelihood_of_block)(it, memory, start, rows, space) ? rows : 0;
        start += done;
        if (done) continue;
        likelihood_double(it, memory, start, start + rows, space);
#else
        NAME(likelihood_of_block)(it, memory, start, rows, space);
#endif
        start += rows;
    }
}

#undef LOOP
#undef ARGUMENTS
#undef Y_AND_LOW
#undef ROWS_OF
#undef LOGS_OF
#undef LOADED_BY
#undef LOADED
