"""The C kernels of preprocess.h for Python; fer_edge.preprocess and fer_edge.dataset check the arguments.

fer_edge/_pure.py has the same functions with the same results.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int8_t, uint8_t


cdef extern from "preprocess.h" nogil:
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

    int fer_crop_faces(const fer_frame *frame, const double *squares, size_t count, fer_grey_kind kind,
                       void *out)
    fer_parsed fer_parse_rows(const uint8_t *text, size_t length, int final, const fer_layout *layout,
                              size_t capacity, uint8_t *pixels, int8_t *labels, uint8_t *usages)


def crop_faces(frame, int order, squares, int kind, out):
    """Fill ``out`` (n*48*48 items of ``kind``) with the ``squares`` (n,3), n > 0, of ``frame``.

    ``frame``: uint8 (h,w,c) in ``order``, the samples of a row adjoining; ``squares``: float64, C-contiguous; ``out``: writable,
    C-contiguous. Raises ``MemoryError`` where there is none for eight rows of the widest square.
    """
    cdef Py_buffer image, boxes, faces
    # Typed memoryviews would check types too, at 0.3 us each.
    PyObject_GetBuffer(frame, &image, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(squares, &boxes, PyBUF_C_CONTIGUOUS)
        try:
            PyObject_GetBuffer(out, &faces, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            try:
                _crop_faces(&image, order, &boxes, kind, &faces)
            finally:
                PyBuffer_Release(&faces)
        finally:
            PyBuffer_Release(&boxes)
    finally:
        PyBuffer_Release(&image)


cdef int _crop_faces(Py_buffer *image, int order, Py_buffer *boxes, int kind, Py_buffer *faces) except -1:
    cdef fer_frame view
    cdef int status
    cdef Py_ssize_t count, size = 4 if kind == 2 else 1
    if image.ndim != 3 or image.itemsize != 1 or image.len == 0:
        raise ValueError("frame is not (h,w,c) of bytes")
    if order not in (0, 1, 2) or image.shape[2] != (3 if order else 1):
        raise ValueError("the frame has the wrong number of channels for its order")
    if (image.shape[1] > 1 and image.strides[1] != image.shape[2]) or (order and image.strides[2] != 1):
        raise ValueError("the samples of a row of the frame do not adjoin")
    if boxes.ndim != 2 or boxes.itemsize != 8 or boxes.shape[0] < 1 or boxes.shape[1] != 3:
        raise ValueError("squares are not (n,3) of float64")
    count = boxes.shape[0]
    if kind not in (0, 1, 2) or faces.len != count * 48 * 48 * size:
        raise ValueError("out has the wrong size")
    view.pixels = <const uint8_t *>image.buf
    view.height, view.width, view.row_stride = image.shape[0], image.shape[1], image.strides[0]
    view.order = <fer_order>order
    with nogil:
        status = fer_crop_faces(&view, <const double *>boxes.buf, count, <fer_grey_kind>kind, faces.buf)
    if status != 0:
        raise MemoryError("no memory for eight rows of the frame")
    return 0


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
    columns.columns, columns.label, columns.pixels, columns.usage, columns.line_limit = layout
    with nogil:
        parsed = fer_parse_rows(&text[0], text.shape[0], final, &columns, pixels.shape[0],
                                &pixels[0, 0], &labels[0], &usages[0, 0])
    return parsed.rows, parsed.consumed, <int>parsed.fault, parsed.line_end, parsed.offset, parsed.detail
