/* The detector's input out of camera frames: see kernels.h. */
#include "area.h"

#include <stdlib.h>

typedef struct {
    const fer_frame *frame;
    const fer_picture *out;
    size_t channels;         /* of the frame */
    size_t copies;           /* samples of a pixel of the picture that each of them becomes */
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
    if (kind != FER_PICTURE_FLOAT32) {
        const unsigned flipped = kind == FER_PICTURE_INT8 ? 0x80 : 0;
        for (size_t i = 0; i < n; i++)
            out[i] = (uint8_t)(samples[i] ^ flipped);
    } else {
        float *const numbers = (float *)(void *)out;
        for (size_t i = 0; i < n; i++)
            numbers[i] = (float)samples[i];
    }
}

INLINE void store_row(const shrink_task *j, ptrdiff_t y, const uint16_t *samples, size_t pitch)
{
    uint8_t *const row = j->out->pixels + y * j->out->row_stride;
    for (size_t r = 0; r < j->runs; r++)
        store_run(row + (ptrdiff_t)r * j->out->channel_stride, samples + r * pitch, j->run, j->out->kind);
}

#if defined(WITH_VECTORS)
/* Frames of twice the height and width, as 640x480 is of 320x240: the general way gives exactly the rounded mean
 * of four samples, as halves of ONE leave nothing to round in between. */
INLINE int is_half(const shrink_task *j)
{
    const int interleaved_colours = j->channels == 3 && j->runs == 1;
    return (interleaved_colours || j->channels == 1) && j->frame->height == 2 * j->out->height &&
           j->frame->width == 2 * j->out->width;
}

/* The samples of two pixels, the first of LANES, for each of four sums of two rows. */
INLINE void halve_colours(const shrink_task *j)
{
    enum { STEP = 6 };
    const uint16_t *const sum = j->sum;
    const int swapped = j->frame->order == FER_ORDER_RGB;
    for (size_t i = 0; i < j->run; i += STEP) {
        u16_lanes a, b, c, d;
        memcpy(&a, sum + 2 * i, sizeof a);
        memcpy(&b, sum + 2 * i + 3, sizeof b);
        memcpy(&c, sum + 2 * i + 8, sizeof c);
        memcpy(&d, sum + 2 * i + 11, sizeof d);
        const u16_lanes near = (a + b) >> 2, far = (c + d) >> 2;
        const u16_lanes pair = swapped ? __builtin_shufflevector(near, far, 2, 1, 0, 8, 7, 6, 8, 8)
                                       : __builtin_shufflevector(near, far, 0, 1, 2, 6, 7, 8, 8, 8);
        memcpy(j->picture + i, &pair, sizeof pair);
    }
}

/* As many times as the picture has samples in a pixel: a run each, or side by side. */
INLINE void halve_grey(const shrink_task *j)
{
    const uint16_t *const sum = j->sum;
    const size_t width = (size_t)j->out->width;
    for (size_t x = 0; x < width; x += LANES) {
        u16_lanes a, b;
        memcpy(&a, sum + 2 * x, sizeof a);
        memcpy(&b, sum + 2 * x + LANES, sizeof b);
        const u16_lanes mean = (__builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) +
                                __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)) >> 2;
        if (j->copies == 1 || j->runs > 1) {
            memcpy(j->picture + x, &mean, sizeof mean);
            continue;
        }
        const u16_lanes first = __builtin_shufflevector(mean, mean, 0, 0, 0, 1, 1, 1, 2, 2);
        const u16_lanes second = __builtin_shufflevector(mean, mean, 2, 3, 3, 3, 4, 4, 4, 5);
        const u16_lanes third = __builtin_shufflevector(mean, mean, 5, 5, 6, 6, 6, 7, 7, 7);
        memcpy(j->picture + 3 * x, &first, sizeof first);
        memcpy(j->picture + 3 * x + LANES, &second, sizeof second);
        memcpy(j->picture + 3 * x + 2 * LANES, &third, sizeof third);
    }
}

INLINE void halve(const shrink_task *j)
{
    const fer_frame *const frame = j->frame;
    for (ptrdiff_t y = 0; y < j->out->height; y++) {
        const uint8_t *const above = frame->pixels + 2 * y * frame->row_stride, *const below = above + frame->row_stride;
        uint16_t *restrict const sum = j->sum;
        for (size_t i = 0; i < j->samples; i++)
            sum[i] = (uint16_t)(above[i] + below[i] + 1);
        if (j->channels == 3)
            halve_colours(j);
        else
            halve_grey(j);
        store_row(j, y, j->picture, 0);
    }
}
#endif

/* How many samples become one, where the general way rounds nothing but the last sum: 1 to 16, a power of two; 0 for
 * other ratios. */
static ptrdiff_t roundless(ptrdiff_t from, ptrdiff_t to)
{
    const ptrdiff_t ratio = from / to;
    return ratio * to == from && ratio <= 16 && (ratio & (ratio - 1)) == 0 ? ratio : 0;
}

INLINE void add_neighbours(uint16_t *restrict out, const uint16_t *restrict in, size_t apart, size_t n)
{
    for (size_t i = 0; i + apart < n; i++)
        out[i] = (uint16_t)(in[i] + in[i + apart]);
}

/* The rounded means of blocks of down x across pixels in colour, as 1280x720 has them for 320x180. Grey frames gain
 * nothing by it. */
INLINE void shrink_blocks(const shrink_task *j, ptrdiff_t down, ptrdiff_t across)
{
    const fer_frame *const frame = j->frame;
    const size_t width = (size_t)j->out->width, step = (size_t)across * 3, padded = j->places / j->runs;
    const unsigned area = (unsigned)(down * across);
    unsigned shift = 0;
    while (1u << shift < area)
        shift++;
    for (ptrdiff_t y = 0; y < j->out->height; y++) {
        uint16_t *sums = j->sum, *spare = j->rows;
        sum_rows(sums, frame->pixels + y * down * frame->row_stride, frame->row_stride, down, j->samples);
        for (size_t apart = 3; apart < step; apart *= 2) {
            add_neighbours(spare, sums, apart, j->samples);
            uint16_t *const added = spare;
            spare = sums;
            sums = added;
        }
        for (size_t c = 0; c < 3; c++) {
            const uint16_t *const channel = sums + (frame->order == FER_ORDER_RGB ? 2 - c : c);
            uint16_t *const to = j->picture + (j->runs == 1 ? c : c * padded);
            const size_t apart = j->runs == 1 ? 3 : 1;
            for (size_t x = 0; x < width; x++)
                to[x * apart] = (uint16_t)((channel[x * step] + area / 2) >> shift);
        }
        store_row(j, y, j->picture, padded);
    }
}

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
    const ptrdiff_t down = roundless(frame->height, out->height), across = roundless(frame->width, out->width);
    if (j->channels == 3 && down != 0 && across != 0) {
        shrink_blocks(j, down, across);
        return;
    }
    const size_t height = (size_t)out->height, width = (size_t)out->width, padded = j->places / j->runs;
    const size_t samples = j->channels * j->copies; /* of a pixel of the picture */
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
                for (size_t i = c * j->copies; i < (c + 1) * j->copies; i++)
                    j->columns[j->runs == 1 ? samples * x + i : i * padded + x] = mean;
            }
        }
        for (size_t i = 0; i < j->places; i += LANES) {
            u16_lanes square[LANES];
            transpose((const uint16_t *)&j->columns[i], LANES, square);
            for (size_t k = 0; k < LANES; k++)
                memcpy(j->picture + k * j->places + i, &square[k], sizeof square[k]);
        }
        for (size_t k = 0; k < rows; k++)
            store_row(j, (ptrdiff_t)(y + k), j->picture + k * j->places, padded);
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

/* `channels` of the frame become `copies` samples each. */
static int shrink_channels(const fer_frame *frame, size_t channels, size_t copies, const fer_picture *out)
{
    shrink_task j;
    j.frame = frame;
    j.out = out;
    j.channels = channels;
    j.copies = copies;
    j.samples = (size_t)frame->width * j.channels;
    j.pitch = whole_vectors(j.samples);
    j.runs = out->planar ? channels * copies : 1;
    j.run = (size_t)out->width * channels * copies / j.runs;
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

int fer_shrink(const fer_frame *frame, const fer_picture *out)
{
    return frame->order == FER_ORDER_GREY ? shrink_channels(frame, 1, 3, out) : shrink_channels(frame, 3, 1, out);
}

enum {
    YUV_BITS = 14, /* BT.601 in video range, as OpenCV has it with 20 bits */
    LUMA = 19071,  /* 255 / 219 */
    BLUE_OF_U = 33063,
    GREEN_OF_U = -6406,
    GREEN_OF_V = -13320,
    RED_OF_V = 26149
};

INLINE uint16_t level(int32_t sum)
{
    const int32_t rounded = (sum + (1 << (YUV_BITS - 1))) >> YUV_BITS;
    return (uint16_t)(rounded < 0 ? 0 : rounded > 255 ? 255 : rounded);
}

/* y, u, v: `pitch` samples each. bgr: the same number of pixels. */
INLINE void convert_row(const uint8_t *restrict y, const uint8_t *restrict u, const uint8_t *restrict v, size_t n,
                        uint16_t *restrict blue, uint16_t *restrict green, uint16_t *restrict red)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t light = (y[i] > 16 ? y[i] - 16 : 0) * LUMA, from_u = u[i] - 128, from_v = v[i] - 128;
        blue[i] = level(light + from_u * BLUE_OF_U);
        green[i] = level(light + from_u * GREEN_OF_U + from_v * GREEN_OF_V);
        red[i] = level(light + from_v * RED_OF_V);
    }
}

INLINE void convert(const uint8_t *planes, const fer_picture *out, uint16_t *row)
{
    const size_t width = (size_t)out->width, area = width * (size_t)out->height;
    for (ptrdiff_t y = 0; y < out->height; y++, planes += width) {
        convert_row(planes, planes + area, planes + 2 * area, width, row, row + width, row + 2 * width);
        uint8_t *const pixels = out->pixels + y * out->row_stride;
        if (out->planar) {
            for (size_t c = 0; c < 3; c++)
                store_run(pixels + (ptrdiff_t)c * out->channel_stride, row + c * width, width, out->kind);
        } else if (out->kind != FER_PICTURE_FLOAT32) {
            const unsigned flipped = out->kind == FER_PICTURE_INT8 ? 0x80 : 0;
            for (size_t i = 0; i < width; i++)
                for (size_t c = 0; c < 3; c++)
                    pixels[3 * i + c] = (uint8_t)(row[c * width + i] ^ flipped);
        } else {
            float *const numbers = (float *)(void *)pixels;
            for (size_t i = 0; i < width; i++)
                for (size_t c = 0; c < 3; c++)
                    numbers[3 * i + c] = (float)row[c * width + i];
        }
    }
}

#if defined(WITH_AVX2)
AVX2 static void convert_avx2(const uint8_t *planes, const fer_picture *out, uint16_t *row)
{
    convert(planes, out, row);
}
#endif

static void convert_dispatched(const uint8_t *planes, const fer_picture *out, uint16_t *row)
{
#if defined(WITH_AVX2)
    if (__builtin_cpu_supports("avx2")) {
        convert_avx2(planes, out, row);
        return;
    }
#endif
    convert(planes, out, row);
}

/* As 640x480 frames have it for 320x240. */
INLINE void copy_chroma(const fer_chroma *chroma, uint8_t *restrict u, uint8_t *restrict v)
{
    const size_t width = (size_t)chroma->width;
    for (ptrdiff_t y = 0; y < chroma->height; y++, u += width, v += width) {
        const uint8_t *const from_u = chroma->u + y * chroma->row_stride, *const from_v = chroma->v + y * chroma->row_stride;
        if (chroma->step == 1) {
            memcpy(u, from_u, width);
            memcpy(v, from_v, width);
        } else {
            for (size_t i = 0; i < width; i++) {
                u[i] = from_u[2 * i];
                v[i] = from_v[2 * i];
            }
        }
    }
}

/* u and v, each as large as the picture, one after the other. */
static int shrink_chroma(const fer_chroma *chroma, const fer_picture *out, uint8_t *planes)
{
    const ptrdiff_t area = out->height * out->width;
    if (chroma->height == out->height && chroma->width == out->width) {
        copy_chroma(chroma, planes, planes + area);
        return 0;
    }
    fer_picture to = {planes, out->height, out->width, out->width, area, 1, FER_PICTURE_UINT8};
    fer_frame from = {chroma->u, chroma->height, chroma->width, chroma->row_stride, FER_ORDER_GREY};
    if (chroma->step == 2) {
        /* The planes in the order in which the samples lie. */
        if (chroma->v < chroma->u) {
            from.pixels = chroma->v;
            to.pixels = planes + area;
            to.channel_stride = -area;
        }
        return shrink_channels(&from, 2, 1, &to);
    }
    if (shrink_channels(&from, 1, 1, &to) != 0)
        return -1;
    from.pixels = chroma->v;
    to.pixels = planes + area;
    return shrink_channels(&from, 1, 1, &to);
}

int fer_shrink_yuv(const fer_frame *luma, const fer_chroma *chroma, const fer_picture *out)
{
    const size_t width = (size_t)out->width, area = width * (size_t)out->height;
    uint16_t *const row = malloc(3 * width * sizeof *row + 3 * area);
    if (row == NULL)
        return -1;
    uint8_t *const planes = (uint8_t *)(row + 3 * width);
    const fer_picture light = {planes, out->height, out->width, out->width, 0, 0, FER_PICTURE_UINT8};
    int status = shrink_channels(luma, 1, 1, &light);
    if (status == 0)
        status = shrink_chroma(chroma, out, planes + area);
    if (status == 0)
        convert_dispatched(planes, out, row);
    free(row);
    return status;
}
