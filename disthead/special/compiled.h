/* Programs that are known when the library is built (`programs.h`): one loop for all steps, whose numbers stay in registers.

They are in single precision, for tensors (rows,) and (rows, width) in one piece each. Like any program they end at numbers that are not
for them; also at exponentials and logarithms that are not ordinary, which the steps one by one can do.
Each time that it is included, the table forgets at its end what was made of it. */

#define STEP(...) STEP_OF(__VA_ARGS__, 0, 0, 0, 0, 0) /* zeros at the end are not written down */
#define PROGRAM(name, width, places, steps) \
VECTORISED \
static int name##_at_once(char *const *tensors, Py_ssize_t total) { \
    enum { columns_0 = width, columns_1 = 1, columns_2 = 1, columns_3 = width }; \
    for (Py_ssize_t start = 0; start < total; start += STRETCH) { \
        const Py_ssize_t rows = total - start < STRETCH ? total - start : STRETCH; \
        const float *memory_0 = (const float *)tensors[0] + start * columns_0, *memory_1 = (const float *)tensors[1] + start; \
        float *memory_2 = (float *)tensors[2] + start, *memory_3 = (float *)tensors[3] + start * columns_3; \
        uint32_t any = 0; \
        INDEPENDENT for (Py_ssize_t i = 0; i < rows; i++) { \
            float place[places] = {0}; \
            steps \
        } \
        if (any >> 31) return 0; \
    } \
    return 1; \
}
#define READ(out, array, column) place[out] = memory_##array[columns_##array * i + column];
#define WRITE(array, column, a) memory_##array[columns_##array * i + column] = place[a];
#define WRITE_TWO(array, column, a, b) WRITE(array, column, a) WRITE(array, column + 1, b)
#define WRITE_THREE(array, column, a, b, c) WRITE_TWO(array, column, a, b) WRITE(array, column + 2, c)
#define WITHIN(a, least, greatest) any |= beyond_float(place[a], (float)least, (float)greatest);
#define WHOLE(a) any |= (uint32_t)!is_whole_float(place[a]) << 31;
#define BOUNDED(operation, out, a) any |= operation##_beyond_float(place[a]); place[out] = operation##_float(place[a]);
#define STEP_OF(operation, out, a, b, c, k, l, ...) place[out] = operation##_float(place[a], place[b], place[c], (float)k, (float)l);
#include "programs.h"

#define PROGRAM(name, width, places, steps) static const Step name##_steps[] = {steps};
#define READ(out, array, column) {LOAD, out, array, column, 0, 0, 0, 0},
#define WRITE(array, column, a) {STORE, a, 0, 0, array, column, 0, 0},
#define WRITE_TWO(array, column, a, b) {STORE_TWO, a, b, 0, array, column, 0, 0},
#define WRITE_THREE(array, column, a, b, c) {STORE_THREE, a, b, c, array, column, 0, 0},
#define WITHIN(a, least, greatest) {CHECK, 0, a, 0, 0, 0, least, greatest},
#define WHOLE(a) {CHECK_WHOLE, 0, a, 0, 0, 0, 0, 0},
#define BOUNDED(operation, out, a) {operation, out, a, 0, 0, 0, 0, 0},
#define STEP_OF(operation, out, a, b, c, k, l, ...) {operation, out, a, b, c, 0, k, l},
#include "programs.h"

typedef struct {
    const Step *steps;
    Py_ssize_t count, columns[4];
    int (*at_once)(char *const *, Py_ssize_t);
} Compiled;

static const Compiled compiled[] = {
#define PROGRAM(name, width, places, steps) {name##_steps, sizeof name##_steps / sizeof(Step), {width, 1, 1, width}, name##_at_once},
#include "programs.h"
};
#undef STEP
