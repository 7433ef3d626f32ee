"""What pyproject.toml cannot say: the library in C, which is left out where there is no compiler."""

import glob
import sys

from setuptools import Extension, setup

# Vector instructions for loops with conditions, which otherwise might have to set errno or raise a floating-point exception.
OPTIONS = ["/O2"] if sys.platform == "win32" else ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd"]

setup(
    ext_modules=[
        Extension(
            "disthead.special._blocks",
            ["disthead/special/blocks.c"],
            depends=sorted(glob.glob("disthead/special/*.h")),
            extra_compile_args=OPTIONS,
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
