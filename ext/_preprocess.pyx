"""The C kernels of preprocess.h for Python; fer_edge.preprocess and fer_edge.dataset check the arguments.

fer_edge/_pure.py has the same functions with the same results.
"""

from libc.stdint cimport int8_t, uint8_t


cdef extern from "preprocess.h" nogil:
    ctypedef enum fer_grey_kind:
        pass

    ctypedef enum fer_fault:
        pass

    ctypedef struct fer_frame:
        const uint8_t *pixels
        Py_ssize_t height
        Py_ssize_t width
        Py_ssize_t channels
        Py_ssize_t row_stride

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


def crop_faces(const uint8_t[:, :, :] frame, const double[:, ::1] squares, int kind, uint8_t[::1] out):
    """Fill the bytes of ``out`` (n*48*48 items of ``kind``) with the ``squares`` (n,3), n > 0, of ``frame``.

    Raises ``MemoryError`` where there is none for one row of the widest square.
    """
    cdef fer_frame view
    cdef int status
    view.pixels = &frame[0, 0, 0]
    view.height = frame.shape[0]
    view.width = frame.shape[1]
    view.channels = frame.shape[2]
    view.row_stride = frame.strides[0]
    with nogil:
        status = fer_crop_faces(&view, &squares[0, 0], squares.shape[0], <fer_grey_kind>kind, &out[0])
    if status != 0:
        raise MemoryError("no memory for a row of the frame")


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
