"""Builds the C library with Go and puts it beside the Python modules."""

import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class BuildLibrary(build_py):
    """build_py, with the shared library among its outputs."""

    def run(self):
        super().run()
        go = shutil.which("go")
        if go is None:
            sys.exit("krserve: building from source needs Go 1.26 and a C compiler; install Go from https://go.dev/dl and try again")
        if not (ROOT / "cmd" / "libkrserve" / "build.go").is_file():
            sys.exit("krserve: build from a checkout of the repository (pip install ./bindings/python), not from a copy of this folder")
        # An editable install runs from src, any other from the build folder.
        target = (HERE / "src" if self.editable_mode else Path(self.build_lib).resolve()) / "krserve"
        target.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            [go, "run", "cmd/libkrserve/build.go", "-o", str(target)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        if made.returncode != 0:
            sys.exit("krserve: go could not build the library; its message is above")
        (target / "krserve.h").unlink()

    editable_mode = False


class Binary(Distribution):
    """The wheel holds a shared library, so it is one platform's, though any Python's."""

    def has_ext_modules(self):
        return True


commands = {"build_py": BuildLibrary}
try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70 leaves it to the wheel package
    try:
        from wheel.bdist_wheel import bdist_wheel
    except ImportError:
        bdist_wheel = None

if bdist_wheel is not None:

    class AnyPython(bdist_wheel):
        """ctypes binds to no version of Python."""

        def get_tag(self):
            return "py3", "none", super().get_tag()[2]

    commands["bdist_wheel"] = AnyPython

setup(distclass=Binary, cmdclass=commands)
