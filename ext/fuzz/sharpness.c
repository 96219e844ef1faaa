/* libFuzzer target: how sharp faces are. The definition in double arithmetic is met, and all kinds get the same number.
 * The kernel has no code for vector units, so its portable build is not compared. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT = 11, RIGHT = 37, TOP = 11, BOTTOM = 43 };

/* The variance of 0: levels, 1: second differences across, 2: down. */
static double variance(const uint8_t *levels, int what)
{
    double mean = 0, sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int y = TOP; y < BOTTOM; y++)
            for (int x = LEFT; x < RIGHT; x++) {
                const uint8_t *const at = levels + y * FER_FACE_SIZE + x;
                const int step = what == 1 ? 1 : FER_FACE_SIZE;
                const double value = what == 0 ? at[0] : 2 * at[0] - at[-step] - at[step];
                if (pass == 0)
                    mean += value / ((RIGHT - LEFT) * (BOTTOM - TOP));
                else
                    sum += (value - mean) * (value - mean);
            }
    return sum / ((RIGHT - LEFT) * (BOTTOM - TOP));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t levels[FER_FACE_PIXELS];
    int8_t numbers[FER_FACE_PIXELS];
    float floats[FER_FACE_PIXELS], wild[FER_FACE_PIXELS];
    memset(wild, 0, sizeof wild);
    for (size_t i = 0; i < FER_FACE_PIXELS; i++) {
        levels[i] = (uint8_t)(data[1 + i % (size - 1)] >> (data[0] & 7));
        numbers[i] = (int8_t)(levels[i] - 128);
        floats[i] = (float)(levels[i] - 128) / 64.0f;
    }
    double found[3];
    fer_measure_sharpness(levels, 1, FER_GREY_UINT8, &found[0]);
    fer_measure_sharpness(numbers, 1, FER_GREY_INT8, &found[1]);
    fer_measure_sharpness(floats, 1, FER_GREY_FLOAT32, &found[2]);
    const double contrast = variance(levels, 0);
    const double wanted = contrast > 1e-9 ? fmin(variance(levels, 1), variance(levels, 2)) / contrast : 0;
    if (found[0] != found[1] || found[0] != found[2] || !(fabs(found[0] - wanted) <= 1e-6 * (1 + wanted)))
        abort();

    const size_t bytes = size < sizeof *wild ? size : sizeof *wild;
    for (size_t i = 0; i < FER_FACE_PIXELS; i++)
        memcpy(&wild[i], data + i % (size - bytes + 1), bytes);
    fer_measure_sharpness(wild, 1, FER_GREY_FLOAT32, &found[0]);
    if (!(found[0] >= 0 && isfinite(found[0])))
        abort();
    return 0;
}
