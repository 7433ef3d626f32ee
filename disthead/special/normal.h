/* The standard normal distribution function, its logarithm and its inverse, in double precision, as
loops of vector instructions take them.

The coefficients are those of `plain.py`: (1 + 2 x) erfcx(x) as a polynomial in 1 - 8 / (x + 4), and
Wichura's (1988) rational functions. */

#define ERFCX_OF(t) ( \
    1.2329951186255526 + t * (-0.1396211168405623 + t * (0.015379652102619604 + t * \
    (0.06809705425466908 + t * (-0.10103906603630056 + t * (0.0937328349990944 + t * \
    (-0.06633036581218697 + t * (0.03716751552655567 + t * (-0.016197734059799265 + t * \
    (0.005031970067657489 + t * (-0.0007577732613730956 + t * (-0.00019925714661091188 + t * \
    (0.0001506214900124047 + t * (-2.4397746422436416e-05 + t * (-1.1221287012353486e-05 + t * \
    (5.706604414895734e-06 + t * (2.919733377963012e-07 + t * (-8.210939042560568e-07 + t * \
    (7.746992727017941e-08 + t * (1.0633855618594884e-07 + t * (-2.05606492756992e-08 + t * \
    (-1.234686604382353e-08 + t * (3.1695881915648173e-09 + t * (9.311744978232572e-10 + t * \
    (-2.659599690242689e-10)))))))))))))))))))))))))

/* P(Z > u) over exp(-u^2 / 2), for u >= 0. */
INLINE double mills(double u) {
    const double x = u * 0.7071067811865476, t = 1 - 8 / (x + 4);
    return 0.5 * ERFCX_OF(t) / (1 + 2 * x);
}

/* exp(-u^2 / 2) for u >= 0: the square of u to three binary places is exact, and what it lacks is
multiplied. */
INLINE double gauss(double u) {
    const double bounded = u < 40 ? u : 40; /* where it is 0 */
    const double near = ((8 * bounded + 6755399441055744.0) - 6755399441055744.0) / 8;
    const double square = 0.5 * near * near, rest = 0.5 * (bounded - near) * (bounded + near),
        whole = square + rest;
    const double e = exp__double(-whole);
    return e - e * ((square - whole) + rest);
}

/* No number where the probability is no normal one. */
INLINE double ndtr(double z) {
    const double u = z < 0 ? -z : z, tail = gauss(u) * mills(u);
    return z < -37 ? (double)NAN : z < 0 ? tail : 1 - tail;
}

INLINE double log_ndtr(double z) {
    const double u = z < 0 ? -z : z, quotient = mills(u), tail = gauss(u) * quotient,
        sum = 1 - tail;
    const double value = log_of_double(z < 0 ? quotient : sum, 0, 1, z < 0 ? 0 : -tail - (sum - 1));
    return z < 0 ? value - 0.5 * z * z : value;
}

#define CENTRE_TOP(t) ( \
    3.3871328727963665 + t * (133.14166789178438 + t * (1971.5909503065513 + t * \
    (13731.69376550946 + t * (45921.95393154987 + t * (67265.7709270087 + t * (33430.57558358813 + \
    t * (2509.0809287301227))))))))
#define CENTRE_BOTTOM(t) ( \
    1.0 + t * (42.31333070160091 + t * (687.1870074920579 + t * (5394.196021424751 + t * \
    (21213.794301586597 + t * (39307.89580009271 + t * (28729.085735721943 + t * \
    (5226.495278852854))))))))
#define TAIL_TOP(t) ( \
    1.4234371107496835 + t * (4.630337846156546 + t * (5.769497221460691 + t * (3.6478483247632045 \
    + t * (1.2704582524523684 + t * (0.2417807251774506 + t * (0.022723844989269184 + t * \
    (0.0007745450142783414))))))))
#define TAIL_BOTTOM(t) ( \
    1.0 + t * (2.053191626637759 + t * (1.6763848301838038 + t * (0.6897673349851 + t * \
    (0.14810397642748008 + t * (0.015198666563616457 + t * (0.0005475938084995345 + t * \
    (1.0507500716444169e-09))))))))
#define FAR_TAIL_TOP(t) ( \
    6.657904643501103 + t * (5.463784911164114 + t * (1.7848265399172913 + t * \
    (0.29656057182850487 + t * (0.026532189526576124 + t * (0.0012426609473880784 + t * \
    (2.7115555687434876e-05 + t * (2.0103343992922881e-07))))))))
#define FAR_TAIL_BOTTOM(t) ( \
    1.0 + t * (0.599832206555888 + t * (0.1369298809227358 + t * (0.014875361290850615 + t * \
    (0.0007868691311456133 + t * (1.8463183175100548e-05 + t * (1.421511758316446e-07 + t * \
    (2.0442631033899397e-15))))))))

/* For 0 < p < 1. */
INLINE double ndtri(double p) {
    const double distance = p - 0.5, size = distance < 0 ? -distance : distance;
    const double square = 0.180625 - distance * distance;
    const double centre = distance * CENTRE_TOP(square) / CENTRE_BOTTOM(square);
    const double root = sqrt(-log__double(p < 0.5 ? p : 1 - p)), s = root - 1.6, t = root - 5;
    const int is_far = root > 5;
    const double top = is_far ? FAR_TAIL_TOP(t) : TAIL_TOP(s),
        bottom = is_far ? FAR_TAIL_BOTTOM(t) : TAIL_BOTTOM(s);
    const double tail = top / bottom;
    return size <= 0.425 ? centre : distance < 0 ? -tail : tail;
}
