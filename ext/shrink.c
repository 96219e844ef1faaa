/* The detector's input out of camera frames: see kernels.h. */
#include "area.h"

#include <stdlib.h>

typedef struct {
    const fer_frame *frame;
    const fer_picture *out;
    size_t channels;         /* of the frame */
    size_t samples;          /* of a row of the frame */
    size_t pitch;            /* samples filled up to whole vectors */
    size_t run, runs;        /* samples of the picture that adjoin, and how many times in a row */
    size_t places;           /* run filled up to whole vectors, times runs */
    span *across, *down;     /* for each column and row of the picture */
    u16_lanes *transposed;   /* pitch columns of LANES rows of the frame */
    u16_lanes *columns;      /* places columns of LANES rows of the picture */
    uint16_t *rows;          /* LANES rows of the frame, pitch apart */
    uint16_t *sum;           /* one row of the frame */
    uint16_t *picture;       /* LANES rows of the picture, places apart */
} shrink_task;

static size_t whole_vectors(size_t count)
{
    return (count + 31) / 32 * 32;
}

static void fill_spans(span *spans, ptrdiff_t from, ptrdiff_t to)
{
    const double scale = (double)from / (double)to, density = ONE / scale;
    double start = 0.0;
    for (ptrdiff_t i = 0; i < to; i++) {
        const double stop = (double)from * (double)(i + 1) / (double)to;
        spans[i] = area_span(start, stop, density, from);
        start = stop;
    }
}

INLINE void store_run(uint8_t *out, const uint16_t *restrict samples, size_t n, fer_picture_kind kind)
{
    if (kind == FER_PICTURE_UINT8) {
        for (size_t i = 0; i < n; i++)
            out[i] = (uint8_t)samples[i];
    } else {
        float *const numbers = (float *)(void *)out;
        for (size_t i = 0; i < n; i++)
            numbers[i] = (float)samples[i];
    }
}

#if defined(WITH_VECTORS)
/* Colour frames of twice the height and width, as 640x480 is of 320x240: the general way gives exactly the
 * rounded mean of four samples, as halves of ONE leave nothing to round in between. */
INLINE int is_half(const shrink_task *j)
{
    return j->channels == 3 && j->runs == 1 && j->frame->height == 2 * j->out->height &&
           j->frame->width == 2 * j->out->width;
}

INLINE void halve(const shrink_task *j)
{
    enum { STEP = 6 }; /* samples of two pixels, which the first of LANES are for */
    const fer_frame *const frame = j->frame;
    const int swapped = frame->order == FER_ORDER_RGB;
    for (ptrdiff_t y = 0; y < j->out->height; y++) {
        const uint8_t *const above = frame->pixels + 2 * y * frame->row_stride, *const below = above + frame->row_stride;
        uint16_t *restrict const sum = j->sum;
        for (size_t i = 0; i < j->samples; i++)
            sum[i] = (uint16_t)(above[i] + below[i] + 1);
        uint16_t *const picture = j->picture;
        for (size_t i = 0; i < j->run; i += STEP) {
            u16_lanes a, b, c, d;
            memcpy(&a, sum + 2 * i, sizeof a);
            memcpy(&b, sum + 2 * i + 3, sizeof b);
            memcpy(&c, sum + 2 * i + 8, sizeof c);
            memcpy(&d, sum + 2 * i + 11, sizeof d);
            const u16_lanes near = (a + b) >> 2, far = (c + d) >> 2;
            const u16_lanes pair = swapped ? __builtin_shufflevector(near, far, 2, 1, 0, 8, 7, 6, 8, 8)
                                           : __builtin_shufflevector(near, far, 0, 1, 2, 6, 7, 8, 8, 8);
            memcpy(picture + i, &pair, sizeof pair);
        }
        store_run(j->out->pixels + y * j->out->row_stride, picture, j->run, j->out->kind);
    }
}
#endif

INLINE void shrink(const shrink_task *j, weighers weigh)
{
#if defined(WITH_VECTORS)
    if (is_half(j)) {
        halve(j);
        return;
    }
#endif
    const fer_frame *const frame = j->frame;
    const fer_picture *const out = j->out;
    const size_t height = (size_t)out->height, width = (size_t)out->width, padded = j->places / j->runs;
    for (size_t y = 0; y < height; y += LANES) {
        const size_t rows = height - y < LANES ? height - y : LANES;
        for (size_t k = 0; k < LANES; k++)
            weigh_rows(frame->pixels, frame->row_stride, &j->down[y + (k < rows ? k : rows - 1)], j->samples, weigh,
                       j->sum, j->rows + k * j->pitch);
        for (size_t i = 0; i < j->samples; i += LANES)
            transpose(j->rows + i, j->pitch, j->transposed + i);
        for (size_t c = 0; c < j->channels; c++) {
            const size_t channel = frame->order == FER_ORDER_RGB ? 2 - c : c;
            for (size_t x = 0; x < width; x++) {
                const u16_lanes mean = weigh_columns(j->transposed + channel, j->channels, &j->across[x]);
                if (j->channels == 3) {
                    j->columns[j->runs == 1 ? 3 * x + c : c * padded + x] = mean;
                } else {
                    for (size_t copy = 0; copy < 3; copy++)
                        j->columns[j->runs == 1 ? 3 * x + copy : copy * padded + x] = mean;
                }
            }
        }
        for (size_t i = 0; i < j->places; i += LANES) {
            u16_lanes square[LANES];
            transpose((const uint16_t *)&j->columns[i], LANES, square);
            for (size_t k = 0; k < LANES; k++)
                memcpy(j->picture + k * j->places + i, &square[k], sizeof square[k]);
        }
        for (size_t k = 0; k < rows; k++)
            for (size_t r = 0; r < j->runs; r++)
                store_run(out->pixels + (ptrdiff_t)(y + k) * out->row_stride + (ptrdiff_t)r * out->channel_stride,
                          j->picture + k * j->places + r * padded, j->run, out->kind);
    }
}

#if defined(WITH_AVX2)
AVX2 static void shrink_avx2(const shrink_task *j)
{
    const weighers weigh = {weigh_near_avx2, weigh_short_avx2};
    shrink(j, weigh);
}
#endif

static void shrink_dispatched(const shrink_task *j)
{
#if defined(WITH_AVX2)
    if (__builtin_cpu_supports("avx2")) {
        shrink_avx2(j);
        return;
    }
#endif
    const weighers weigh = {weigh_near, weigh_short};
    shrink(j, weigh);
}

int fer_shrink(const fer_frame *frame, const fer_picture *out)
{
    shrink_task j;
    j.frame = frame;
    j.out = out;
    j.channels = frame->order == FER_ORDER_GREY ? 1 : 3;
    j.samples = (size_t)frame->width * j.channels;
    j.pitch = whole_vectors(j.samples);
    j.runs = out->planar ? 3 : 1;
    j.run = (size_t)out->width * 3 / j.runs;
    j.places = whole_vectors(j.run) * j.runs;
    const size_t vectors = j.pitch + j.places, numbers = (LANES + 1) * j.pitch + LANES * j.places + 2 * LANES;
    const size_t spans = (size_t)(out->width + out->height);
    /* Zeroed, and with two vectors between sum and picture, as samples that fill up the last vector are read,
     * though they do not count. */
    void *const scratch = calloc(1, sizeof(u32_lanes) + vectors * sizeof(u16_lanes) + spans * sizeof(span) +
                                        numbers * sizeof(uint16_t));
    if (scratch == NULL)
        return -1;
    const uintptr_t start = ((uintptr_t)scratch + sizeof(u32_lanes) - 1) / sizeof(u32_lanes) * sizeof(u32_lanes);
    j.transposed = (u16_lanes *)start;
    j.columns = j.transposed + j.pitch;
    j.across = (span *)(void *)(j.columns + j.places);
    j.down = j.across + out->width;
    j.rows = (uint16_t *)(void *)(j.down + out->height);
    j.sum = j.rows + LANES * j.pitch;
    j.picture = j.sum + j.pitch + 2 * LANES;
    fill_spans(j.across, frame->width, out->width);
    fill_spans(j.down, frame->height, out->height);
    shrink_dispatched(&j);
    free(scratch);
    return 0;
}
