"""The C extension; everything else is in pyproject.toml.

``optional`` lets the installation succeed without a compiler: the NumPy path gives the same bytes.
"""

from Cython.Build import cythonize
from setuptools import Extension, setup

extension = Extension(
    "fer_edge._preprocess",
    sources=["ext/_preprocess.pyx", "ext/preprocess.c"],
    include_dirs=["ext"],
    depends=["ext/preprocess.h"],
    # Same bytes as the NumPy path on every machine: no fused multiply-add behind our back.
    extra_compile_args=["-O3", "-std=c99", "-ffp-contract=off"],
    define_macros=[("Py_LIMITED_API", "0x030b0000")],
    py_limited_api=True,
    optional=True,
)

setup(
    ext_modules=cythonize([extension], compiler_directives={"language_level": "3"}),
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
