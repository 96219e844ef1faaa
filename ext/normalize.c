/* Exposure and contrast of faces: see kernels.h. */
#include "kernels.h"

#include <string.h>

enum {
    SIDE = 32, /* of the square around the measured part */
    LEFT = 8,
    TOP = 11,
    PART_PIXELS = 648,
    GAIN_BITS = 12, /* of the fraction */
    LEVEL_BITS = 3, /* of the fraction of a multiplied level: with a gain below 16 it fits 15 bits */
    LEVEL_LIMIT = (1 << (8 + LEVEL_BITS)) - 1
};

/* The measured part: in each row of the square, how far it reaches from the middle. */
static const int8_t reach[SIDE] = {3,  5,  7,  8,  9,  10, 10, 11, 11, 12, 12, 12, 13, 13, 13, 13,
                                   13, 13, 13, 13, 12, 12, 12, 11, 11, 10, 10, 9,  8,  7,  5,  3};
static const int8_t distance[SIDE] = {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5,  4,  3,  2,  1,  0,
                                      0,  1,  2,  3,  4,  5,  6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* The largest whole number whose square is not above `square`, which is below 2^36. */
static uint32_t root(uint64_t square)
{
    uint64_t rest = square, result = 0;
    for (uint64_t bit = (uint64_t)1 << 34; bit != 0; bit >>= 2) {
        const uint64_t trial = result + bit;
        result >>= 1;
        if (rest >= trial) {
            rest -= trial;
            result += bit;
        }
    }
    return (uint32_t)result;
}

static void measure(const uint8_t *levels, uint32_t *sum, uint32_t *sum_of_squares)
{
    uint8_t part[SIDE * SIDE];
    for (int y = 0; y < SIDE; y++) {
        const uint8_t *const row = levels + (TOP + y) * FER_FACE_SIZE + LEFT;
        const int8_t within = reach[y];
        for (int x = 0; x < SIDE; x++)
            part[y * SIDE + x] = row[x] & (uint8_t)(distance[x] < within ? 0xFF : 0);
    }
    uint32_t total = 0;
    int32_t squares = 0;
    for (int i = 0; i < SIDE * SIDE; i++)
        total += part[i];
    for (int i = 0; i < SIDE * SIDE; i++) {
        const int16_t level = part[i]; /* signed, as SSE2 adds products of such numbers */
        squares += level * level;
    }
    *sum = total;
    *sum_of_squares = (uint32_t)squares;
}

static void normalize(uint8_t *levels)
{
    uint32_t sum, squares;
    measure(levels, &sum, &squares);
    /* PART_PIXELS times the standard deviation. */
    const uint32_t deviation = root((uint64_t)PART_PIXELS * squares - (uint64_t)sum * sum);
    const uint64_t wanted = (uint64_t)(FER_CONTRAST_DEVIATION * PART_PIXELS) << GAIN_BITS;
    const uint64_t exact = deviation != 0 ? (wanted + deviation / 2) / deviation : FER_CONTRAST_GAIN;
    const uint16_t gain = (uint16_t)(exact < FER_CONTRAST_GAIN ? exact : FER_CONTRAST_GAIN);

    /* What a level that becomes 0 is after multiplying; half a level less, for rounding. */
    const int32_t multiplied = (int32_t)((uint64_t)sum * gain / PART_PIXELS >> (GAIN_BITS - LEVEL_BITS));
    const int16_t black = (int16_t)(multiplied - ((FER_CONTRAST_MEAN << LEVEL_BITS) + (1 << (LEVEL_BITS - 1))));
    /* Cut off first, so that no difference leaves 16 bits, in which x86-64 has these steps for eight levels at once. */
    const int16_t least = black > 0 ? black : 0;
    const int16_t most = black < INT16_MAX - LEVEL_LIMIT ? (int16_t)(black + LEVEL_LIMIT) : INT16_MAX;
    /* In every column, as gcc multiplies 16 bits by 16 only where it reads both factors from memory. */
    uint16_t gains[FER_FACE_SIZE];
    for (int x = 0; x < FER_FACE_SIZE; x++)
        gains[x] = gain;
    for (int y = 0; y < FER_FACE_SIZE; y++) {
        uint8_t *const row = levels + y * FER_FACE_SIZE;
        for (int x = 0; x < FER_FACE_SIZE; x++) {
            const uint16_t shifted = (uint16_t)(row[x] << (16 - GAIN_BITS + LEVEL_BITS));
            const uint16_t product = (uint16_t)((uint32_t)shifted * gains[x] >> 16);
            const int16_t level = (int16_t)product;
            const int16_t above = level > least ? level : least, within = above < most ? above : most;
            row[x] = (uint8_t)((uint16_t)(within - black) >> LEVEL_BITS);
        }
    }
}

static void flip_signs(uint8_t *numbers)
{
    for (size_t i = 0; i < FER_FACE_PIXELS; i++)
        numbers[i] ^= 0x80;
}

static void normalize_floats(float *face)
{
    uint8_t levels[FER_FACE_PIXELS];
    for (size_t i = 0; i < FER_FACE_PIXELS; i++) {
        const float sum = face[i] + 131074.0f; /* 2^17, whose last bit is a 64th, and the 2 of level 128 */
        uint32_t bits;
        memcpy(&bits, &sum, sizeof bits);
        levels[i] = (uint8_t)bits;
    }
    normalize(levels);
    for (size_t i = 0; i < FER_FACE_PIXELS; i++)
        face[i] = (float)(levels[i] - 128) / 64.0f;
}

void fer_normalize_contrast(void *faces, size_t count, fer_grey_kind kind)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *const face = (uint8_t *)faces + i * FER_FACE_PIXELS;
        switch (kind) {
        case FER_GREY_UINT8:
            normalize(face);
            break;
        case FER_GREY_INT8:
            flip_signs(face);
            normalize(face);
            flip_signs(face);
            break;
        case FER_GREY_FLOAT32:
            normalize_floats((float *)faces + i * FER_FACE_PIXELS);
            break;
        }
    }
}
