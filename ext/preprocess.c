/* Faces out of camera frames, and FER-2013 text to pixels: see preprocess.h. */
#include "preprocess.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- faces out of a frame */

enum {
    WEIGHT_BITS = 15, /* weights fit 16 bits, and 8.8 samples times weights 32 */
    ONE = 1 << WEIGHT_BITS,
    GREY_BITS = 15,
    BLUE = 3735, /* BT.601 as in OpenCV's cvtColor; the sum is 2^GREY_BITS */
    GREEN = 19235,
    RED = 9798,
    ROUND_8_8 = 1 << (WEIGHT_BITS - 9), /* half of the last bit of an 8.8 sample, in 8.WEIGHT_BITS */
    SUM_ROWS = 256 /* rows of 8-bit samples whose sum fits 16 bits */
};

/* What one output pixel takes from one axis: samples first to last, those between with equal weight. */
typedef struct {
    ptrdiff_t first, last;
    uint32_t w_first, w_middle, w_last; /* w_first + (last - first - 1) * w_middle + w_last == ONE */
} span;

static span single(ptrdiff_t index)
{
    const span s = {index, index, ONE, 0, 0};
    return s;
}

static ptrdiff_t floor_within(double t, ptrdiff_t size)
{
    if (!(t > 0.0))
        return 0;
    return t >= (double)size ? size - 1 : (ptrdiff_t)t;
}

/* The mean over [start, stop), which is `scale` >= 1 samples wide. The samples between the ends share one
 * weight, rounded down, so that they can be added before they are weighed; the last one takes the rest. */
static span area_span(double start, double stop, double scale, ptrdiff_t size)
{
    const ptrdiff_t first = floor_within(start, size);
    ptrdiff_t last = floor_within(stop, size);
    if ((double)last >= stop)
        last -= 1;
    if (last <= first)
        return single(first);

    const double density = ONE / scale;
    const int64_t between = last - first - 1;
    int64_t middle = (int64_t)density;
    if (between * middle > ONE)
        middle = ONE / between;
    const double head = ((double)(first + 1) - start) * density + 0.5;
    const int64_t rest = ONE - between * middle;
    const int64_t w_first = head >= (double)rest ? rest : (int64_t)head;
    const span s = {first, last, (uint32_t)w_first, (uint32_t)middle, (uint32_t)(rest - w_first)};
    return s;
}

/* Linear between the centres of the two samples around `centre`. */
static span linear_span(double centre, ptrdiff_t size)
{
    if (!(centre > 0.0))
        return single(0);
    if (centre >= (double)(size - 1))
        return single(size - 1);
    const ptrdiff_t first = (ptrdiff_t)centre;
    const uint32_t w_last = (uint32_t)((centre - (double)first) * ONE + 0.5);
    const span s = {first, first + 1, ONE - w_last, 0, w_last};
    return s;
}

static void axis_spans(double origin, double side, ptrdiff_t size, span spans[FER_FACE_SIZE])
{
    for (int i = 0; i < FER_FACE_SIZE; i++) {
        if (side >= FER_FACE_SIZE)
            spans[i] = area_span(origin + side * i / FER_FACE_SIZE, origin + side * (i + 1) / FER_FACE_SIZE,
                                 side / FER_FACE_SIZE, size);
        else
            spans[i] = linear_span(origin + side * (i + 0.5) / FER_FACE_SIZE - 0.5, size);
    }
}

/* Four rows at a time, so that a sum is loaded and stored once for four samples. */
static void sum_rows(uint16_t *restrict sum, const uint8_t *row, ptrdiff_t stride, ptrdiff_t rows, size_t n)
{
    memset(sum, 0, n * sizeof *sum);
    for (; rows >= 4; rows -= 4, row += 4 * stride) {
        const uint8_t *const b = row + stride, *const c = b + stride, *const d = c + stride;
        for (size_t i = 0; i < n; i++)
            sum[i] = (uint16_t)(sum[i] + row[i] + b[i] + c[i] + d[i]);
    }
    for (; rows > 0; rows--, row += stride)
        for (size_t i = 0; i < n; i++)
            sum[i] = (uint16_t)(sum[i] + row[i]);
}

/* 8.8 samples of 8-bit rows a and b and the sum of the rows between. */
static void weigh_short(uint16_t *restrict out, const uint8_t *restrict a, const uint8_t *restrict b,
                        const uint16_t *restrict middle, const span *s, size_t n)
{
    const uint16_t w_a = (uint16_t)s->w_first, w_b = (uint16_t)s->w_last, w_middle = (uint16_t)s->w_middle;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)(((uint32_t)a[i] * w_a + (uint32_t)b[i] * w_b + (uint32_t)middle[i] * w_middle +
                             ROUND_8_8) >> (WEIGHT_BITS - 8));
}

/* The same where the sum of the rows between needs more than 16 bits. */
static void weigh_long(uint16_t *restrict out, const uint8_t *first, ptrdiff_t stride, ptrdiff_t between,
                       const span *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *sample = first + i;
        uint32_t sum = *sample * s->w_first, middle = 0;
        for (ptrdiff_t row = 0; row < between; row++)
            middle += *(sample += stride);
        sum += middle * s->w_middle + sample[stride] * s->w_last;
        out[i] = (uint16_t)((sum + ROUND_8_8) >> (WEIGHT_BITS - 8));
    }
}

/* Rounds down: with the rounding at the end, an unscaled pixel is exactly cvtColor's. */
static void grey_from_bgr(uint16_t *restrict out, const uint16_t *restrict bgr, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        out[i] = (uint16_t)((bgr[3 * i] * (uint32_t)BLUE + bgr[3 * i + 1] * (uint32_t)GREEN +
                             bgr[3 * i + 2] * (uint32_t)RED) >> GREY_BITS);
}

static uint8_t weigh_columns(const uint16_t *grey, const span *s)
{
    uint32_t middle = 0;
    for (ptrdiff_t i = s->first + 1; i < s->last; i++)
        middle += grey[i];
    const uint32_t sum = grey[s->first] * s->w_first + grey[s->last] * s->w_last + middle * s->w_middle;
    return (uint8_t)((sum + (1u << (WEIGHT_BITS + 7))) >> (WEIGHT_BITS + 8));
}

static void store_row(void *out, size_t base, const uint8_t grey[FER_FACE_SIZE], fer_grey_kind kind)
{
    switch (kind) {
    case FER_GREY_UINT8:
        memcpy((uint8_t *)out + base, grey, FER_FACE_SIZE);
        break;
    case FER_GREY_INT8:
        for (int x = 0; x < FER_FACE_SIZE; x++)
            ((int8_t *)out)[base + (size_t)x] = (int8_t)(grey[x] - 128);
        break;
    case FER_GREY_FLOAT32:
        for (int x = 0; x < FER_FACE_SIZE; x++)
            ((float *)out)[base + (size_t)x] = (float)(grey[x] - 128) / 64.0f;
        break;
    }
}

/* Each has room for one row of samples. */
typedef struct {
    uint16_t *samples;
    uint16_t *other; /* the sum of the rows between, then the grey of the samples */
} scratch;

/* The samples of one output row, before the columns are weighed; s counts rows from `pixels`. */
static void weigh_rows(const uint8_t *pixels, ptrdiff_t stride, const span *s, size_t n, const scratch *room)
{
    const uint8_t *const first = pixels + s->first * stride;
    const ptrdiff_t between = s->last - s->first - 1;
    if (between > SUM_ROWS) {
        weigh_long(room->samples, first, stride, between, s, n);
    } else {
        sum_rows(room->other, first + stride, stride, between, n);
        weigh_short(room->samples, first, pixels + s->last * stride, room->other, s, n);
    }
}

/* `pixels` is the first row of the frame from the column on that `across` counts from. */
static void crop_face(const fer_frame *frame, const uint8_t *pixels, const span *across, const span *down,
                      const scratch *room, fer_grey_kind kind, void *out, size_t base)
{
    const size_t columns = (size_t)(across[FER_FACE_SIZE - 1].last + 1);
    const int colour = frame->channels == 3;
    const uint16_t *const grey = colour ? room->other : room->samples;
    for (int y = 0; y < FER_FACE_SIZE; y++) {
        uint8_t face_row[FER_FACE_SIZE];
        weigh_rows(pixels, frame->row_stride, &down[y], columns * (size_t)frame->channels, room);
        if (colour)
            grey_from_bgr(room->other, room->samples, columns);
        for (int x = 0; x < FER_FACE_SIZE; x++)
            face_row[x] = weigh_columns(grey, &across[x]);
        store_row(out, base + (size_t)y * FER_FACE_SIZE, face_row, kind);
    }
}

int fer_crop_faces(const fer_frame *frame, const double *squares, size_t count, fer_grey_kind kind,
                   void *out)
{
    size_t room_for = 0;
    scratch room = {NULL, NULL};
    for (size_t i = 0; i < count; i++) {
        const double *const square = squares + 3 * i;
        span across[FER_FACE_SIZE], down[FER_FACE_SIZE];
        axis_spans(square[0], square[2], frame->width, across);
        axis_spans(square[1], square[2], frame->height, down);

        const ptrdiff_t left = across[0].first;
        for (int x = 0; x < FER_FACE_SIZE; x++) {
            across[x].first -= left;
            across[x].last -= left;
        }
        const size_t samples = (size_t)((across[FER_FACE_SIZE - 1].last + 1) * frame->channels);
        if (samples > room_for) {
            free(room.samples);
            room.samples = malloc(2 * samples * sizeof *room.samples);
            if (room.samples == NULL)
                return -1;
            room.other = room.samples + samples;
            room_for = samples;
        }
        crop_face(frame, frame->pixels + left * frame->channels, across, down, &room, kind, out,
                  i * FER_FACE_PIXELS);
    }
    free(room.samples);
    return 0;
}

/* ---------------------------------------------------------------- FER-2013 text to pixels */

typedef struct {
    const uint8_t *start, *end;
} slice;

typedef struct {
    fer_fault fault;
    const uint8_t *at;
    size_t detail;
} verdict;

static verdict fault_at(fer_fault fault, const uint8_t *at, size_t detail)
{
    const verdict v = {fault, at, detail};
    return v;
}

static int is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static int is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static const uint8_t *skip_blanks(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_blank(*p))
        p++;
    return p;
}

static slice trimmed(const uint8_t *start, const uint8_t *end)
{
    start = skip_blanks(start, end);
    while (end > start && is_blank(end[-1]))
        end--;
    const slice s = {start, end};
    return s;
}

static const uint8_t *find(const uint8_t *p, const uint8_t *end, int c)
{
    return p < end ? memchr(p, c, (size_t)(end - p)) : NULL;
}

/* Behind the quote that closes the field opened at `open`, blanks skipped; NULL if none does. */
static const uint8_t *quoted_end(const uint8_t *open, const uint8_t *end, const uint8_t **close)
{
    const uint8_t *p = find(open + 1, end, '"');
    while (p != NULL && p + 1 < end && p[1] == '"')
        p = find(p + 2, end, '"');
    if (p == NULL)
        return NULL;
    *close = p;
    p = skip_blanks(p + 1, end);
    return p == end || *p == ',' ? p : NULL;
}

/* Find the wanted fields of one line; the others only have to be there. */
static verdict split_line(slice line, const fer_layout *layout, slice *label, slice *pixels, slice *usage)
{
    const uint8_t *p = line.start;
    size_t column = 0;
    for (;; column++, p++) {
        const uint8_t *const start = skip_blanks(p, line.end);
        slice field;
        if (start < line.end && *start == '"') {
            const uint8_t *close = NULL;
            p = quoted_end(start, line.end, &close);
            if (p == NULL)
                return fault_at(FER_OPEN_QUOTE, start, column);
            field = trimmed(start + 1, close);
        } else {
            p = find(start, line.end, ',');
            if (p == NULL)
                p = line.end;
            field = trimmed(start, p);
        }
        if ((ptrdiff_t)column == layout->label)
            *label = field;
        else if ((ptrdiff_t)column == layout->pixels)
            *pixels = field;
        else if ((ptrdiff_t)column == layout->usage)
            *usage = field;
        if (p == line.end)
            break;
    }
    if (column + 1 != layout->columns)
        return fault_at(FER_FIELD_COUNT, line.start, column + 1);
    return fault_at(FER_OK, line.start, 0);
}

static size_t count_tokens(const uint8_t *p, const uint8_t *end)
{
    size_t tokens = 0;
    for (p = skip_blanks(p, end); p < end; p = skip_blanks(p, end), tokens++)
        while (p < end && !is_blank(*p))
            p++;
    return tokens;
}

/* Pixels `done` to 2303 of a row, from the text left; names the fault if there is one. */
static verdict parse_pixels(slice text, size_t done, uint8_t *out)
{
    const uint8_t *p = skip_blanks(text.start, text.end);
    for (; p < text.end && done < FER_FACE_PIXELS; p = skip_blanks(p, text.end), done++) {
        const uint8_t *const start = p;
        unsigned value = 0;
        while (p < text.end && p - start < 4 && is_digit(*p))
            value = value * 10 + (unsigned)(*p++ - '0');
        if (p - start > 3)
            return fault_at(FER_PIXEL_RANGE, start, done + 1);
        if (p < text.end && !is_blank(*p))
            return fault_at(FER_PIXEL_TEXT, start, done + 1);
        if (value > 255)
            return fault_at(FER_PIXEL_RANGE, start, done + 1);
        out[done] = (uint8_t)value;
    }
    const size_t found = done + count_tokens(p, text.end);
    return found == FER_FACE_PIXELS ? fault_at(FER_OK, p, 0) : fault_at(FER_PIXEL_COUNT, p, found);
}

/* Written so that compilers make one load of it on little-endian machines. */
static uint64_t load_little_endian(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Index of the lowest byte whose top bit is set in `mask`, which has one. */
static unsigned first_byte(uint64_t mask)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(mask) >> 3;
#else
    unsigned index = 0;
    for (; !(mask & 0x80); mask >>= 8)
        index++;
    return index;
#endif
}

/* The number whose `digits` (1 to 3) digits are the lowest bytes of `bytes`, the first one lowest. */
static unsigned number(uint64_t bytes, unsigned digits)
{
    const uint64_t top = bytes << (64 - 8 * digits);
    return (unsigned)(top >> 56) + 10 * (unsigned)(top >> 48 & 0xff) + 100 * (unsigned)(top >> 40 & 0xff);
}

/* The usual text, numbers with one space between, two pixels a step without a branch on their lengths.
 * Stops at whatever is less usual and leaves it, and the end of the field, to parse_pixels. Returns the
 * number of pixels done and moves *text behind them. */
static size_t parse_usual_pixels(const uint8_t **text, const uint8_t *end, uint8_t *out)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t high = 0x80 * ones;
    const uint8_t *p = *text;
    size_t done = 0;
    for (; done + 2 <= FER_FACE_PIXELS && end - p >= 8; done += 2) {
        const uint64_t x = load_little_endian(p) ^ '0' * ones;
        const uint64_t others = (((x & ~high) + (0x80 - 10) * ones) | x) & high; /* not a digit */
        const uint64_t others_after = others & (others - 1);
        if (others_after == 0)
            break;
        const unsigned a = first_byte(others), b = first_byte(others_after);
        const unsigned b_digits = b - a - 1;
        if (a - 1 > 2 || b_digits - 1 > 2 || p[a] != ' ' || p[b] != ' ')
            break;
        const unsigned value_a = number(x, a), value_b = number(x >> (8 * a + 8), b_digits);
        if ((value_a | value_b) > 255)
            break;
        out[done] = (uint8_t)value_a;
        out[done + 1] = (uint8_t)value_b;
        p += b + 1;
    }
    *text = p;
    return done;
}

static int is_usage(slice text)
{
    if (text.end - text.start > FER_USAGE_LIMIT)
        return 0;
    for (const uint8_t *p = text.start; p < text.end; p++)
        if (*p < ' ' || *p > '~' || *p == '"')
            return 0;
    return 1;
}

static verdict parse_line(slice line, const uint8_t *text, const fer_layout *layout, uint8_t *out_pixels,
                          int8_t *out_label, int64_t *out_usage)
{
    slice label = {line.start, line.start}, pixels = label, usage = label;
    if (skip_blanks(line.start, line.end) == line.end)
        return fault_at(FER_EMPTY_ROW, line.start, 0);
    const verdict split = split_line(line, layout, &label, &pixels, &usage);
    if (split.fault != FER_OK)
        return split;

    if (layout->label >= 0) {
        if (label.end - label.start != 1 || *label.start < '0' || *label.start > '6')
            return fault_at(FER_LABEL, label.start, 0);
        *out_label = (int8_t)(*label.start - '0');
    }
    const size_t done = parse_usual_pixels(&pixels.start, pixels.end, out_pixels);
    const verdict parsed = parse_pixels(pixels, done, out_pixels);
    if (parsed.fault != FER_OK)
        return parsed;
    if (layout->usage >= 0) {
        if (!is_usage(usage))
            return fault_at(FER_USAGE, usage.start, 0);
        out_usage[0] = usage.start - text;
        out_usage[1] = usage.end - usage.start;
    }
    return fault_at(FER_OK, line.end, 0);
}

static fer_parsed stopped(fer_parsed so_far, const uint8_t *text, verdict v, const uint8_t *next)
{
    so_far.fault = v.fault;
    so_far.offset = (size_t)(v.at - text);
    so_far.detail = v.detail;
    so_far.line_end = (size_t)(next - text);
    return so_far;
}

fer_parsed fer_parse_rows(const uint8_t *text, size_t length, int final, const fer_layout *layout,
                          size_t capacity, uint8_t *pixels, int8_t *labels, int64_t *usages)
{
    fer_parsed parsed = {0, 0, FER_OK, 0, 0, 0};
    const uint8_t *const end = text + length;
    while (parsed.rows < capacity && parsed.consumed < length) {
        slice line = {text + parsed.consumed, NULL};
        const uint8_t *const feed = find(line.start, end, '\n');
        const uint8_t *const next = feed != NULL ? feed + 1 : end;
        line.end = feed != NULL ? feed : end;
        if (line.end > line.start && line.end[-1] == '\r')
            line.end--;
        if ((size_t)(line.end - line.start) > layout->line_limit)
            return stopped(parsed, text, fault_at(FER_LONG_LINE, line.start, 0), next);
        if (feed == NULL && !final)
            break;

        const size_t row = parsed.rows;
        const verdict v = parse_line(line, text, layout, pixels + row * FER_FACE_PIXELS,
                                     layout->label >= 0 ? labels + row : NULL,
                                     layout->usage >= 0 ? usages + 2 * row : NULL);
        if (v.fault != FER_OK)
            return stopped(parsed, text, v, next);
        parsed.rows++;
        parsed.consumed = (size_t)(next - text);
    }
    return parsed;
}
