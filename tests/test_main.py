"""The promise: ``python -m kullback`` shows in one command that this installation is right, or says so."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache

import pytest

import kullback
from kullback import _core, runtime
from kullback.__main__ import Checks, every_measure


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
    assert int(last[1]) >= 900


@pytest.mark.parametrize("number", ["0.3567", "1.6094", "2.3026", "0.8018", "0.5108", "1.2040"])
def test_the_lecture_s_numbers_are_printed(number: str) -> None:
    # kullback's twelve digits, the reference's, and the figure that the lecture prints
    line = rf"  \d\.\d{{12}}  +\d\.\d{{12}}  +{re.escape(number)}$"
    assert re.search(line, whole_run().stdout, re.MULTILINE)


def test_divergence_is_cross_entropy_less_entropy() -> None:
    figures = dict(re.findall(r"^  (D\(p\|\|q\)|H\(p, q\) - H\(p\)) +(\S+)", whole_run().stdout, re.MULTILINE))
    assert len(figures) == 2
    assert len(set(figures.values())) == 1


LOSSES = [
    ("binary loss, y = 1, a = 0.6", "0.510825623766"),
    ("binary loss, y = 1, a = 0.7", "0.356674943939"),
    ("categorical loss, a = .2 .5 .3", "1.203972804326"),
    ("categorical loss, a = .2 .2 .6", "0.510825623766"),
]


@pytest.mark.parametrize(("what", "loss"), LOSSES)
def test_the_lecture_s_losses_come_from_probabilities_and_from_logits(what: str, loss: str) -> None:
    lines = whole_run().stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"  {what} "))
    assert lines[at].split()[-3:-1] == [loss, loss]
    assert re.fullmatch(rf"    from (its logit|logits) +{loss}  +{loss}  +\d\.\d{{4}}", lines[at + 1])


CONFIDENT = [
    ("loss, z = 40 0 0, y = 0", "8.496708510583e-18", 0.0),
    ("binary loss, z = 40, y = 1", "4.248354255292e-18", 0.0),
    ("entropy, z = 40 0 0", "3.483650489339e-16", 3.4e-16),
]


@pytest.mark.parametrize(("what", "value", "plain"), CONFIDENT)
def test_a_confident_prediction_keeps_its_loss(what: str, value: str, plain: float) -> None:
    line = re.search(rf"^  {re.escape(what)} +(\S+)  +(\S+)  +(\S+)$", whole_run().stdout, re.MULTILINE)
    assert line
    assert (line[1], line[2]) == (value, value)
    assert float(line[3]) == pytest.approx(plain, rel=0.01)


def test_the_five_most_unusual_topics_are_a_table() -> None:
    lines = whole_run().stdout.splitlines()
    header = ["topic", "letters", "entropy", "KL", "JS"]
    start = next(i for i, line in enumerate(lines) if line.split() == header)
    rows = [line.split() for line in lines[start + 1 : start + 6]]
    divergences = [float(row[-1]) for row in rows]
    assert divergences == sorted(divergences, reverse=True)
    assert all(0 < d <= 1 for d in divergences)


def test_the_more_a_model_knows_of_letters_the_smaller_its_loss() -> None:
    models = re.findall(
        r"^  (any letter alike|letters|pairs of letters)  +(\d\.\d{4})  +\d\.\d{4}$", whole_run().stdout, re.MULTILINE
    )
    losses = [float(loss) for _, loss in models]
    assert len(losses) == 3
    assert losses[0] == 4.7004  # log2 26
    assert losses == sorted(losses, reverse=True)


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


@pytest.mark.parametrize(("measure", "kind"), [(name, kind) for name, kind in _core.kernels() if kind != "pack"])
def test_the_cross_check_notices_a_wrong_measure(
    measure: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = getattr(kullback, measure)
    monkeypatch.setattr(kullback, measure, lambda *a, **k: right(*a, **k) * 1.001)
    monkeypatch.setattr(_core, "kernels", lambda: [(measure, kind)])  # the others would take their time
    checks = Checks()
    every_measure(checks)
    failures = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED: ")]
    assert len(failures) == checks.failed
    for dtype in ("float32", "float64"):
        assert any(re.match(rf"FAILED: {measure} of (\S+ \(.*\) and )?{dtype} ", line) for line in failures)


def test_a_wrong_measure_is_the_exit_status() -> None:
    result = run_main_after(
        "import kullback\nright = kullback.softmax\nkullback.softmax = lambda z, **k: right(z, **k) * 1.001"
    )
    lines = result.stdout.splitlines()
    last = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1])
    assert result.returncode == 1, result.stdout + result.stderr
    assert last
    assert int(last[2]) == sum(line.startswith("FAILED: ") for line in lines) > 0


def test_a_kernel_of_an_unknown_kind_fails() -> None:
    result = run_main_after(
        "from kullback import _core\ntable = _core.kernels()\n_core.kernels = lambda: [*table, ('novelty', 'sum3')]"
    )
    assert result.returncode == 1
    assert "FAILED: novelty: nothing here checks kernels of the kind sum3" in result.stdout
    assert result.stdout.splitlines()[-1].endswith(" passed, 1 failed")


def test_a_loss_that_is_a_difference_fails() -> None:
    result = run_main_after(
        "import kullback, numpy\nright = kullback.categorical_cross_entropy_from_logits\n"
        "kullback.categorical_cross_entropy_from_logits = lambda y, z, **k: "
        "kullback.logsumexp(z) - z[0] if numpy.array_equal(z, [40, 0, 0]) else right(y, z, **k)"
    )
    assert result.returncode == 1
    assert "FAILED: loss, z = 40 0 0, y = 0: 0.0, expected 8.4967085e-18" in result.stdout


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
