"""Builds ``pyscale._native`` with CMake and ninja; everything else about the package is in ``pyproject.toml``.

Environment:
    PYSCALE_CUDA        AUTO (default: CUDA where a compiler is found), ON (fail without one) or OFF.
    PYSCALE_CUDA_ARCHS  CMake's CUDA_ARCHITECTURES; the default list is in ``CMakeLists.txt``.
    PYSCALE_EMULATOR    ON builds ``pyscale._emulated`` beside the sources too, for the tests of the CUDA kernels.
    PYSCALE_WERROR      ON makes warnings errors, as CI does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeExtension(Extension):
    def __init__(self, name: str) -> None:
        super().__init__(name, sources=[])


class CMakeBuild(build_ext):
    def build_extension(self, ext: Extension) -> None:
        output = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"
        build.mkdir(parents=True, exist_ok=True)
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11.get_cmake_dir(),
            "PYSCALE_VERSION": self.distribution.get_version(),
            "PYSCALE_CUDA": os.environ.get("PYSCALE_CUDA", "AUTO"),
            "PYSCALE_CUDA_ARCHS": os.environ.get("PYSCALE_CUDA_ARCHS", ""),
            "PYSCALE_EMULATOR": os.environ.get("PYSCALE_EMULATOR", "OFF"),
            "PYSCALE_WERROR": os.environ.get("PYSCALE_WERROR", "OFF"),
        }
        # An isolated build puts a new cmake and ninja in a folder that the next build won't have: a cached path
        # to them would be stale, so the cache is made anew each time and only the objects are kept.
        (build / "CMakeCache.txt").unlink(missing_ok=True)
        ninja = shutil.which("ninja")
        if ninja is None:
            raise RuntimeError("ninja was not found: it is a build requirement, `pip install ninja`")
        options["CMAKE_MAKE_PROGRAM"] = ninja
        definitions = [f"-D{key}={value}" for key, value in options.items()]
        subprocess.run(["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(build), *definitions], check=True)
        subprocess.run(["cmake", "--build", str(build)], check=True)
        put_into_place(build / output.name, output)
        # Into the sources whatever is built: an editable install finds it there, and no wheel takes it along.
        if options["PYSCALE_EMULATOR"] == "ON":
            emulated = output.name.replace("_native", "_emulated")
            put_into_place(build / emulated, ROOT / "pyscale" / emulated)


def put_into_place(built: Path, output: Path) -> None:
    """Copy under another name and rename: writing over a library that some process has loaded would crash it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.with_name(f".{output.name}.new")
    shutil.copyfile(built, fresh)
    fresh.replace(output)


setup(ext_modules=[CMakeExtension("pyscale._native")], cmdclass={"build_ext": CMakeBuild})
