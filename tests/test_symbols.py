"""The promise: instructions of one target do not leak into code that other CPUs run.

A template that is instantiated in the AVX-512 object as a weak symbol may be the copy that the linker keeps for
everybody. So the object files of the targets may hold nothing that a linker could share. They are built here as
CMakeLists.txt says, for the installed package has none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from kullback import _core

PROJECT = Path(__file__).parents[1]

# Commands that pip installed lie beside this Python even where its environment is not active.
PATH = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])

# What every C library has, and compilers call as they please: none of it is compiled for a target.
ALLOWED = {"memcpy", "memset", "memmove", "fma", "fmaf", "_GLOBAL_OFFSET_TABLE_"}


def run(*command: str | Path) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=os.environ | {"PATH": PATH}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def symbols(path: Path, *options: str) -> list[tuple[str, str]]:
    """Pairs of type and name, as nm has them."""
    lines = (line.rsplit(maxsplit=2) for line in run("nm", *options, path).splitlines())
    return [(fields[-2], fields[-1]) for fields in lines]


@pytest.fixture(scope="module")
def objects(tmp_path_factory) -> dict[str, Path]:
    """The object file of every target of this machine's architecture, whether this CPU can run it or not."""
    for tool in ("cmake", "ninja", "c++", "nm", "objdump"):
        if shutil.which(tool, path=PATH) is None:
            pytest.skip(f"there is no {tool} to build the object files with")
    build = tmp_path_factory.mktemp("objects")
    run("cmake", "-S", PROJECT, "-B", build, "-G", "Ninja", "-DKULLBACK_LONG_CHECK=ON", "-DCMAKE_BUILD_TYPE=Release")
    # Ninja takes the files to be made as targets.
    names = re.findall(
        r"^build (\S*kullback_\w+\.dir/\S*target\.cpp\.o):", (build / "build.ninja").read_text(), re.MULTILINE
    )
    run("cmake", "--build", build, "--parallel", "2", "--target", *names)
    return {re.search(r"kullback_(\w+)\.dir", name)[1]: build / name for name in names}


def test_there_is_an_object_for_every_target(objects):
    runnable = {name.replace("-", "_") for name in _core.info()["targets"]}
    assert runnable <= set(objects)


def test_no_symbol_is_weak(objects):
    for target, path in objects.items():
        weak = [name for kind, name in symbols(path) if kind in "WwVvu"]
        assert not weak, target


def test_one_symbol_is_exported(objects):
    for target, path in objects.items():
        defined = [name for kind, name in symbols(path, "-C", "--defined-only", "--extern-only")]
        assert defined == [f"kullback::{target}::kernels"]


def test_nothing_but_the_c_library_is_called(objects):
    for target, path in objects.items():
        undefined = {name for kind, name in symbols(path, "--undefined-only")}
        assert undefined <= ALLOWED, target


def test_nothing_runs_when_the_library_is_loaded(objects):
    for target, path in objects.items():
        sections = run("objdump", "-h", path)
        assert ".text" in sections
        assert not re.search(r"\.(init_array|ctors|preinit_array|fini_array|dtors)", sections), target


def test_memory_is_asked_for_ahead(objects):
    # GCC takes a function that does nothing else for one without effects.
    for target, path in objects.items():
        assert re.search(r"\b(prefetch|prfm)", run("objdump", "-d", path)), target
        assert any("prefetch_rows" in name for _, name in symbols(path)), target


def test_large_results_go_past_the_caches(objects):
    for target in objects.keys() & {"x86_64_v3", "x86_64_v4"}:
        assert "movntps" in run("objdump", "-d", objects[target]), target


def test_the_extension_exports_its_initialiser_alone():
    if shutil.which("nm", path=PATH) is None:
        pytest.skip("there is no nm to read the extension module with")
    exported = {name for _, name in symbols(Path(_core.__file__), "--dynamic", "--defined-only")}
    assert exported == {"PyInit__core"}
