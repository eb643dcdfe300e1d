"""The promise: ``python -m kullback`` shows in one command that this installation is right, or says so."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache

import pytest

import kullback
from kullback import _core, runtime


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)


def run_main_after(statements: str) -> subprocess.CompletedProcess[str]:
    return run("-c", f"import sys\n{statements}\nfrom kullback.__main__ import main\nsys.exit(main([]))")


@cache
def whole_run() -> subprocess.CompletedProcess[str]:
    return run("-m", "kullback")


def test_everything_passes() -> None:
    result = whole_run()
    last = re.fullmatch(r"(\d+) passed, 0 failed", result.stdout.splitlines()[-1])
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert last
    assert int(last[1]) >= 200


@pytest.mark.parametrize("number", ["0.3567", "1.6094", "2.3026", "0.8018", "0.5108", "1.2040"])
def test_the_lecture_s_numbers_are_printed(number: str) -> None:
    # kullback's twelve digits, the reference's, and the figure that the lecture prints
    line = rf"  \d\.\d{{12}}  +\d\.\d{{12}}  +{re.escape(number)}$"
    assert re.search(line, whole_run().stdout, re.MULTILINE)


def test_divergence_is_cross_entropy_less_entropy() -> None:
    figures = dict(re.findall(r"^  (D\(p\|\|q\)|H\(p, q\) - H\(p\)) +(\S+)", whole_run().stdout, re.MULTILINE))
    assert len(figures) == 2
    assert len(set(figures.values())) == 1


def test_the_five_most_unusual_topics_are_a_table() -> None:
    lines = whole_run().stdout.splitlines()
    header = ["topic", "letters", "entropy", "KL", "JS"]
    start = next(i for i, line in enumerate(lines) if line.split() == header)
    rows = [line.split() for line in lines[start + 1 : start + 6]]
    divergences = [float(row[-1]) for row in rows]
    assert divergences == sorted(divergences, reverse=True)
    assert all(0 < d <= 1 for d in divergences)


def test_every_measure_is_cross_checked_in_both_dtypes() -> None:
    for name, kind in _core.kernels():
        for dtype in ("float32", "float64"):
            line = re.search(rf"^  {name} +{dtype} +\d+ +[\d.]+ ULP +[\d.]+ ULP$", whole_run().stdout, re.MULTILINE)
            assert (line is None) == (kind == "pack"), name


def test_it_is_deterministic() -> None:
    assert run("-m", "kullback").stdout == whole_run().stdout


def test_it_needs_no_mpmath() -> None:
    result = run_main_after("sys.modules['mpmath'] = None")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == whole_run().stdout.splitlines()[-1]


@pytest.mark.parametrize("measure", [name for name, kind in _core.kernels() if kind != "pack"])
def test_a_wrong_measure_fails(measure: str) -> None:
    result = run_main_after(
        f"import kullback\nright = kullback.{measure}\nkullback.{measure} = lambda *a, **k: right(*a, **k) * 1.001"
    )
    lines = result.stdout.splitlines()
    last = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1])
    assert result.returncode == 1, result.stdout + result.stderr
    assert last
    assert int(last[2]) == sum(line.startswith("FAILED: ") for line in lines) > 0
    assert any(line.startswith(f"FAILED: {measure} of float32") for line in lines)


def test_a_wrong_figure_of_the_lecture_fails() -> None:
    result = run_main_after(
        "import kullback\nright = kullback.entropy\n"
        "kullback.entropy = lambda p, **k: right(p, **k) + (0.01 if list(p) == [0.7, 0.2, 0.1] else 0)"
    )
    assert result.returncode == 1
    assert "the lecture prints 0.8018" in result.stdout


def test_info_prints_the_environment_and_nothing_else() -> None:
    result = run("-m", "kullback", "info")
    assert result.returncode == 0, result.stderr
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert list(lines) == list(runtime.info())
    assert lines["version"] == kullback.__version__
    assert whole_run().stdout.startswith(result.stdout)


def test_an_unknown_command_is_refused() -> None:
    result = run("-m", "kullback", "nonsense")
    assert result.returncode == 2
    assert "nonsense" in result.stderr
