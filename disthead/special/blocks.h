/* The work on blocks of rows in one precision: included once for float and once for double.

REAL and UINT are the floating-point type and the unsigned integers of its size; LEAST_NORMAL, MANTISSA (bits) and BIAS (of the
exponent) describe it; ROUND is 1.5 * 2^MANTISSA, whose addition rounds to an integer that stands in the low bits. Every loop is one that
compilers turn into vector instructions: without branches and without calls. */

#define NAME_(name, real) name##_##real
#define NAME__(name, real) NAME_(name, real)
#define NAME(name) NAME__(name, REAL)

INLINE UINT NAME(bits)(REAL x) { UINT n; memcpy(&n, &x, sizeof n); return n; }
INLINE REAL NAME(real)(UINT n) { REAL x; memcpy(&x, &n, sizeof x); return x; }

/* `exp_`, `log_` and `log1p_` are right for any number, `ordinary_...` only between the limits of LIMITED.
x = k log 2 + r with |r| <= log(2) / 2, and exp(r) by a polynomial, whose exponent k is added to. */
INLINE REAL NAME(ordinary_exp_)(REAL x) {
    REAL rounded = x * (REAL)1.4426950408889634 + ROUND;
    UINT k = NAME(bits)(rounded) << MANTISSA;
    rounded -= ROUND;
    REAL r = x - rounded * LOG_TWO_HIGH - rounded * LOG_TWO_LOW;
    return NAME(real)(NAME(bits)(1 + EXPM1_OF(r)) + k);
}

INLINE REAL NAME(exp_)(REAL x) {
    REAL bounded = x < EXP_LEAST ? EXP_LEAST : x;
    bounded = bounded > EXP_MOST ? EXP_MOST : bounded;
    REAL y = x < EXP_LEAST ? 0 : NAME(ordinary_exp_)(bounded);
    return x > EXP_MOST ? (REAL)INFINITY : y;
}

/* exp(x) - 1, also next to 0. */
INLINE REAL NAME(expm1_)(REAL x) {
    REAL bounded = x < EXP_LEAST ? EXP_LEAST : x;
    bounded = bounded > EXP_MOST ? EXP_MOST : bounded;
    REAL rounded = bounded * (REAL)1.4426950408889634 + ROUND;
    REAL scale = NAME(real)((NAME(bits)(rounded) << MANTISSA) + (BIAS << MANTISSA));
    rounded -= ROUND;
    REAL r = bounded - rounded * LOG_TWO_HIGH - rounded * LOG_TWO_LOW;
    REAL y = (scale - 1) + scale * EXPM1_OF(r);
    return x > EXP_MOST ? (REAL)INFINITY : y;
}

/* The logarithm of x = 2^k m with m between sqrt(1/2) and sqrt(2), for normal numbers; `more` is taken from k, and 2^-k `lost` added to m. */
INLINE REAL NAME(log_of)(REAL x, REAL more, int is_rounded, REAL lost) {
    UINT shifted = NAME(bits)(x) - HALF_ROOT + (BIAS << MANTISSA), power = shifted >> MANTISSA;
    REAL k = NAME(real)(power + NAME(bits)(ROUND)) - (ROUND + (REAL)BIAS) - more;
    REAL f = NAME(real)((shifted & (((UINT)1 << MANTISSA) - 1)) + HALF_ROOT) - 1;
    if (is_rounded) f += lost * NAME(real)((2 * BIAS + 1 - power) << MANTISSA) * (REAL)0.5;
    REAL h = (REAL)0.5 * f * f;
    LOG_OF(f, h)
    return k * LOG_TWO_HIGH - ((h - (rest + k * LOG_TWO_LOW)) - f);
}

/* Logarithms y of x, where x has one. */
INLINE REAL NAME(with_ends)(REAL x, REAL y) {
    y = x > LARGEST ? x : y;
    y = x == 0 ? -(REAL)INFINITY : y;
    return x >= 0 ? y : (REAL)NAN;
}

INLINE REAL NAME(ordinary_log_)(REAL x) { return NAME(log_of)(x, 0, 0, 0); }

INLINE REAL NAME(log_)(REAL x) {
    REAL scaled = x < LEAST_NORMAL ? x * SCALE_UP : x;
    return NAME(with_ends)(x, NAME(log_of)(scaled, x < LEAST_NORMAL ? SCALE_UP_POWER : 0, 0, 0));
}

INLINE REAL NAME(ordinary_log1p_)(REAL x) {
    REAL sum = 1 + x;
    return NAME(log_of)(sum, 0, 1, x - (sum - 1));
}

INLINE REAL NAME(log1p_)(REAL x) { return NAME(with_ends)(1 + x, NAME(ordinary_log1p_)(x)); }

/* Quarter turns are taken away in three parts, in double precision: for |x| up to 1e6. */
INLINE REAL NAME(turned)(REAL x, int quarter) {
    double rounded = (double)x * 0.6366197723675814 + 6755399441055744.0;
    uint64_t turns = bits_double(rounded) + (uint64_t)quarter;
    double n = rounded - 6755399441055744.0;
    double r = (double)x - n * 0x1.921fb544p+0 - n * 0x1.0b4611a6p-34 - n * 0x1.3198a2e037073p-69;
    double t = r * r;
    double sine = r * (1 + t * (-1.0 / 6 + t * (1.0 / 120 + t * (-1.0 / 5040 + t * (1.0 / 362880 + t * (-1.0 / 39916800
        + t * (1.0 / 6227020800 - t * (1.0 / 1307674368000))))))));
    double cosine = 1 + t * (-0.5 + t * (1.0 / 24 + t * (-1.0 / 720 + t * (1.0 / 40320 + t * (-1.0 / 3628800
        + t * (1.0 / 479001600 - t * (1.0 / 87178291200.0 - t * (1.0 / 20922789888000))))))));
    double y = turns & 1 ? cosine : sine;
    return (REAL)(turns & 2 ? -y : y);
}

#define EACH_ROW INDEPENDENT for (Py_ssize_t i = 0; i < rows; i++)
#define LOADED_BY(count) EACH_ROW out[i] = (REAL)((const float *)from)[count * i]; break
#define LOADED(type) EACH_ROW out[i] = (REAL)*(const type *)(from + i * by); break

/* Columns that follow each other, which in rows of their own are written together. */
INLINE void NAME(store)(
    const Memory *target, Py_ssize_t start, Py_ssize_t rows, int column, int count, const REAL *a, const REAL *b, const REAL *c) {
    char *to = target->start + start * target->by_row + column * target->by_column;
    if (target->type == 'f' && target->by_row == count * (Py_ssize_t)sizeof(float) && (count == 1 || target->by_column == sizeof(float))) {
        float *row = (float *)to;
        if (count == 1) EACH_ROW row[i] = (float)a[i];
        else if (count == 2) EACH_ROW { row[2 * i] = (float)a[i]; row[2 * i + 1] = (float)b[i]; }
        else EACH_ROW { row[3 * i] = (float)a[i]; row[3 * i + 1] = (float)b[i]; row[3 * i + 2] = (float)c[i]; }
        return;
    }
    const REAL *columns[] = {a, b, c};
    for (int one = 0; one < count; one++) {
        const REAL *values = columns[one];
        char *place = to + one * target->by_column;
        const Py_ssize_t by = target->by_row;
        if (target->type == 'd') EACH_ROW *(double *)(place + i * by) = (double)values[i];
        else if (by == sizeof(float)) EACH_ROW ((float *)place)[i] = (float)values[i];
        else EACH_ROW *(float *)(place + i * by) = (float)values[i];
    }
}

/* The sign bit of the answer is set where x is not between these: of numbers without a sign the greater has the greater bits, and what is
no number the greatest. */
INLINE UINT NAME(beyond)(REAL x, REAL least, REAL greatest) {
    const UINT sign = (UINT)1 << (8 * sizeof(UINT) - 1), most = NAME(bits)(greatest + 0); /* -0 + 0 is 0 */
    if (least == -greatest) return most - (NAME(bits)(x) & ~sign);
    if (least < 0) return (!(x >= least) | !(x <= greatest)) ? sign : 0;
    const UINT from = NAME(bits)(least + 0), above = NAME(bits)(x + 0) - from;
    return above | (most - from - above);
}

INLINE int NAME(outside)(const REAL *a, Py_ssize_t rows, REAL least, REAL greatest) {
    UINT any = 0;
    EACH_ROW any |= NAME(beyond)(a[i], least, greatest);
    return any >> (8 * sizeof(UINT) - 1);
}

INLINE int NAME(is_whole)(REAL x) { return x + ROUND - ROUND == x; }

#define FUNCTION(name, expression) INLINE REAL NAME(name)(REAL a, REAL b, REAL c, REAL k, REAL l) { return (REAL)(expression); }
OF_NUMBERS(FUNCTION)
#define FUNCTION_LIMITED(name, function, least, greatest) \
    INLINE REAL NAME(name)(REAL a) { return NAME(ordinary_##function)(a); } \
    INLINE UINT NAME(name##_beyond)(REAL a) { return NAME(beyond)(a, least, greatest); }
LIMITED(FUNCTION_LIMITED)

/* Work on the steps for all rows; 0 where a check failed. */
VECTORISED
static int NAME(run)(const Step *steps, Py_ssize_t count, const Memory *memory, int tensors, Py_ssize_t total, char *space, Py_ssize_t block) {
    for (Py_ssize_t start = 0; start < total; start += block) {
        const Py_ssize_t rows = total - start < block ? total - start : block;
        for (const Step *step = steps; step < steps + count; step++) {
            REAL *out = (REAL *)space + step->out * block;
            const REAL *a = (const REAL *)space + step->a * block;
            const REAL *b = (const REAL *)space + step->b * block;
            const REAL *c = (const REAL *)space + step->c * block;
            const REAL k = (REAL)step->k, l = (REAL)step->l;
            if (start + rows < total) fetch(memory, tensors, start + rows, step - steps);
            switch (step->operation) {
            case LOAD: {
                const Memory *source = memory + step->a;
                const Py_ssize_t by = source->by_row;
                const char *from = source->start + start * by + step->b * source->by_column;
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
                break;
            }
            case STORE: NAME(store)(memory + step->c, start, rows, step->d, 1, out, a, b); break;
            case STORE_TWO: NAME(store)(memory + step->c, start, rows, step->d, 2, out, a, b); break;
            case STORE_THREE: NAME(store)(memory + step->c, start, rows, step->d, 3, out, a, b); break;
            case CHECK: if (NAME(outside)(a, rows, k, l)) return 0; break;
            case CHECK_WHOLE: {
                int outside = 0;
                EACH_ROW outside |= !NAME(is_whole)(a[i]);
                if (outside) return 0;
                break;
            }
#define CASE_LIMITED(name, function, least, greatest) \
            case name: \
                if (NAME(outside)(a, rows, least, greatest)) EACH_ROW out[i] = NAME(function)(a[i]); \
                else EACH_ROW out[i] = NAME(ordinary_##function)(a[i]); \
                break;
            LIMITED(CASE_LIMITED)
#define CASE(name, expression) case name: EACH_ROW out[i] = NAME(name)(a[i], b[i], c[i], k, l); break;
            OF_NUMBERS(CASE)
            }
        }
    }
    return 1;
}

/* Multiply each row of the first tensor by its number in the second. */
VECTORISED
static void NAME(multiply_rows)(const Memory *tensor, const Memory *factors, Py_ssize_t total) {
    REAL gathered[256];
    const Py_ssize_t columns = tensor->columns, by_row = tensor->by_row, by_column = tensor->by_column;
    for (Py_ssize_t start = 0; start < total; start += 256) {
        const Py_ssize_t rows = total - start < 256 ? total - start : 256;
        const char *given = factors->start + start * factors->by_row;
        char *first = tensor->start + start * by_row;
        REAL *row = (REAL *)first;
        const REAL *factor = gathered;
        if (factors->by_row == sizeof(REAL)) factor = (const REAL *)given;
        else EACH_ROW gathered[i] = *(const REAL *)(given + i * factors->by_row);
        if (columns == 2 && by_column == sizeof(REAL) && by_row == 2 * sizeof(REAL))
            EACH_ROW { row[2 * i] *= factor[i]; row[2 * i + 1] *= factor[i]; }
        else if (columns == 3 && by_column == sizeof(REAL) && by_row == 3 * sizeof(REAL))
            EACH_ROW { row[3 * i] *= factor[i]; row[3 * i + 1] *= factor[i]; row[3 * i + 2] *= factor[i]; }
        else if (by_column == sizeof(REAL) && columns > 1)
            for (Py_ssize_t i = 0; i < rows; i++) {
                row = (REAL *)(first + i * by_row);
                INDEPENDENT for (Py_ssize_t column = 0; column < columns; column++) row[column] *= factor[i];
            }
        else
            for (Py_ssize_t column = 0; column < columns; column++) {
                char *place = first + column * by_column;
                if (by_row == sizeof(REAL)) EACH_ROW ((REAL *)place)[i] *= factor[i];
                else EACH_ROW *(REAL *)(place + i * by_row) *= factor[i];
            }
    }
}

/* The log-probability of one class in each row of logits, and slopes 1{k = class} - p_k where they are wanted. `shares` has room for a
block of rows, which are filled up to whole vectors: what is left over of one costs more than all the rest.
0 where a logit is not a number, the greatest of a row is infinite, or an index is not that of a class. */
VECTORISED
static int NAME(choose)(const Choice *choice, Py_ssize_t start, Py_ssize_t stop) {
    const Py_ssize_t classes = choice->classes, width = (classes + LANES - 1) / LANES * LANES, most = width < CHOICES ? CHOICES / width : 1;
    const size_t size = (size_t)classes * sizeof(REAL), left = (size_t)(width - classes) * sizeof(REAL);
    REAL chosen[CHOICES / LANES], rest[CHOICES / LANES], logs[CHOICES / LANES], never[LANES], *shares = choice->shares;
    for (int lane = 0; lane < LANES; lane++) never[lane] = -(REAL)INFINITY;
    for (Py_ssize_t first = start; first < stop; first += most) {
        const Py_ssize_t rows = stop - first < most ? stop - first : most;
        const int64_t *index = choice->index + first;
        REAL *value = (REAL *)choice->value + first;
        int fine = 1;
        for (Py_ssize_t i = 0; i < rows; i++) { /* all rows first: what is read right after it was written has to be waited for */
            memcpy(shares + i * width, (const REAL *)choice->logits + (first + i) * classes, size);
            memcpy(shares + i * width + classes, never, left);
        }
        for (Py_ssize_t i = 0; i < rows; i++) {
            REAL *share = shares + i * width, top = -(REAL)INFINITY;
            REDUCED("omp simd reduction(max : top)") for (Py_ssize_t k = 0; k < width; k++) top = share[k] > top ? share[k] : top;
            if (!(top <= LARGEST && top >= -LARGEST) || index[i] < 0 || index[i] >= classes) return 0;
            INDEPENDENT for (Py_ssize_t k = 0; k < width; k++) share[k] -= top;
            chosen[i] = share[index[i]];
        }
        REDUCED("omp simd reduction(& : fine)") for (Py_ssize_t k = 0; k < rows * width; k++) fine &= shares[k] <= 0;
        if (!fine) return 0;
        for (Py_ssize_t from = 0; from < rows * width; from += STRETCH) {
            const char *next = (const char *)((const REAL *)choice->logits + (first + rows) * classes + from);
            for (Py_ssize_t line = 0; first + rows < stop && line < STRETCH * (Py_ssize_t)sizeof(REAL); line += LINE) FETCH(next + line);
            const Py_ssize_t end = rows * width - from < STRETCH ? rows * width : from + STRETCH;
            INDEPENDENT for (Py_ssize_t k = from; k < end; k++) shares[k] = NAME(exp_)(shares[k]);
        }
        for (Py_ssize_t i = 0; i < rows; i++) {
            double sum = -1; /* less one share that is 1, the rest keeps its digits */
            for (Py_ssize_t from = 0; from < width; from += CHOICES) {
                const REAL *share = shares + i * width + from;
                const Py_ssize_t count = width - from < CHOICES ? width - from : CHOICES;
                REAL small = 0;
                int ones = 0;
                REDUCED("omp simd reduction(+ : small, ones)") for (Py_ssize_t k = 0; k < count; k++) {
                    ones += share[k] == 1;
                    small += share[k] == 1 ? 0 : share[k];
                }
                sum += ones;
                sum += small;
            }
            rest[i] = (REAL)sum;
        }
        EACH_ROW logs[i] = NAME(log1p_)(rest[i]);
        EACH_ROW value[i] = chosen[i] - logs[i];
        if (choice->slopes == NULL) continue;
        for (Py_ssize_t i = 0; i < rows; i++) {
            REAL *share = shares + i * width;
            const REAL factor = -1 / (1 + rest[i]), own = chosen[i] == 0 ? -rest[i] * factor : 1 + share[index[i]] * factor;
            INDEPENDENT for (Py_ssize_t k = 0; k < width; k++) share[k] *= factor;
            share[index[i]] = own;
        }
        for (Py_ssize_t i = 0; i < rows; i++) memcpy((REAL *)choice->slopes + (first + i) * classes, shares + i * width, size);
    }
    return 1;
}

#undef NAME
#undef NAME_
#undef NAME__
#undef EACH_ROW
#undef FUNCTION
#undef FUNCTION_LIMITED
#undef CASE_LIMITED
#undef CASE
#undef LOADED_BY
#undef LOADED
#undef REAL
#undef UINT
#undef MANTISSA
#undef BIAS
#undef ROUND
#undef LARGEST
#undef LEAST_NORMAL
#undef SCALE_UP
#undef SCALE_UP_POWER
#undef HALF_ROOT
#undef LOG_TWO_HIGH
#undef LOG_TWO_LOW
#undef EXP_LEAST
#undef EXP_MOST
#undef SQUARE_ROOT
#undef EXPM1_OF
#undef LOG_OF
