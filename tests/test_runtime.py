"""The promise: importing is cheap, and what a calculation runs on can be seen and chosen, for a while or for a process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import kullback
from kullback import runtime


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("KULLBACK_")} | environment
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=env
    )


def test_import_is_lean():
    code = """
import sys, numpy
before = set(sys.modules)
import kullback
print(*sorted(set(sys.modules) - before))
print(kullback.reference.entropy([0.5, 0.5]), kullback.reference is sys.modules["kullback.reference"])
from kullback import testing
print("kullback.testing" in sys.modules, testing.__doc__ == kullback.testing.__doc__, dir(testing) == dir(kullback.testing))
"""
    loaded, *lazy = python(code).stdout.splitlines()
    assert "kullback._core" in loaded.split()
    heavy = {"kullback.testing", "kullback.reference", "fractions", "decimal", "mpmath", "numpy.ma", "scipy", "inspect"}
    assert not heavy & set(loaded.split())
    assert lazy == ["0.6931471805599453 True", "False True True"]


def test_lazy_modules_can_be_patched():
    code = """
import kullback
from unittest import mock
from kullback import reference
with mock.patch.object(reference, "entropy", lambda p: "patched"):
    print(kullback.reference.entropy([0.5, 0.5]), reference.entropy([0.5, 0.5]))
print(kullback.reference.entropy([1.0]), reference.entropy([1.0]))
"""
    assert python(code).stdout.split() == ["patched", "patched", "0.0", "0.0"]


def test_calls_while_the_interpreter_ends():
    code = """
import os, sys, kullback
class Late:
    call, write = staticmethod(kullback.entropy), staticmethod(os.write)
    def __del__(self):
        self.call([1.0])
        self.write(1, b"fine ")
sys.late = Late()
kullback.entropy.late = Late()
"""
    assert python(code).stdout == "fine fine "


def test_info():
    info = runtime.info()
    assert set(info) == {"version", "targets", "target", "threads", "openmp", "compiler"}
    assert info["version"] == kullback.__version__
    assert info["targets"]
    assert info["target"] in info["targets"]
    assert set(info["targets"]) <= {"x86-64-v4", "x86-64-v3", "aarch64", "baseline"}
    assert info["threads"] >= 1
    assert isinstance(info["openmp"], str)
    assert isinstance(info["compiler"], str)
    info["targets"].clear()
    assert runtime.info()["targets"]


def settings() -> tuple[str, int]:
    info = runtime.info()
    return info["target"], info["threads"]


def test_settings_nest_and_end(target):
    before = settings()
    with runtime.target(target), runtime.threads(2):
        inside = settings()
        assert inside == (target, 2 if runtime.info()["openmp"] != "none" else 1)
        with runtime.threads(1), runtime.target(runtime.info()["targets"][-1]):
            assert settings() == (runtime.info()["targets"][-1], 1)
        assert settings() == inside
    assert settings() == before


def test_settings_end_with_an_exception(target):
    before = settings()
    with pytest.raises(KeyError), runtime.target(target), runtime.threads(1):
        raise KeyError
    assert settings() == before


def test_a_setting_may_be_used_again_and_inside_itself():
    before, one = settings(), runtime.threads(1)
    for _ in range(2):
        with one:
            with one:
                assert settings()[1] == 1
            assert settings()[1] == 1
        assert settings() == before


def test_settings_hold_for_one_thread_only(target):
    def of_another_thread():
        seen = []
        thread = threading.Thread(target=lambda: seen.append(settings()))
        thread.start()
        thread.join()
        return seen

    before = of_another_thread()
    with runtime.target(target), runtime.threads(1):
        assert of_another_thread() == before


@pytest.mark.parametrize("n", [0, -1, 1 << 16, 1 << 40])
def test_threads_out_of_range(n):
    with pytest.raises(ValueError, match=f"^threads: expected a number from 1 to 65535, got {n}$"):
        runtime.threads(n)


@pytest.mark.parametrize("n", [1.0, "1", None])
def test_threads_of_a_wrong_type(n):
    with pytest.raises(TypeError):
        runtime.threads(n)


@pytest.mark.parametrize("name", ["sse9", "", "X86-64-V4", None, 3])
def test_target_that_cannot_run(name):
    before = settings()
    with pytest.raises(ValueError, match=f"^target {name!r} cannot run here; expected one of .*baseline|aarch64"):
        runtime.target(name)
    assert settings() == before


SETTINGS = "from kullback import runtime; i = runtime.info(); print(i['target'], i['threads'])"


def test_target_from_the_environment(target):
    assert python(SETTINGS, KULLBACK_TARGET=target).stdout.split()[0] == target


@pytest.mark.parametrize(("limit", "openmp", "threads"), [("1", "4", 1), ("3", "4", 3), ("9", "4", 4), ("", "4", 4)])
def test_threads_from_the_environment(limit, openmp, threads):
    got = python(SETTINGS, KULLBACK_NUM_THREADS=limit, OMP_NUM_THREADS=openmp).stdout.split()
    assert got == [runtime.info()["targets"][0], str(threads if runtime.info()["openmp"] != "none" else 1)]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KULLBACK_TARGET", "sse9"),
        *(("KULLBACK_NUM_THREADS", n) for n in ("0", "-1", "two", "1.5", "2x", "99999999999")),
    ],
)
def test_bad_environment(variable, value):
    result = python("import kullback", **{variable: value})
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {variable}: ")
    assert f"'{value}'" in last
    assert "expected" in last
