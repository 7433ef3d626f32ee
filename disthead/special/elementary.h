/* Elementary functions in one precision: included once for double and once for float.

Every loop over rows is one that compilers turn into vector instructions: without branches and without calls. */

INLINE UINT NAME(bits)(REAL x) { UINT n; memcpy(&n, &x, sizeof n); return n; }
INLINE REAL NAME(real)(UINT n) { REAL x; memcpy(&x, &n, sizeof x); return x; }

/* `exp_`, `log_` and `log1p_` are right for any number, `ordinary_...` between EXP_LEAST and its opposite, and for normal positive numbers (of
log1p: 1 + x).
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
    y = x > EXP_MOST ? (REAL)INFINITY : y;
    return x != x ? x : y;
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

#if IS_SINGLE
/* log(1 + x) for x from 0 to 1, to 3e-8. */
INLINE float log1p_of_share(float x) {
    const float square = x * x;
    const float even = -0.4999993145465851f + square * (-0.24958588182926178f + square * (-0.15355396270751953f
        + square * (-0.057664453983306885f + square * -0.0033184734638780355f)));
    const float odd = 0.33330512046813965f + square * (0.19695401191711426f + square * (0.10680556297302246f + square * 0.020204588770866394f));
    return x + square * (even + x * odd);
}
#endif

INLINE REAL NAME(log1p_)(REAL x) { return NAME(with_ends)(1 + x, NAME(ordinary_log1p_)(x)); }

/* Quarter turns are taken away in three parts, in double precision: for |x| up to 1e6. */
INLINE REAL NAME(turned)(double x, int quarter) {
    double rounded = x * 0.6366197723675814 + 6755399441055744.0;
    uint64_t turns = bits_double(rounded) + (uint64_t)quarter;
    double n = rounded - 6755399441055744.0;
    double r = x - n * 0x1.921fb544p+0 - n * 0x1.0b4611a6p-34 - n * 0x1.3198a2e037073p-69;
    double t = r * r;
    double sine = r * (1 + t * (-1.0 / 6 + t * (1.0 / 120 + t * (-1.0 / 5040 + t * (1.0 / 362880 + t * (-1.0 / 39916800
        + t * (1.0 / 6227020800 - t * (1.0 / 1307674368000))))))));
    double cosine = 1 + t * (-0.5 + t * (1.0 / 24 + t * (-1.0 / 720 + t * (1.0 / 40320 + t * (-1.0 / 3628800
        + t * (1.0 / 479001600 - t * (1.0 / 87178291200.0 - t * (1.0 / 20922789888000))))))));
    double y = turns & 1 ? cosine : sine;
    return (REAL)(turns & 2 ? -y : y);
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

INLINE int NAME(is_whole)(REAL x) { return x + ROUND - ROUND == x; }

INLINE REAL NAME(sign_)(REAL x) { return x != x ? x : (REAL)((x > 0) - (x < 0)); }
/* What is no number stays so. */
INLINE REAL NAME(maximum_)(REAL x, REAL y) { return ((x > y) | (x != x)) ? x : y; }
INLINE REAL NAME(minimum_)(REAL x, REAL y) { return ((x < y) | (x != x)) ? x : y; }

/* The same in formulas (`formulas.h`): in single precision they only do ordinary numbers, and set the sign bit of `beyond` for others. */
#if IS_SINGLE
INLINE REAL NAME(exp_of)(REAL x, UINT *beyond) {
    *beyond |= NAME(beyond)(x, EXP_LEAST, -EXP_LEAST);
    return NAME(ordinary_exp_)(x);
}
INLINE REAL NAME(log_of_)(REAL x, UINT *beyond) {
    *beyond |= NAME(beyond)(x, LEAST_NORMAL, LARGEST);
    return NAME(ordinary_log_)(x);
}
INLINE REAL NAME(log1p_of)(REAL x, UINT *beyond) {
    *beyond |= NAME(beyond)(1 + x, LEAST_NORMAL, LARGEST);
    return NAME(ordinary_log1p_)(x);
}
#define EXP(x) NAME(exp_of)(x, beyond)
#define LOG(x) NAME(log_of_)(x, beyond)
#define LOG1P(x) NAME(log1p_of)(x, beyond)
#else
#define EXP(x) NAME(exp_)(x)
#define LOG(x) NAME(log_)(x)
#define LOG1P(x) NAME(log1p_)(x)
#endif
