/* The work on blocks of rows in one precision: included once for float and once for double.

REAL and UINT are the floating-point type and the unsigned integers of its size; LEAST_NORMAL, MANTISSA (bits) and BIAS (of the
exponent) describe it; ROUND is 1.5 * 2^MANTISSA, whose addition rounds to an integer that stands in the low bits. Every loop is one that
compilers turn into vector instructions: without branches and without calls. */

#define NAME_(name, real) name##_##real
#define NAME__(name, real) NAME_(name, real)
#define NAME(name) NAME__(name, REAL)

INLINE UINT NAME(bits)(REAL x) { UINT n; memcpy(&n, &x, sizeof n); return n; }
INLINE REAL NAME(real)(UINT n) { REAL x; memcpy(&x, &n, sizeof x); return x; }

/* x = k log 2 + r with |r| <= log(2) / 2, and exp(r) by its power series. */
INLINE REAL NAME(exp_)(REAL x) {
    REAL bounded = x < EXP_LEAST ? EXP_LEAST : (x > EXP_MOST ? EXP_MOST : x);
    REAL rounded = bounded * (REAL)1.4426950408889634 + ROUND;
    UINT k = NAME(bits)(rounded) - NAME(bits)(ROUND);
    rounded -= ROUND;
    REAL r = bounded - rounded * LOG_TWO_HIGH - rounded * LOG_TWO_LOW;
    REAL sum = SERIES_OF_EXP(r);
    REAL y = sum * NAME(real)((k + BIAS) << MANTISSA);
    y = x < EXP_LEAST ? 0 : y;
    return x > EXP_MOST ? (REAL)INFINITY : (x != x ? x : y);
}

/* x = 2^k m with m between sqrt(1/2) and sqrt(2), and log(m) = 2 artanh((m - 1) / (m + 1)) by its power series. */
INLINE REAL NAME(log_)(REAL x) {
    REAL large = x < LEAST_NORMAL ? x * SCALE_UP : x;
    UINT n = NAME(bits)(large), shifted = n - HALF_ROOT + (BIAS << MANTISSA);
    UINT power = shifted >> MANTISSA;
    REAL m = NAME(real)(n - ((power - BIAS) << MANTISSA));
    REAL k = NAME(real)(power + NAME(bits)(ROUND)) - ROUND - (REAL)BIAS - (x < LEAST_NORMAL ? SCALE_UP_POWER : 0);
    REAL f = m - 1, s = f / (m + 1), t = s * s;
    REAL half_square = (REAL)0.5 * f * f; /* log(m) = f - f^2 / 2 + s (f^2 / 2 + R), where nothing is lost */
    REAL y = k * LOG_TWO_HIGH - ((half_square - (s * (half_square + t * SERIES_OF_LOG(t)) + k * LOG_TWO_LOW)) - f);
    y = x > LARGEST ? x : y;
    y = x == 0 ? -(REAL)INFINITY : y;
    return x < 0 || x != x ? (REAL)NAN : y;
}

/* log(u) for u = 1 + x as it is rounded, and what was lost by rounding. */
INLINE REAL NAME(log1p_)(REAL x) {
    REAL u = 1 + x;
    REAL y = NAME(log_)(u) + (x - (u - 1)) / u;
    return u > LARGEST ? u : y;
}

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
#define EACH(expression) EACH_ROW out[i] = (REAL)(expression); break
#define LOADED_BY(count) EACH_ROW out[i] = (REAL)((const float *)from)[count * i]; break
#define LOADED(type) EACH_ROW out[i] = (REAL)*(const type *)(from + i * by); break

/* Work on the steps for all rows; 0 where a check failed. */
VECTORISED
static int NAME(run)(const Step *steps, Py_ssize_t count, const Memory *memory, Py_ssize_t total, char *space, Py_ssize_t block) {
    for (Py_ssize_t start = 0; start < total; start += block) {
        const Py_ssize_t rows = total - start < block ? total - start : block;
        for (const Step *step = steps; step < steps + count; step++) {
            REAL *out = (REAL *)space + step->out * block;
            const REAL *a = (const REAL *)space + step->a * block;
            const REAL *b = (const REAL *)space + step->b * block;
            const REAL *c = (const REAL *)space + step->c * block;
            const REAL k = (REAL)step->k, l = (REAL)step->l;
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
            case STORE: {
                const Memory *target = memory + step->b;
                const Py_ssize_t by = target->by_row;
                char *to = target->start + start * by + step->c * target->by_column;
                if (target->type == 'f') {
                    if (by == sizeof(float)) EACH_ROW ((float *)to)[i] = (float)a[i];
                    else EACH_ROW *(float *)(to + i * by) = (float)a[i];
                } else EACH_ROW *(double *)(to + i * by) = (double)a[i];
                break;
            }
            case CHECK: {
                int outside = 0;
                EACH_ROW outside |= !(a[i] >= k) | !(a[i] <= l);
                if (outside) return 0;
                break;
            }
            case CHECK_WHOLE: {
                int outside = 0;
                EACH_ROW outside |= a[i] + ROUND - ROUND != a[i];
                if (outside) return 0;
                break;
            }
            case FILL: EACH(k);
            case NEGATIVE: EACH(-a[i]);
            case ABSOLUTE: EACH(a[i] < 0 ? -a[i] : a[i]);
            case SIGN: EACH(a[i] != a[i] ? a[i] : (REAL)((a[i] > 0) - (a[i] < 0)));
            case SQRT: EACH(SQUARE_ROOT(a[i]));
            case EXP: EACH(NAME(exp_)(a[i]));
            case LOG: EACH(NAME(log_)(a[i]));
            case LOG1P: EACH(NAME(log1p_)(a[i]));
            case SIN: EACH(NAME(turned)(a[i], 0));
            case COS: EACH(NAME(turned)(a[i], 1));
            case ADD: EACH(a[i] + b[i]);
            case ADD_NUMBER: EACH(a[i] + k);
            case SUBTRACT: EACH(a[i] - b[i]);
            case SUBTRACT_FROM_NUMBER: EACH(k - a[i]);
            case MULTIPLY: EACH(a[i] * b[i]);
            case MULTIPLY_NUMBER: EACH(a[i] * k);
            case DIVIDE: EACH(a[i] / b[i]);
            case DIVIDE_NUMBER: EACH(k / a[i]);
            case MAXIMUM: EACH(a[i] > b[i] || a[i] != a[i] ? a[i] : b[i]); /* what is no number stays so, as in NumPy */
            case MAXIMUM_NUMBER: EACH(a[i] > k || a[i] != a[i] ? a[i] : k);
            case MINIMUM: EACH(a[i] < b[i] || a[i] != a[i] ? a[i] : b[i]);
            case MINIMUM_NUMBER: EACH(a[i] < k || a[i] != a[i] ? a[i] : k);
            case EQUAL: EACH(a[i] == b[i]);
            case EQUAL_NUMBER: EACH(a[i] == k);
            case SELECT: EACH(a[i] != 0 ? b[i] : c[i]);
            case MULTIPLY_ADD: EACH(a[i] * b[i] + c[i]);
            case MULTIPLY_ADD_NUMBER: EACH(a[i] * b[i] + k);
            case MULTIPLY_NUMBER_ADD: EACH(a[i] * k + b[i]);
            case MULTIPLY_NUMBER_ADD_NUMBER: EACH(a[i] * k + l);
            case SUBTRACT_PRODUCT: EACH(c[i] - a[i] * b[i]);
            }
        }
    }
    return 1;
}

#undef NAME
#undef NAME_
#undef NAME__
#undef EACH_ROW
#undef EACH
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
#undef SERIES_OF_EXP
#undef SERIES_OF_LOG
