/* FER-2013 text to pixels: see kernels.h. */
#include "kernels.h"

#include <string.h>

/* FER_PORTABLE leaves the vector units out, to compare with. */
#if defined(FER_PORTABLE)
#elif defined(__x86_64__) && defined(__GNUC__)
#define WITH_AVX2
#define WITH_BLOCKS
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#define WITH_NEON
#define WITH_BLOCKS
#include <arm_neon.h>
#endif

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

/* A row of pixels while it is read. */
typedef struct {
    const uint8_t *p, *end; /* p: the first digit of the next pixel */
    uint8_t *out;
    size_t done; /* pixels in out */
} pixel_row;

/* Two pixels a step, without a branch on their lengths, until `limit` are done. */
static void parse_pairs(pixel_row *row, size_t limit)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t high = 0x80 * ones;
    const uint8_t *p = row->p;
    size_t done = row->done;
    for (; done + 2 <= limit && row->end - p >= 8; done += 2) {
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
        row->out[done] = (uint8_t)value_a;
        row->out[done + 1] = (uint8_t)value_b;
        p += b + 1;
    }
    row->p = p;
    row->done = done;
}

#if defined(WITH_BLOCKS)
/* The vector units read a block of text at once. In every byte they work out the number that ends just
 * before it, from the three characters before, whatever they are; then they keep the bytes where a
 * separator is. Tables of 16 entries, indexed by the low four bits of a character, give the parts of
 * a number. For a space these bits are 0, as for the digit 0, so that a missing digit counts as 0.
 * Of a number, one is added to the low part and taken off the hundreds, so that 300 shows as too
 * large with a limit of 0 for its low part. */
static const uint8_t ONES_AND_1[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
static const uint8_t TENS[16] = {0, 10, 20, 30, 40, 50, 60, 70, 80, 90};
static const uint8_t HUNDREDS_LESS_1[16] = {255, 99, 199};
static const uint8_t LOW_LIMIT[16] = {255, 255, 56};

/* The bytes of an entry are the indices of the first four bits set, from the lowest byte on. */
static const uint32_t BITS_SET[256] = {
    0x00000000, 0x00000000, 0x00000001, 0x00000100, 0x00000002, 0x00000200, 0x00000201, 0x00020100,
    0x00000003, 0x00000300, 0x00000301, 0x00030100, 0x00000302, 0x00030200, 0x00030201, 0x03020100,
    0x00000004, 0x00000400, 0x00000401, 0x00040100, 0x00000402, 0x00040200, 0x00040201, 0x04020100,
    0x00000403, 0x00040300, 0x00040301, 0x04030100, 0x00040302, 0x04030200, 0x04030201, 0x03020100,
    0x00000005, 0x00000500, 0x00000501, 0x00050100, 0x00000502, 0x00050200, 0x00050201, 0x05020100,
    0x00000503, 0x00050300, 0x00050301, 0x05030100, 0x00050302, 0x05030200, 0x05030201, 0x03020100,
    0x00000504, 0x00050400, 0x00050401, 0x05040100, 0x00050402, 0x05040200, 0x05040201, 0x04020100,
    0x00050403, 0x05040300, 0x05040301, 0x04030100, 0x05040302, 0x04030200, 0x04030201, 0x03020100,
    0x00000006, 0x00000600, 0x00000601, 0x00060100, 0x00000602, 0x00060200, 0x00060201, 0x06020100,
    0x00000603, 0x00060300, 0x00060301, 0x06030100, 0x00060302, 0x06030200, 0x06030201, 0x03020100,
    0x00000604, 0x00060400, 0x00060401, 0x06040100, 0x00060402, 0x06040200, 0x06040201, 0x04020100,
    0x00060403, 0x06040300, 0x06040301, 0x04030100, 0x06040302, 0x04030200, 0x04030201, 0x03020100,
    0x00000605, 0x00060500, 0x00060501, 0x06050100, 0x00060502, 0x06050200, 0x06050201, 0x05020100,
    0x00060503, 0x06050300, 0x06050301, 0x05030100, 0x06050302, 0x05030200, 0x05030201, 0x03020100,
    0x00060504, 0x06050400, 0x06050401, 0x05040100, 0x06050402, 0x05040200, 0x05040201, 0x04020100,
    0x06050403, 0x05040300, 0x05040301, 0x04030100, 0x05040302, 0x04030200, 0x04030201, 0x03020100,
    0x00000007, 0x00000700, 0x00000701, 0x00070100, 0x00000702, 0x00070200, 0x00070201, 0x07020100,
    0x00000703, 0x00070300, 0x00070301, 0x07030100, 0x00070302, 0x07030200, 0x07030201, 0x03020100,
    0x00000704, 0x00070400, 0x00070401, 0x07040100, 0x00070402, 0x07040200, 0x07040201, 0x04020100,
    0x00070403, 0x07040300, 0x07040301, 0x04030100, 0x07040302, 0x04030200, 0x04030201, 0x03020100,
    0x00000705, 0x00070500, 0x00070501, 0x07050100, 0x00070502, 0x07050200, 0x07050201, 0x05020100,
    0x00070503, 0x07050300, 0x07050301, 0x05030100, 0x07050302, 0x05030200, 0x05030201, 0x03020100,
    0x00070504, 0x07050400, 0x07050401, 0x05040100, 0x07050402, 0x05040200, 0x05040201, 0x04020100,
    0x07050403, 0x05040300, 0x05040301, 0x04030100, 0x05040302, 0x04030200, 0x04030201, 0x03020100,
    0x00000706, 0x00070600, 0x00070601, 0x07060100, 0x00070602, 0x07060200, 0x07060201, 0x06020100,
    0x00070603, 0x07060300, 0x07060301, 0x06030100, 0x07060302, 0x06030200, 0x06030201, 0x03020100,
    0x00070604, 0x07060400, 0x07060401, 0x06040100, 0x07060402, 0x06040200, 0x06040201, 0x04020100,
    0x07060403, 0x06040300, 0x06040301, 0x04030100, 0x06040302, 0x04030200, 0x04030201, 0x03020100,
    0x00070605, 0x07060500, 0x07060501, 0x06050100, 0x07060502, 0x06050200, 0x06050201, 0x05020100,
    0x07060503, 0x06050300, 0x06050301, 0x05030100, 0x06050302, 0x05030200, 0x05030201, 0x03020100,
    0x07060504, 0x06050400, 0x06050401, 0x05040100, 0x06050402, 0x05040200, 0x05040201, 0x04020100,
    0x06050403, 0x05040300, 0x05040301, 0x04030100, 0x05040302, 0x04030200, 0x04030201, 0x03020100,
};

/* Are the separators where those of numbers of one to three digits are? Bits 0 to 2 are those of the
 * three characters before the block of `size`. */
static int is_regular(uint64_t separators, unsigned size)
{
    const uint64_t block = (UINT64_C(1) << size) - 1;
    const uint64_t pairs = separators | separators >> 1;
    return (separators & separators >> 1) == 0 && ((pairs | pairs >> 2) & block) == block;
}

/* Back to the first digit of the number that a block has cut. */
static const uint8_t *number_start(const uint8_t *p)
{
    while (is_digit(p[-1]))
        p--;
    return p;
}
#endif

#if defined(WITH_AVX2)
__attribute__((target("avx2"))) static __m256i table_avx2(const uint8_t table[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
}

/* Needs space for four bytes at out; returns how many of them count. */
__attribute__((target("avx2,popcnt"))) static unsigned keep_avx2(uint8_t *out, __m128i eight, unsigned mask)
{
    const __m128i order = _mm_cvtsi32_si128((int)BITS_SET[mask]);
    const int kept = _mm_cvtsi128_si32(_mm_shuffle_epi8(eight, order));
    memcpy(out, &kept, sizeof kept);
    return (unsigned)__builtin_popcount(mask);
}

/* Before row->p are a separator and, in the same field, at least two more characters. */
__attribute__((target("avx2,popcnt"))) static void parse_blocks_avx2(pixel_row *row)
{
    const __m256i ones = table_avx2(ONES_AND_1), tens = table_avx2(TENS);
    const __m256i hundreds = table_avx2(HUNDREDS_LESS_1), limits = table_avx2(LOW_LIMIT);
    const __m256i space = _mm256_set1_epi8(' '), zero = _mm256_set1_epi8('0'), nine = _mm256_set1_epi8(9);
    const uint8_t *p = row->p;
    uint8_t *out = row->out + row->done;
    uint8_t *const out_limit = row->out + FER_FACE_PIXELS - 16;
    uint64_t before = 4;
    for (; row->end - p >= 32 && out <= out_limit; p += 32) {
        const __m256i text = _mm256_loadu_si256((const __m256i *)p);
        const __m256i a = _mm256_loadu_si256((const __m256i *)(p - 3));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(p - 2));
        const __m256i c = _mm256_loadu_si256((const __m256i *)(p - 1));
        const __m256i separator = _mm256_cmpeq_epi8(text, space);
        const __m256i digit = _mm256_sub_epi8(text, zero);
        const __m256i good = _mm256_or_si256(separator, _mm256_cmpeq_epi8(digit, _mm256_min_epu8(digit, nine)));

        const __m256i first = _mm256_and_si256(a, _mm256_cmpgt_epi8(b, space));
        const __m256i low = _mm256_add_epi8(_mm256_shuffle_epi8(ones, c), _mm256_shuffle_epi8(tens, b));
        const __m256i values = _mm256_add_epi8(low, _mm256_shuffle_epi8(hundreds, first));
        const __m256i excess = _mm256_subs_epu8(low, _mm256_shuffle_epi8(limits, first));

        const uint32_t mask = (uint32_t)_mm256_movemask_epi8(separator);
        const uint64_t separators = (uint64_t)mask << 3 | before;
        if (!_mm256_testc_si256(good, _mm256_set1_epi8(-1)) || !_mm256_testz_si256(separator, excess) ||
            !is_regular(separators, 32))
            break;
        before = separators >> 32;

        const __m128i left = _mm256_castsi256_si128(values), right = _mm256_extracti128_si256(values, 1);
        out += keep_avx2(out, left, mask & 255);
        out += keep_avx2(out, _mm_srli_si128(left, 8), mask >> 8 & 255);
        out += keep_avx2(out, right, mask >> 16 & 255);
        out += keep_avx2(out, _mm_srli_si128(right, 8), mask >> 24);
    }
    row->p = number_start(p);
    row->done = (size_t)(out - row->out);
}
#endif

#if defined(WITH_NEON)
/* One bit for each byte of all ones. */
static unsigned mask_neon(uint8x16_t bytes)
{
    static const uint8_t BITS[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vandq_u8(bytes, vld1q_u8(BITS));
    return (unsigned)vaddv_u8(vget_low_u8(bits)) | (unsigned)vaddv_u8(vget_high_u8(bits)) << 8;
}

/* Needs space for four bytes at out; returns how many of them count. */
static unsigned keep_neon(uint8_t *out, uint8x8_t eight, unsigned mask)
{
    const uint8x8_t order = vcreate_u8(BITS_SET[mask]);
    const uint32_t kept = vget_lane_u32(vreinterpret_u32_u8(vtbl1_u8(eight, order)), 0);
    memcpy(out, &kept, sizeof kept);
    return (unsigned)__builtin_popcount(mask);
}

/* Before row->p are a separator and, in the same field, at least two more characters. */
static void parse_blocks_neon(pixel_row *row)
{
    const uint8x16_t ones = vld1q_u8(ONES_AND_1), tens = vld1q_u8(TENS);
    const uint8x16_t hundreds = vld1q_u8(HUNDREDS_LESS_1), limits = vld1q_u8(LOW_LIMIT);
    const uint8x16_t space = vdupq_n_u8(' '), nibble = vdupq_n_u8(15);
    const uint8_t *p = row->p;
    uint8_t *out = row->out + row->done;
    uint8_t *const out_limit = row->out + FER_FACE_PIXELS - 8;
    uint64_t before = 4;
    for (; row->end - p >= 16 && out <= out_limit; p += 16) {
        const uint8x16_t text = vld1q_u8(p), a = vld1q_u8(p - 3), b = vld1q_u8(p - 2), c = vld1q_u8(p - 1);
        const uint8x16_t separator = vceqq_u8(text, space);
        const uint8x16_t digit = vcleq_u8(vsubq_u8(text, vdupq_n_u8('0')), vdupq_n_u8(9));

        const uint8x16_t first = vandq_u8(vandq_u8(a, nibble), vcgtq_u8(b, space));
        const uint8x16_t low = vaddq_u8(vqtbl1q_u8(ones, vandq_u8(c, nibble)),
                                        vqtbl1q_u8(tens, vandq_u8(b, nibble)));
        const uint8x16_t values = vaddq_u8(low, vqtbl1q_u8(hundreds, first));
        const uint8x16_t excess = vandq_u8(separator, vcgtq_u8(low, vqtbl1q_u8(limits, first)));
        const uint8x16_t good = vbicq_u8(vorrq_u8(separator, digit), excess);

        const unsigned mask = mask_neon(separator);
        const uint64_t separators = (uint64_t)mask << 3 | before;
        if (vminvq_u8(good) == 0 || !is_regular(separators, 16))
            break;
        before = separators >> 16;

        out += keep_neon(out, vget_low_u8(values), mask & 255);
        out += keep_neon(out, vget_high_u8(values), mask >> 8);
    }
    row->p = number_start(p);
    row->done = (size_t)(out - row->out);
}
#endif

/* The usual text, numbers with one space between. Stops at whatever is less usual and leaves it, and
 * the end of the field, to parse_pixels. Returns the number of pixels done and moves *text behind them. */
static size_t parse_usual_pixels(const uint8_t **text, const uint8_t *end, uint8_t *out)
{
    pixel_row row = {*text, end, out, 0};
#if defined(WITH_BLOCKS)
    /* The first pair is what the first block looks back on. */
    parse_pairs(&row, 2);
#if defined(WITH_NEON)
    if (row.done == 2)
        parse_blocks_neon(&row);
#else
    if (row.done == 2 && __builtin_cpu_supports("avx2"))
        parse_blocks_avx2(&row);
#endif
#endif
    parse_pairs(&row, FER_FACE_PIXELS);
    *text = row.p;
    return row.done;
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

static verdict parse_line(slice line, const fer_layout *layout, uint8_t *out_pixels, int8_t *out_label,
                          uint8_t *out_usage)
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
        memset(out_usage, 0, FER_USAGE_LIMIT);
        memcpy(out_usage, usage.start, (size_t)(usage.end - usage.start));
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
                          size_t capacity, uint8_t *pixels, int8_t *labels, uint8_t *usages)
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
        const verdict v = parse_line(line, layout, pixels + row * FER_FACE_PIXELS,
                                     layout->label >= 0 ? labels + row : NULL,
                                     layout->usage >= 0 ? usages + FER_USAGE_LIMIT * row : NULL);
        if (v.fault != FER_OK)
            return stopped(parsed, text, v, next);
        parsed.rows++;
        parsed.consumed = (size_t)(next - text);
    }
    return parsed;
}
