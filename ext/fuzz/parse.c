/* libFuzzer target: text to pixels. The vector code and the portable code have to agree, within bounds. */
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fer_parsed portable_parse_rows(const uint8_t *text, size_t length, int final, const fer_layout *layout,
                               size_t capacity, uint8_t *pixels, int8_t *labels, uint8_t *usages);

enum { CAPACITY = 2, HEAD = 4, ROOM = 2 * 5 * FER_FACE_PIXELS };

/* A row of the usual kind, which a fuzzer would not find by itself; returns its length. */
static size_t usual_row(char *text, unsigned seed)
{
    size_t length = (size_t)sprintf(text, "%u,", seed % 7);
    for (unsigned i = 0; i < FER_FACE_PIXELS; i++) {
        seed = seed * 1103515245 + 12345;
        const unsigned bits = 4 + (seed >> 29) % 5;
        length += (size_t)sprintf(text + length, i ? " %u" : "%u", (seed >> 16) % (1u << bits));
    }
    return length + (size_t)sprintf(text + length, ",Training\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD || size > ROOM / 2)
        return 0;
    const fer_layout layouts[] = {
        {3, 0, 1, 2, 1 << 20}, {3, -1, 1, -1, 1 << 20}, {1, -1, 0, -1, 1 << 20}, {2, 1, 0, -1, 64}};
    const fer_layout *const layout = &layouts[data[0] & 3];
    const int final = data[0] & 4;
    static char row[ROOM];
    size_t length = 0, at = 0, cut = 0;
    if (data[0] & 8) { /* the rest of the data replaces some of a usual row */
        length = usual_row(row, data[1]);
        at = (data[2] | (size_t)data[3] << 8) % length;
        cut = data[1] % (length - at);
    }
    const size_t total = length - cut + size - HEAD;
    uint8_t *const text = malloc(total + 1);
    memcpy(text, row, at);
    memcpy(text + at, data + HEAD, size - HEAD);
    memcpy(text + at + size - HEAD, row + at + cut, length - at - cut);
    uint8_t *const exact = realloc(text, total ? total : 1);

    uint8_t *const pixels[2] = {malloc(CAPACITY * FER_FACE_PIXELS), malloc(CAPACITY * FER_FACE_PIXELS)};
    int8_t labels[2][CAPACITY] = {{0}};
    uint8_t usages[2][CAPACITY * FER_USAGE_LIMIT] = {{0}};
    const fer_parsed a = fer_parse_rows(exact, total, final, layout, CAPACITY, pixels[0], labels[0], usages[0]);
    const fer_parsed b = portable_parse_rows(exact, total, final, layout, CAPACITY, pixels[1], labels[1], usages[1]);
    if (a.rows != b.rows || a.consumed != b.consumed || a.fault != b.fault || a.line_end != b.line_end ||
        a.offset != b.offset || a.detail != b.detail || memcmp(pixels[0], pixels[1], a.rows * FER_FACE_PIXELS))
        abort();
    free(pixels[0]);
    free(pixels[1]);
    free(exact);
    return 0;
}
