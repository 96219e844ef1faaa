"""The C extension; everything else is in pyproject.toml.

Without a compiler the installation succeeds as well: the NumPy path gives the same bytes.
"""

import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

extension = Extension(
    "fer_edge.kernels._native",
    sources=[
        "ext/_native.pyx",
        *(f"ext/{kernel}.c" for kernel in ("crop", "normalize", "sharpness", "shrink", "decode", "parse")),
    ],
    include_dirs=["ext"],
    depends=["ext/kernels.h", "ext/area.h"],
    # Same bytes as the NumPy path on every machine: no fused multiply-add behind our back.
    extra_compile_args=["-O3", "-std=c99", "-ffp-contract=off", "-g0"],
    libraries=["m"] if sys.platform == "linux" else [],
    extra_link_args=["-Wl,-s"] if sys.platform == "linux" else [],
    define_macros=[("Py_LIMITED_API", "0x030b0000")],
    py_limited_api=True,
)
extensions = cythonize([extension], compiler_directives={"language_level": "3"})
for cythonized in extensions:
    # cythonize would drop it.
    cythonized.optional = True

setup(
    ext_modules=extensions,
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
