/* Kernels of fer_edge: faces and the detector's input out of camera frames, faces out of the detector's outputs,
 * exposure, contrast and sharpness of faces, and FER-2013 text to pixels.
 *
 * Plain C99, no Python.h, no global state, nothing is kept between calls: every function may run
 * on several threads at once. fer_edge/kernels/fallback holds the same functions in NumPy; for equal
 * arguments both give equal bytes and equal faults. The callers check arguments; the functions
 * here trust pointers, sizes and enumerators, and never the text.
 *
 * On x86-64 AVX2 is used where the processor has it, on aarch64 NEON; results are the same without.
 * Compiling with FER_PORTABLE leaves both out.
 */
#ifndef FER_EDGE_PREPROCESS_H
#define FER_EDGE_PREPROCESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FER_FACE_SIZE = 48,
    FER_FACE_PIXELS = FER_FACE_SIZE * FER_FACE_SIZE,
    FER_USAGE_LIMIT = 32 /* bytes of a usage */
};

/* ---------------------------------------------------------------- faces out of a frame */

typedef enum {
    FER_GREY_UINT8 = 0,   /* grey */
    FER_GREY_INT8 = 1,    /* grey - 128: the classifier's int8 input (scale 1/64, zero point 0) */
    FER_GREY_FLOAT32 = 2  /* (grey - 128) / 64: the classifier's float input */
} fer_grey_kind;

typedef enum {
    FER_ORDER_GREY = 0, /* one byte a pixel; also the Y plane of planar or half-planar YUV, taken as it is */
    FER_ORDER_BGR = 1,  /* three bytes a pixel */
    FER_ORDER_RGB = 2
} fer_order;

typedef struct {
    const uint8_t *pixels; /* first pixel of the first row */
    ptrdiff_t height;      /* > 0 */
    ptrdiff_t width;       /* > 0 */
    ptrdiff_t row_stride;  /* bytes from a row to the next, of either sign; pixels of a row adjoin */
    fer_order order;
} fer_frame;

/* Resample `count` squares of `frame` to 48x48 grey, one after the other, into `out`.
 *
 * squares: per face x and y of the top-left corner and the side (> 0), all finite, in pixels of
 * the frame; pixel i covers [i, i+1). Outside the frame the nearest edge pixel is repeated.
 * From a side of 48 on every output pixel is the mean of the area it covers, below that it is
 * interpolated linearly between pixel centres. Weights are integers that sum to 2^15 on either
 * axis, so the result is the same on every machine.
 *
 * rotations: NULL, or per face the cosine and sine of the angle by which the square is rotated about its
 * centre, from the x axis to the y axis (clockwise on a screen); (1, 0) is an upright square. The area
 * under an output pixel is approximated then: the mean of four linear samples, a quarter of the pixel
 * from its centre, of a grid of exact means over half a pixel. Sides below 48 are interpolated as
 * before. Rounding to 8 bits in between makes up to one level.
 *
 * Returns 0, or -1 where memory for eight rows of the widest square (34 bytes a sample of one) is lacking.
 */
int fer_crop_faces(const fer_frame *frame, const double *squares, const double *rotations, size_t count,
                   fer_grey_kind kind, void *out);

/* ---------------------------------------------------------------- exposure and contrast of faces */

enum {
    FER_CONTRAST_MEAN = 128,
    FER_CONTRAST_DEVIATION = 48,
    FER_CONTRAST_GAIN = (1 << 16) - 1 /* at most, in 2^-12: just below 16 */
};

/* Bring mean and standard deviation of the middle of `count` faces of 48x48 to FER_CONTRAST_MEAN and
 * FER_CONTRAST_DEVIATION, in place.
 *
 * The middle are the 648 pixels whose centre is in an ellipse: centre (24, 27), radii 13 and 16, from the brows
 * to the chin. Every level of the face becomes (level - mean) * gain + FER_CONTRAST_MEAN, rounded, and cut off at
 * 0 and 255. The gain is limited, so that the noise of a nearly uniform picture stays noise; a uniform one becomes
 * FER_CONTRAST_MEAN. Integer arithmetic: all kinds get the same levels. A float is taken as the nearest level
 * modulo 256, so it should be one.
 */
void fer_normalize_contrast(void *faces, size_t count, fer_grey_kind kind);

/* ---------------------------------------------------------------- how sharp faces are */

/* Measure `count` faces of 48x48, before their contrast is normalized; one number each into `out`.
 *
 * Of columns 11 to 36 and rows 11 to 42 the variances of the levels c and of the second differences 2 c - left - right
 * and 2 c - above - below: the smaller one of the differences, divided by that of the levels; 0 where all levels are
 * equal. Sums are integers, so numbers are the same on every machine. A float is taken as the nearest level modulo 256.
 */
void fer_measure_sharpness(const void *faces, size_t count, fer_grey_kind kind, double *out);

/* ---------------------------------------------------------------- a frame made smaller */

typedef enum {
    FER_PICTURE_UINT8 = 0,
    FER_PICTURE_FLOAT32 = 1, /* the same whole numbers, 0 to 255 */
    FER_PICTURE_INT8 = 2     /* less 128 */
} fer_picture_kind;

typedef struct {
    uint8_t *pixels;          /* first sample of the first row, aligned for its kind */
    ptrdiff_t height;         /* > 0 and not above the frame's */
    ptrdiff_t width;          /* likewise */
    ptrdiff_t row_stride;     /* bytes from a row to the next */
    ptrdiff_t channel_stride; /* bytes from blue to green, green to red, where `planar` */
    int planar;               /* 0: three samples a pixel, which adjoin; else pixels of a channel adjoin */
    fer_picture_kind kind;
} fer_picture;

/* Shrink a frame to a picture of three channels in BGR order; grey becomes three equal ones.
 *
 * Every sample is the mean of the area it covers, with the weights and roundings of fer_crop_faces.
 * Returns 0, or -1 where memory is lacking: for 34 bytes a sample of a row of the frame, 32 a sample of
 * a row of the picture, and its spans.
 */
int fer_shrink(const fer_frame *frame, const fer_picture *out);

/* The colour of a YUV frame: two planes that cover its area, with fewer samples or as many. */
typedef struct {
    const uint8_t *u, *v; /* first samples */
    ptrdiff_t height;     /* > 0 */
    ptrdiff_t width;      /* > 0 */
    ptrdiff_t row_stride; /* bytes from a row to the next, of either sign */
    ptrdiff_t step;       /* bytes from a sample to the next: 1, or 2 where u and v are neighbours */
} fer_chroma;

/* The same for a frame whose Y plane is `luma` (FER_ORDER_GREY).
 *
 * The means of Y, U and V over each pixel's area, rounded, become colours by BT.601 in video range (16 to 235),
 * with 14 bits of fraction. Returns as fer_shrink does; needs memory for the picture in addition.
 */
int fer_shrink_yuv(const fer_frame *luma, const fer_chroma *chroma, const fer_picture *out);

/* ---------------------------------------------------------------- faces out of the detector's outputs */

enum {
    FER_OUTPUTS = 3,
    FER_FACE_NUMBERS = 15, /* box x, y, width, height; five landmarks x, y; score */
    FER_FACES_LIMIT = 500  /* candidates that may become faces */
};

/* What YuNet says of each cell, row by row: logits of class and objectness, 4 numbers of the box, 10 of the landmarks. */
typedef struct {
    const float *values;
    ptrdiff_t cell_stride;    /* floats from a cell to the next */
    ptrdiff_t channel_stride; /* likewise from a channel to the next */
} fer_output;

/* Decode the outputs of strides 8, 16 and 32 for a picture of `height` and `width`, multiples of 32.
 *
 * A face's score is the geometric mean of the probabilities of class and objectness. Faces below `min_score` are left
 * out, as are those with numbers that are not finite, and cells of which a logit is below `min_logit`, which is to be
 * low enough to leave none above `min_score` out. Of the best FER_FACES_LIMIT, those whose box overlaps that of a
 * better one by more than 0.3 of their union are dropped; faces with equal scores come in the order of cells. Boxes
 * are compared without their fractions, as OpenCV's NMSBoxes does. Exponentials are by our own series in double
 * precision, so that numbers are the same on every machine.
 *
 * out: FER_FACES_LIMIT times FER_FACE_NUMBERS, best face first. Returns the number of faces, or -1 where memory is
 * lacking for 68 bytes a candidate.
 */
ptrdiff_t fer_decode_faces(const fer_output outputs[FER_OUTPUTS], ptrdiff_t height, ptrdiff_t width, float min_logit,
                           float min_score, float *out);

/* ---------------------------------------------------------------- FER-2013 text to pixels */

typedef struct {
    size_t columns;    /* fields in every row, as in the header */
    ptrdiff_t label;   /* index of the field, or -1 */
    ptrdiff_t pixels;  /* index of the field */
    ptrdiff_t usage;   /* index of the field, or -1 */
    size_t line_limit; /* bytes; a longer line is a fault */
} fer_layout;

typedef enum {
    FER_OK = 0,
    FER_EMPTY_ROW = 1,    /* nothing but blanks */
    FER_LONG_LINE = 2,    /* longer than line_limit */
    FER_OPEN_QUOTE = 3,   /* no closing quote at the end of the field; detail: field index */
    FER_FIELD_COUNT = 4,  /* detail: number of fields found */
    FER_LABEL = 5,        /* not one digit 0 to 6 */
    FER_PIXEL_TEXT = 6,   /* not all digits; detail: pixel, from 1 */
    FER_PIXEL_RANGE = 7,  /* above 255, or more than three digits; detail: pixel, from 1 */
    FER_PIXEL_COUNT = 8,  /* detail: number of pixels found */
    FER_USAGE = 9         /* above FER_USAGE_LIMIT bytes, or not printable ASCII, or has a quote */
} fer_fault;

typedef struct {
    size_t rows;     /* good rows written */
    size_t consumed; /* bytes up to the end of the last good row */
    fer_fault fault; /* of the row that starts at `consumed` */
    size_t line_end; /* with a fault: offset behind that row's line feed (or the end of the text) */
    size_t offset;   /* with a fault: where in the text; for a pixel, its first character */
    size_t detail;   /* see fer_fault */
} fer_parsed;

/* Parse whole lines of CSV text, until `capacity` rows are filled, or the text ends, or a row is bad.
 *
 * A line ends with LF or CR LF; the last one of the text counts only if `final` is not 0. A field
 * may be in quotes (which must close on the line), with blanks (space, tab) around. Pixels are
 * 2304 numbers of one to three digits between blanks. Rows go to pixels (capacity, 2304), labels
 * (capacity; unused if layout->label < 0) and usages (capacity, FER_USAGE_LIMIT; filled up with NUL
 * bytes; unused if layout->usage < 0). The output row of a bad line may have been written to.
 */
fer_parsed fer_parse_rows(const uint8_t *text, size_t length, int final, const fer_layout *layout,
                          size_t capacity, uint8_t *pixels, int8_t *labels, uint8_t *usages);

#ifdef __cplusplus
}
#endif
#endif
