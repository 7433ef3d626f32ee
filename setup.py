"""What pyproject.toml cannot say: the library in C, which is left out where there is no compiler,
and the configurations.
"""

import glob
import os
import sys

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

# Vector instructions for loops with conditions, which otherwise might have to set errno or raise a
# floating-point exception. Without what debuggers read the library is a third as large.
OPTIONS = (
    ["/O2"]
    if sys.platform == "win32"
    else ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd"]
)

CONFIGURATIONS = sorted(glob.glob("configs/*.yaml"))


class BuildWithConfigurations(build_py):
    """Copies `configs`, which the repository has at its top, into the package; an editable install
    reads them where they are.
    """

    def run(self):
        super().run()
        if not self.editable_mode:
            folder = os.path.join(self.build_lib, "disthead", "configs")
            self.mkpath(folder)
            for path in CONFIGURATIONS:
                self.copy_file(path, folder)

    def get_source_files(self):
        return super().get_source_files() + CONFIGURATIONS  # for the source distribution


setup(
    cmdclass={"build_py": BuildWithConfigurations},
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
