/* The log-likelihood of normal vectors and its derivatives by loc and the raw triangle, row after
row, by forward and backward substitution, in double precision: a solve magnifies rounding. Each
number of the rows of a block is a column. */
VECTORISED
static void vectors_of_block(const Likelihood *it, const Memories *memory, Py_ssize_t start,
    Py_ssize_t rows, double *space) {
    const Py_ssize_t size = it->components, triangle = size * (size + 1) / 2;
    double *const entry = space, *const z = entry + triangle * VECTORS,
        *const by_loc = z + size * VECTORS;
    double *const diagonal = by_loc + size * VECTORS, *const slope = diagonal + size * VECTORS,
        value[VECTORS];
#define COLUMN(of, k) double *const of##_k = (of) + (k) * VECTORS
    EACH_ROW value[i] = (double)size * -0.9189385332046727;
    for (Py_ssize_t row = 0, first = 0; row < size; first += ++row) {
        double loc[VECTORS];
        COLUMN(z, row);
        load_double(&memory->y, start, rows, row, z_k);
        load_double(&memory->raw, start, rows, row, loc);
        EACH_ROW z_k[i] -= loc[i];
        for (Py_ssize_t k = 0; k < row; k++) {
            COLUMN(entry, first + k);
            const double *const before = z + k * VECTORS;
            load_double(&memory->raw, start, rows, size + first + k, entry_k);
            EACH_ROW z_k[i] -= entry_k[i] * before[i];
        }
        COLUMN(diagonal, row);
        COLUMN(slope, row);
        double odds[VECTORS], log[VECTORS];
        load_double(&memory->raw, start, rows, size + first + row, slope_k);
        EACH_ROW odds[i] =
            exp__double(slope_k[i] > 40 ? 40 : slope_k[i] < -700 ? -700 : slope_k[i]);
        EACH_ROW diagonal_k[i] = ordinary_log1p__double(odds[i]);
        EACH_ROW diagonal_k[i] = slope_k[i] <= 40 ? diagonal_k[i] : slope_k[i]; /* or no number */
        EACH_ROW log[i] = log__double(diagonal_k[i]);
        /* of the smallest numbers all that there is */
        EACH_ROW log[i] = log[i] < slope_k[i] ? log[i] : slope_k[i];
        EACH_ROW slope_k[i] = odds[i] / ((1 + odds[i]) * diagonal_k[i]);
        EACH_ROW z_k[i] /= diagonal_k[i];
        EACH_ROW value[i] -= 0.5 * z_k[i] * z_k[i] + log[i];
    }
    double *one = value;
    store_double(&memory->value, start, rows, 0, 1, &one);
    if (memory->slopes.start == NULL) return;
    memcpy(by_loc, z, (size_t)size * VECTORS * sizeof(double));
    for (Py_ssize_t row = size, first = triangle; row-- > 0;) {
        first -= row + 1;
        COLUMN(z, row);
        COLUMN(by_loc, row);
        COLUMN(diagonal, row);
        COLUMN(slope, row);
        EACH_ROW by_loc_k[i] /= diagonal_k[i];
        for (Py_ssize_t k = 0; k < row; k++) {
            COLUMN(entry, first + k);
            const double *const other = z + k * VECTORS;
            double *const by_other = by_loc + k * VECTORS;
            EACH_ROW {
                by_other[i] -= entry_k[i] * by_loc_k[i];
                entry_k[i] = other[i] * by_loc_k[i];
            }
            store_double(&memory->slopes, start, rows, size + first + k, 1, (double *[]){entry_k});
        }
        EACH_ROW slope_k[i] *= by_loc_k[i] * z_k[i] * diagonal_k[i] - 1;
        store_double(&memory->slopes, start, rows, size + first + row, 1, (double *[]){slope_k});
        store_double(&memory->slopes, start, rows, row, 1, (double *[]){by_loc_k});
    }
#undef COLUMN
}

static void vectors(const Likelihood *it, const Memories *memory, Py_ssize_t start, Py_ssize_t stop,
    void *space) {
    for (Py_ssize_t first = start; first < stop; first += VECTORS)
        vectors_of_block(it, memory, first, stop - first < VECTORS ? stop - first : VECTORS, space);
}
