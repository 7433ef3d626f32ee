/* Work on tensors row by row, where a row has many numbers, in one precision: included once for double and once for float. */

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

/* In double precision. */
VECTORISED
static double NAME(sum)(const Memory *values, Py_ssize_t rows) {
    double sum = 0;
    if (values->by_row == sizeof(REAL)) {
        const REAL *value = (const REAL *)values->start;
        REDUCED("omp simd reduction(+ : sum)") for (Py_ssize_t i = 0; i < rows; i++) sum += value[i];
    } else for (Py_ssize_t i = 0; i < rows; i++) sum += *(const REAL *)(values->start + i * values->by_row);
    return sum;
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

/* Log-likelihoods of rankings, each item chosen by its share, exp(score), of the items that are left, and perhaps derivatives by the
scores. Sums over the items that are left are built up from the last place to the first. What is left beside the worth of the item that is
chosen goes into log1p: a choice that is almost certain keeps its digits.
0 where a score is too great or too small for a sum of exponentials, or an item is none; 1 otherwise. */
VECTORISED
static int NAME(rank_of_block)(const Rankings *it, Py_ssize_t start, Py_ssize_t rows, void *space) {
    const Py_ssize_t items = it->items;
    const REAL bound = IS_SINGLE ? 15 : 300;
    REAL (*worth)[RANKED] = space, (*left)[RANKED] = worth + items, sum[RANKED] = {0}, shares[RANKED] = {0};
    double value[RANKED] = {0};
    int beyond = 0;
    for (Py_ssize_t i = 0; i < rows; i++) {
        const char *scores = it->scores.start + (start + i) * it->scores.by_row, *order = it->orders.start + (start + i) * it->orders.by_row;
        for (Py_ssize_t k = 0; k < items; k++) {
            const int64_t item = *(const int64_t *)(order + k * it->orders.by_column);
            if (item < 0 || item >= items) return 0;
            const char *score = scores + item * it->scores.by_column;
            worth[k][i] = it->scores.type == 'f' ? (REAL)*(const float *)score : (REAL)*(const double *)score;
        }
    }
    for (Py_ssize_t k = 0; k < items; k++) EACH_ROW {
        beyond |= !(worth[k][i] >= -bound) | !(worth[k][i] <= bound);
        worth[k][i] = NAME(ordinary_exp_)(worth[k][i]);
    }
    if (beyond) return 0;
    for (Py_ssize_t k = items; k-- > 0;) {
        if (k < items - 1) EACH_ROW value[i] -= NAME(ordinary_log1p_)(sum[i] / worth[k][i]);
        EACH_ROW left[k][i] = sum[i] += worth[k][i];
    }
    for (Py_ssize_t i = 0; i < rows; i++) {
        char *to = it->value.start + (start + i) * it->value.by_row;
        if (it->value.type == 'f') *(float *)to = (float)value[i];
        else *(double *)to = value[i];
    }
    if (it->slopes.start == NULL) return 1;
    for (Py_ssize_t k = 0; k < items; k++) EACH_ROW {
        shares[i] += 1 / left[k][i];
        left[k][i] = 1 - shares[i] * worth[k][i];
    }
    for (Py_ssize_t i = 0; i < rows; i++) {
        const char *order = it->orders.start + (start + i) * it->orders.by_row;
        char *slopes = it->slopes.start + (start + i) * it->slopes.by_row;
        for (int write = 0; write < 2; write++) /* zeros first, for targets that leave out an item */
            for (Py_ssize_t k = 0; k < items; k++) {
                char *to = slopes + (write ? *(const int64_t *)(order + k * it->orders.by_column) : k) * it->slopes.by_column;
                if (it->slopes.type == 'f') *(float *)to = write ? (float)left[k][i] : 0;
                else *(double *)to = write ? left[k][i] : 0;
            }
    }
    return 1;
}

static int NAME(rank)(const Rankings *it, Py_ssize_t start, Py_ssize_t stop, void *space) {
    for (Py_ssize_t first = start; first < stop; first += RANKED) {
        const Py_ssize_t rows = stop - first < RANKED ? stop - first : RANKED;
        if (NAME(rank_of_block)(it, first, rows, space)) continue;
#if IS_SINGLE
        if (rank_double(it, first, first + rows, space)) continue;
#endif
        return 0;
    }
    return 1;
}
