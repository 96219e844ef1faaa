"""The C kernels of kernels.h for Python; fer_edge.kernels and fer_edge.fer2013 check the arguments.

fer_edge/kernels/fallback has the same functions with the same results.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.math cimport isfinite
from libc.stdint cimport int8_t, uint8_t
from libc.string cimport memset

from numpy import ndarray


cdef extern from "kernels.h" nogil:
    ctypedef enum fer_grey_kind:
        pass

    ctypedef enum fer_order:
        pass

    ctypedef enum fer_fault:
        pass

    ctypedef struct fer_frame:
        const uint8_t *pixels
        Py_ssize_t height
        Py_ssize_t width
        Py_ssize_t row_stride
        fer_order order

    ctypedef struct fer_layout:
        size_t columns
        Py_ssize_t label
        Py_ssize_t pixels
        Py_ssize_t usage
        size_t line_limit

    ctypedef struct fer_parsed:
        size_t rows
        size_t consumed
        fer_fault fault
        size_t line_end
        size_t offset
        size_t detail

    ctypedef enum fer_picture_kind:
        pass

    ctypedef struct fer_picture:
        uint8_t *pixels
        Py_ssize_t height
        Py_ssize_t width
        Py_ssize_t row_stride
        Py_ssize_t channel_stride
        int planar
        fer_picture_kind kind

    ctypedef struct fer_chroma:
        const uint8_t *u
        const uint8_t *v
        Py_ssize_t height
        Py_ssize_t width
        Py_ssize_t row_stride
        Py_ssize_t step

    int fer_shrink(const fer_frame *frame, const fer_picture *out)
    ctypedef struct fer_output:
        const float *values
        Py_ssize_t cell_stride
        Py_ssize_t channel_stride

    Py_ssize_t fer_decode_faces(const fer_output *outputs, Py_ssize_t height, Py_ssize_t width, float min_logit,
                                float min_score, float *out)
    int fer_shrink_yuv(const fer_frame *luma, const fer_chroma *chroma, const fer_picture *out)
    int fer_crop_faces(const fer_frame *frame, const double *squares, const double *rotations, size_t count,
                       fer_grey_kind kind, void *out)
    void fer_normalize_contrast(void *faces, size_t count, fer_grey_kind kind)
    void fer_measure_sharpness(const void *faces, size_t count, fer_grey_kind kind, double *out)
    fer_parsed fer_parse_rows(const uint8_t *text, size_t length, int final, const fer_layout *layout,
                              size_t capacity, uint8_t *pixels, int8_t *labels, uint8_t *usages)


cdef char *KINDS = b"Bbf"  # the formats of the fer_grey_kind


cdef struct crop_buffers:
    Py_buffer frame
    Py_buffer squares
    Py_buffer rotations
    Py_buffer out


cdef void release(crop_buffers *held) noexcept:
    # Of those that were not got, the object is NULL, which means nothing to release.
    PyBuffer_Release(&held.frame)
    PyBuffer_Release(&held.squares)
    PyBuffer_Release(&held.rotations)
    PyBuffer_Release(&held.out)


def crop_faces(frame, int order, squares, rotations, int kind, out):
    """Fill ``out`` (n*48*48 items of ``kind``) with the ``squares`` (n,3), n > 0, of ``frame``.

    ``frame``: uint8 (h,w,c) in ``order``, the samples of a row adjoining; ``squares`` and ``rotations``
    ((n,2) or None): float64, C-contiguous; ``out``: writable, C-contiguous. Raises ``MemoryError``
    where there is none for eight rows of the widest square.
    """
    cdef crop_buffers held
    cdef fer_frame view
    memset(&held, 0, sizeof(crop_buffers))
    try:
        # Typed memoryviews would check types too, at 0.3 us each.
        PyObject_GetBuffer(frame, &held.frame, PyBUF_STRIDES | PyBUF_FORMAT)
        PyObject_GetBuffer(squares, &held.squares, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        if rotations is not None:
            PyObject_GetBuffer(rotations, &held.rotations, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        PyObject_GetBuffer(out, &held.out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        if held.frame.ndim != 3 or not has_format(&held.frame, c"B") or held.frame.len == 0:
            raise ValueError("frame is not (h,w,c) of uint8")
        if order not in (0, 1, 2) or held.frame.shape[2] != (3 if order else 1):
            raise ValueError("the frame has the wrong number of channels for its order")
        if not fill_view(&view, &held.frame, order):
            raise ValueError("the samples of a row of the frame do not adjoin")
        if not is_table(&held.squares, 3) or held.squares.shape[0] < 1:
            raise ValueError("squares are not (n,3) of float64")
        if rotations is not None and not (
            is_table(&held.rotations, 2) and held.rotations.shape[0] == held.squares.shape[0]
        ):
            raise ValueError("rotations are not (n,2) of float64")
        if kind not in (0, 1, 2) or not has_format(&held.out, KINDS[kind]):
            raise ValueError("out is not of the dtype of its kind")
        if held.out.len != held.squares.shape[0] * 48 * 48 * held.out.itemsize:
            raise ValueError("out has the wrong size")
        fill_faces(&view, &held, kind)
    finally:
        release(&held)


def crop_usual(frame, squares, out, layout):
    """What ``fer_edge.kernels.crop.crop_faces`` does, where the arguments are of the usual kind; True then.

    False, and nothing done, where they are wrong or need a copy or conversion first.
    """
    cdef crop_buffers held
    cdef fer_frame view
    cdef int order, kind
    if type(frame) is not ndarray or type(squares) is not ndarray or type(out) is not ndarray:
        return False
    memset(&held, 0, sizeof(crop_buffers))
    try:
        PyObject_GetBuffer(frame, &held.frame, PyBUF_STRIDES | PyBUF_FORMAT)
        PyObject_GetBuffer(squares, &held.squares, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        PyObject_GetBuffer(out, &held.out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        order = usual_order(layout, &held.frame)
        kind = usual_kind(&held.out, held.squares.shape[0])
        if order < 0 or kind < 0 or not fill_view(&view, &held.frame, order):
            return False
        if not is_table(&held.squares, 3) or not are_squares(&held.squares):
            return False
        if layout == "yuv420" or layout == "nv12":
            if view.height % 3 or view.width % 2:
                return False
            view.height = view.height // 3 * 2
        fill_faces(&view, &held, kind)
        return True
    except (ValueError, BufferError):
        return False  # NumPy's own words would not say which argument it is
    finally:
        release(&held)


cdef int usual_order(layout, Py_buffer *frame) except -2:
    """The ``fer_order`` of a frame that fits its layout, -1 for another."""
    if not has_format(frame, c"B") or frame.len == 0:
        return -1
    if frame.ndim == 2:
        return 0 if layout is None or layout in ("grey", "yuv420", "nv12") else -1
    if frame.ndim != 3 or frame.shape[2] != 3:
        return -1
    if layout is None or layout == "bgr":
        return 1
    return 2 if layout == "rgb" else -1


cdef int usual_kind(Py_buffer *out, Py_ssize_t count) noexcept:
    """The ``fer_grey_kind`` of an output for so many faces, -1 for another."""
    cdef int kind
    if out.ndim != 3 or out.shape[0] != count or out.shape[1] != 48 or out.shape[2] != 48:
        return -1
    for kind in range(3):
        if has_format(out, KINDS[kind]):
            return kind
    return -1


cdef bint are_squares(Py_buffer *squares) noexcept:
    """Whether there are any, finite ones with sides above 0."""
    cdef const double *number = <const double *>squares.buf
    cdef Py_ssize_t i
    for i in range(squares.shape[0]):
        if not (isfinite(number[3 * i]) and isfinite(number[3 * i + 1]) and isfinite(number[3 * i + 2])):
            return False
        if not number[3 * i + 2] > 0:
            return False
    return squares.shape[0] > 0


cdef bint is_table(Py_buffer *numbers, Py_ssize_t columns) noexcept:
    return numbers.ndim == 2 and has_format(numbers, c"d") and numbers.shape[1] == columns


cdef bint has_format(Py_buffer *array, char code) noexcept:
    # Of numbers in another byte order, or not aligned, the format has more than one character.
    return array.format[0] == code and array.format[1] == 0


cdef bint fill_view(fer_frame *view, Py_buffer *frame, int order) noexcept:
    """Whether the samples of a row adjoin."""
    cdef Py_ssize_t channels = 3 if order else 1
    view.pixels = <const uint8_t *>frame.buf
    view.height, view.width, view.row_stride = frame.shape[0], frame.shape[1], frame.strides[0]
    view.order = <fer_order>order
    return (frame.shape[1] == 1 or frame.strides[1] == channels) and (channels == 1 or frame.strides[2] == 1)


cdef int fill_faces(const fer_frame *view, crop_buffers *held, int kind) except -1:
    cdef const double *squares = <const double *>held.squares.buf
    cdef const double *rotations = <const double *>held.rotations.buf
    cdef size_t count = held.squares.shape[0]
    cdef int status
    with nogil:
        status = fer_crop_faces(view, squares, rotations, count, <fer_grey_kind>kind, held.out.buf)
    if status != 0:
        raise MemoryError("no memory for eight rows of the frame")
    return 0


def normalize_contrast(faces, int kind):
    """Normalize ``faces`` (n*48*48 items of ``kind``, writable, C-contiguous) in place."""
    cdef Py_buffer held
    memset(&held, 0, sizeof(Py_buffer))
    try:
        PyObject_GetBuffer(faces, &held, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        if kind not in (0, 1, 2) or not has_format(&held, KINDS[kind]):
            raise ValueError("faces are not of the dtype of their kind")
        if held.len % (48 * 48 * held.itemsize):
            raise ValueError("faces have the wrong size")
        with nogil:
            fer_normalize_contrast(held.buf, held.len // (48 * 48 * held.itemsize), <fer_grey_kind>kind)
    finally:
        PyBuffer_Release(&held)


def measure_sharpness(faces, int kind, out):
    """Fill ``out`` (n,) of float64 with the sharpness of ``faces`` (n*48*48 items of ``kind``), both C-contiguous."""
    cdef Py_buffer held, target
    memset(&held, 0, sizeof(Py_buffer))
    memset(&target, 0, sizeof(Py_buffer))
    try:
        PyObject_GetBuffer(faces, &held, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        PyObject_GetBuffer(out, &target, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        if kind not in (0, 1, 2) or not has_format(&held, KINDS[kind]):
            raise ValueError("faces are not of the dtype of their kind")
        if target.ndim != 1 or not has_format(&target, c"d"):
            raise ValueError("out is not (n,) of float64")
        if held.len != target.shape[0] * 48 * 48 * held.itemsize:
            raise ValueError("out has not as many numbers as there are faces")
        with nogil:
            fer_measure_sharpness(held.buf, target.shape[0], <fer_grey_kind>kind, <double *>target.buf)
    finally:
        PyBuffer_Release(&held)
        PyBuffer_Release(&target)


def shrink(frame, int order, out):
    """Fill ``out`` with a smaller ``frame``.

    ``frame``: uint8 (h,w,c) in ``order``, the samples of a row adjoining; ``out``: uint8, float32 or
    int8 (h,w,3), not larger, aligned and writable, whose pixels or whose samples of a channel adjoin. Raises
    ``MemoryError`` where there is none for eight rows.
    """
    cdef Py_buffer source, target
    cdef fer_frame view
    cdef fer_picture picture
    cdef int status
    memset(&source, 0, sizeof(Py_buffer))
    memset(&target, 0, sizeof(Py_buffer))
    try:
        PyObject_GetBuffer(frame, &source, PyBUF_STRIDES | PyBUF_FORMAT)
        PyObject_GetBuffer(out, &target, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE)
        check_shrinking(&source, order, &target, &view, &picture)
        with nogil:
            status = fer_shrink(&view, &picture)
        if status != 0:
            raise MemoryError("no memory for eight rows of the frame")
    finally:
        PyBuffer_Release(&source)
        PyBuffer_Release(&target)


def shrink_yuv(luma, u, v, out):
    """The same with the colour of ``u`` and ``v`` for the grey ``luma`` (h,w,1).

    They are uint8 (h,w), of equal shape and strides, and samples of a row adjoin, or alternate with those of the
    other. Raises ``MemoryError`` where there is none for eight rows and the picture.
    """
    cdef Py_buffer source, target, first, second
    cdef fer_frame view
    cdef fer_chroma chroma
    cdef fer_picture picture
    cdef int status
    memset(&source, 0, sizeof(Py_buffer))
    memset(&target, 0, sizeof(Py_buffer))
    memset(&first, 0, sizeof(Py_buffer))
    memset(&second, 0, sizeof(Py_buffer))
    try:
        PyObject_GetBuffer(luma, &source, PyBUF_STRIDES | PyBUF_FORMAT)
        PyObject_GetBuffer(out, &target, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE)
        PyObject_GetBuffer(u, &first, PyBUF_STRIDES | PyBUF_FORMAT)
        PyObject_GetBuffer(v, &second, PyBUF_STRIDES | PyBUF_FORMAT)
        check_shrinking(&source, 0, &target, &view, &picture)
        if not fill_chroma(&chroma, &first, &second):
            raise ValueError("u and v are not two (h,w) of uint8 whose samples adjoin or alternate")
        with nogil:
            status = fer_shrink_yuv(&view, &chroma, &picture)
        if status != 0:
            raise MemoryError("no memory for eight rows of the frame and the picture")
    finally:
        PyBuffer_Release(&source)
        PyBuffer_Release(&target)
        PyBuffer_Release(&first)
        PyBuffer_Release(&second)


cdef int check_shrinking(
    Py_buffer *source, int order, Py_buffer *target, fer_frame *view, fer_picture *picture
) except -1:
    """Fill ``view`` and ``picture``."""
    if source.ndim != 3 or not has_format(source, c"B") or source.len == 0:
        raise ValueError("frame is not (h,w,c) of uint8")
    if order not in (0, 1, 2) or source.shape[2] != (3 if order else 1):
        raise ValueError("the frame has the wrong number of channels for its order")
    if not fill_view(view, source, order):
        raise ValueError("the samples of a row of the frame do not adjoin")
    if target.ndim != 3 or target.len == 0 or target.shape[2] != 3:
        raise ValueError("out is not (h,w,3)")
    if target.shape[0] > source.shape[0] or target.shape[1] > source.shape[1]:
        raise ValueError("out is larger than the frame")
    if not (has_format(target, c"B") or has_format(target, c"f") or has_format(target, c"b")):
        raise ValueError("out is not of uint8, float32 or int8")
    if target.itemsize == 4 and (<size_t>target.buf | <size_t>target.strides[0] | <size_t>target.strides[2]) & 3:
        raise ValueError("out is not aligned")
    picture.pixels = <uint8_t *>target.buf
    picture.height, picture.width = target.shape[0], target.shape[1]
    picture.row_stride, picture.channel_stride = target.strides[0], target.strides[2]
    picture.kind = <fer_picture_kind>(1 if has_format(target, c"f") else 2 if has_format(target, c"b") else 0)
    picture.planar = target.strides[2] != target.itemsize
    if target.shape[1] > 1 and target.strides[1] != target.itemsize * (1 if picture.planar else 3):
        raise ValueError("neither pixels nor channels of out adjoin")
    return 0


cdef bint fill_chroma(fer_chroma *chroma, Py_buffer *u, Py_buffer *v) noexcept:
    """Whether two planes lie as ``fer_chroma`` has them."""
    if u.ndim != 2 or v.ndim != 2 or not has_format(u, c"B") or not has_format(v, c"B") or u.len == 0:
        return False
    if u.shape[0] != v.shape[0] or u.shape[1] != v.shape[1] or u.strides[0] != v.strides[0]:
        return False
    if u.strides[1] != v.strides[1]:
        return False
    chroma.u, chroma.v = <const uint8_t *>u.buf, <const uint8_t *>v.buf
    chroma.height, chroma.width, chroma.row_stride = u.shape[0], u.shape[1], u.strides[0]
    chroma.step = u.strides[1] if u.shape[1] > 1 else 1
    return chroma.step == 1 or (chroma.step == 2 and (chroma.u == chroma.v + 1 or chroma.v == chroma.u + 1))


def decode_faces(tuple outputs, Py_ssize_t height, Py_ssize_t width, float min_logit, float min_score, out):
    """Fill ``out`` with faces, best first, and return their number.

    ``outputs``: float32 (cells,16) for each of the strides 8, 16 and 32 of a picture of ``height`` and ``width``,
    multiples of 32, in any order of memory; ``out``: float32 (500,15), writable, C-contiguous. Raises
    ``MemoryError`` where there is none for the candidates.
    """
    cdef Py_buffer held[3]
    cdef Py_buffer target
    cdef fer_output views[3]
    cdef Py_ssize_t count, i
    memset(held, 0, sizeof(held))
    memset(&target, 0, sizeof(Py_buffer))
    if len(outputs) != 3 or height < 0 or width < 0 or height % 32 or width % 32:
        raise ValueError("want three outputs, of a picture whose sides are multiples of 32")
    try:
        PyObject_GetBuffer(out, &target, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        if target.ndim != 2 or not has_format(&target, c"f") or target.shape[0] != 500 or target.shape[1] != 15:
            raise ValueError("out is not (500,15) of float32")
        for i in range(3):
            PyObject_GetBuffer(outputs[i], &held[i], PyBUF_STRIDES | PyBUF_FORMAT)
            if held[i].ndim != 2 or not has_format(&held[i], c"f") or held[i].shape[1] != 16:
                raise ValueError("an output is not (cells,16) of float32")
            if held[i].shape[0] != (height >> (3 + i)) * (width >> (3 + i)):
                raise ValueError("an output has not as many cells as the picture")
            if held[i].strides[0] % 4 or held[i].strides[1] % 4:
                raise ValueError("an output is not aligned")
            views[i].values = <const float *>held[i].buf
            views[i].cell_stride, views[i].channel_stride = held[i].strides[0] // 4, held[i].strides[1] // 4
        with nogil:
            count = fer_decode_faces(views, height, width, min_logit, min_score, <float *>target.buf)
        if count < 0:
            raise MemoryError("no memory for the candidates")
        return count
    finally:
        PyBuffer_Release(&target)
        for i in range(3):
            PyBuffer_Release(&held[i])


def parse_rows(
    const uint8_t[::1] text,
    bint final,
    tuple layout,
    uint8_t[:, ::1] pixels,
    int8_t[::1] labels,
    uint8_t[:, ::1] usages,
):
    """Parse lines of ``text`` (not empty) into the rows (at least one) of the three arrays: (n,2304),
    (n,) and (n,32).

    ``layout`` is (columns, label, pixels, usage, line_limit) of ``fer_layout``. Returns (rows,
    consumed, fault, line_end, offset, detail) of ``fer_parsed``.
    """
    cdef fer_layout columns
    cdef fer_parsed parsed
    if text.shape[0] == 0 or pixels.shape[0] == 0:
        raise ValueError("there is no text, or no space for a row")
    if pixels.shape[1] != 2304 or usages.shape[1] != 32:
        raise ValueError("pixels are not (n,2304), or usages not (n,32)")
    if labels.shape[0] != pixels.shape[0] or usages.shape[0] != pixels.shape[0]:
        raise ValueError("pixels, labels and usages have not as many rows")
    columns.columns, columns.label, columns.pixels, columns.usage, columns.line_limit = layout
    with nogil:
        parsed = fer_parse_rows(&text[0], text.shape[0], final, &columns, pixels.shape[0],
                                &pixels[0, 0], &labels[0], &usages[0, 0])
    return parsed.rows, parsed.consumed, <int>parsed.fault, parsed.line_end, parsed.offset, parsed.detail
