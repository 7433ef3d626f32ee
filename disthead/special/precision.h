/* What describes a precision, for files that are included once for each: double where IS_SINGLE is
0, float where it is 1.

REAL and UINT are the floating-point type and the unsigned integers of its size; LEAST_NORMAL,
MANTISSA (bits) and BIAS (of the exponent) describe it; ROUND is 1.5 * 2^MANTISSA, whose addition
rounds to an integer that stands in the low bits. */

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
#undef NAME_
#undef NAME__
#undef NAME
#undef EACH_ROW
#undef EXP
#undef LOG
#undef LOG1P

#define NAME_(name, real) name##_##real
#define NAME__(name, real) NAME_(name, real)
#define NAME(name) NAME__(name, REAL)
#define EACH_ROW INDEPENDENT for (Py_ssize_t i = 0; i < rows; i++)

#if IS_SINGLE
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
    (r * (1 + r * (0.49999994f + r * (0.16666521f + r * (0.04166839f + r * (0.00836871f \
    + r * 0.001381461f))))))
/* To 6e-9, without a division. */
#define LOG_OF(f, h) \
    REAL rest = f * (f * f) * (0.3333333f + f * (-0.25000823f + f * (0.20001227f \
        + f * (-0.16623357f + f * (0.14201762f \
        + f * (-0.13160194f + f * (0.1276155f + f * -0.0763443f)))))));
#else
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
    (r * (1 + r * (0.5000000000000001 + r * (0.16666666666666669 + r * (0.041666666666624164 + r * \
    (0.008333333333330065 + r * (0.0013888888917196719 + r * (0.00019841269863040545 + r * \
    (2.4801521322368692e-5 + r * (2.7557268480310024e-6 + r * (2.7620075879983367e-7 + r * \
    2.5100375832561234e-8)))))))))))
/* log(1 + f) - f + h by 2 artanh(s) for s = f / (2 + f), to 5e-18 of it. */
#define LOG_OF(f, h) \
    REAL s = f / (2 + f), t = s * s; \
    REAL rest = s * (h + t * (0.666666666666667 + t * (0.39999999999899505 \
        + t * (0.28571428625975487 + t * (0.2222221113479508 \
        + t * (0.18182889125261723 + t * (0.15331721600556042 + t * 0.14616449685043406)))))));
#endif
