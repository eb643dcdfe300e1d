"""The promise: nothing that goes on around a call, nor any array, makes it hang, crash or answer differently."""

from __future__ import annotations

import itertools
import math
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import kullback
from kullback import reference, runtime

# fork


def run_script(code: str, *arguments: str) -> str:
    """The output of a script in a process of its own; a child that hangs fails the test instead of the suite."""
    # Python 3.12 warns of what these tests are there to do: fork with threads about.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *arguments]
    env = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


FORK = """
import ctypes, hashlib, multiprocessing, os, sys
import numpy as np
import kullback

p = np.full((64, 20_000), 1 / 20_000)  # work for many threads
labels = np.arange(64)

def compute(_=None):
    results = [kullback.entropy(p), kullback.entropy(p.ravel()), kullback.softmax(p)]
    for loss in (kullback.categorical_cross_entropy, kullback.categorical_cross_entropy_from_logits):
        results += [loss(labels, p), loss(labels, p, reduction="mean"), loss(p, p, reduction="sum")]
    results += [kullback.binary_cross_entropy(p, p, reduction="mean"), kullback.token_logprobs(p, labels)]
    return hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in results)).digest()

how, library = sys.argv[1:]
if library:
    assert ctypes.CDLL(library).enter_parallel_region() >= 1
    want = None
else:
    want = compute()

if how == "fork":
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, compute())
        os._exit(0)
    got = os.read(read, 1 << 16)
    assert os.wait()[1] == 0
else:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        got, again = pool.map(compute, range(2))
        assert got == again
assert got == compute()  # and the parent goes on with its threads
assert want in (None, got)
print("done")
"""


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_fork_after_our_own_parallel_region(how):
    assert run_script(FORK, how, "") == "done\n"


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_fork_after_another_library_s_parallel_region(how, tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc to build the other library with")
    source, library = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text("""
        int enter_parallel_region(void) {
          int n = 0;
          #pragma omp parallel num_threads(4) reduction(+ : n)
          n += 1;
          return n;
        }
    """)
    subprocess.run([compiler, "-fopenmp", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    assert run_script(FORK, how, str(library)) == "done\n"


def test_fork_in_a_thread_with_settings():
    code = """
import os, threading
import numpy as np
from kullback import entropy, runtime

p = np.full((64, 20_000), 1 / 20_000)

def work():
    with runtime.threads(2), runtime.target("TARGET"):
        want = entropy(p).tobytes()
        if os.fork() == 0:
            os._exit(int(entropy(p).tobytes() != want or runtime.info()["threads"] != 1))
        assert os.wait()[1] == 0
        print("done")

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    assert run_script(code.replace("TARGET", runtime.info()["targets"][-1])) == "done\n"


# Threads


def test_first_calls_at_once():
    # What a first call sets up must not make two of them wait for each other.
    code = """
import sys, threading
import numpy as np
import kullback as kb

sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)

def work(i):
    barrier.wait()
    x = np.ones((3, 4))
    calls = [kb.entropy, kb.self_information, kb.softmax, lambda x: kb.binary_cross_entropy(x, x, reduction="mean")]
    calls += [lambda x: kb.categorical_cross_entropy([0, 1, 2], x), lambda x: kb.token_logprobs(x, [0, 1, 2])]
    calls[i % 6](x)

threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""
    for _ in range(8):  # it took two tries in three to hang
        assert run_script(code) == "done\n"


def test_eight_threads_at_once(measure, same_bits):
    arrays = measure.arrays("float64", (60, 5_000))
    want = measure(*arrays)
    views = [arrays, [np.asfortranarray(a) for a in arrays]]
    start = threading.Barrier(8)

    def work(i):
        targets = runtime.info()["targets"]
        start.wait()
        with runtime.target(targets[i % len(targets)]), runtime.threads(1 + i % 4):
            chosen = runtime.info()
            results = [measure(*views[k % 2]) for k in range(6)]
            assert runtime.info() == chosen
        return results

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            assert all(same_bits(result, want) for result in results)


AFTER_A_PAUSE = """
import os, time
import numpy as np
import kullback as kb

def others():
    return [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]

def wake_ups():
    lines = (line for task in others() for line in open(f"/proc/self/task/{task}/status"))
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

small, large = (np.full((1, n), 0.5, np.float32) for n in (2**17, 2**20))
slow = np.full((1, 2**18 - 1), 0.5)  # takes a thread alone a millisecond or more
kb.runtime.threads(2).__enter__()
for _ in range(3):
    kb.logsumexp(large)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how often its threads were woken")
@pytest.mark.skipif(runtime.info()["openmp"] == "none", reason="there are no threads to wake")
def test_a_small_call_after_a_pause_wakes_nobody():
    code = """
assert others()

def of_one_pass():
    kb.logsumexp(small)

def of_two():
    kb.value_and_grad.binary_cross_entropy_from_logits(small, small, reduction="mean")

def slow_one():
    kb.js_divergence(slow, slow[:, ::-1])

for call in (of_one_pass, of_two, slow_one):
    for calls in (1, 1, 5):
        time.sleep(0.3)  # the threads sleep now
        before = wake_ups()
        for _ in range(calls):
            call()
        time.sleep(0.3)
        print(wake_ups() - before > 0)
"""
    assert run_script(AFTER_A_PAUSE + code).split() == ["False", "False", "True"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="threads are moved on Linux only")
def test_threads_that_moved_may_run_where_they_might():
    # Where the system wakes none on the caller's core, this sees nothing.
    code = """
allowed = os.sched_getaffinity(0)
for _ in range(30):
    time.sleep(0.02)
    kb.logsumexp(large)
    assert all(os.sched_getaffinity(int(task)) == allowed for task in others())
print("done")
"""
    assert run_script(AFTER_A_PAUSE + code) == "done\n"


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the filter has x86-64 Linux's number of the call"
)
def test_threads_are_not_moved_where_system_calls_are_filtered():
    # As services are: sched_setaffinity, number 203, ends the process.
    # Threads inherit the filter, those that were there before have none.
    filtered = """
import ctypes, struct

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

load, unless_equal, give = 0x20, 0x15, 0x06
end_process, allow = 0x80000000, 0x7FFF0000
steps = [(load, 0, 0, 0), (unless_equal, 0, 1, 203), (give, 0, 0, end_process), (give, 0, 0, allow)]
program = Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
no_new_privileges, seccomp, filters = 38, 22, 2
prctl = ctypes.CDLL(None).prctl
assert prctl(no_new_privileges, 1, 0, 0, 0) == 0
assert prctl(seccomp, filters, ctypes.byref(program)) == 0
"""
    code = """
for _ in range(30):
    time.sleep(0.02)
    kb.logsumexp(large)
print("done")
"""
    assert run_script(filtered + AFTER_A_PAUSE + code) == "done\n"


def test_other_threads_run_during_a_large_call():
    p = np.broadcast_to(np.float64(1e-8), 200_000_000)  # a good part of a second, and no memory
    counted = stop = 0

    def count():
        nonlocal counted
        while not stop:
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    with runtime.threads(1):
        before, start = counted, time.perf_counter()
        kullback.entropy(p)
        elapsed, after = time.perf_counter() - start, counted
    stop = 1
    thread.join()
    assert elapsed > 0.02  # or there was nothing to see
    assert after - before > 5


def test_errors_leave_no_state_behind(measure, same_bits):
    arrays = measure.arrays("float64", (3, 50))
    want, before = measure(*arrays), runtime.info()
    calls = [
        lambda: measure(*[1j] * len(measure.inputs)),
        lambda: measure(*arrays, axis=7, base=0, label_smoothing=2),
        lambda: measure(*arrays, out=np.empty(1)),
        lambda: runtime.target("none").__enter__(),
        lambda: runtime.threads(0).__enter__(),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError)), runtime.threads(1):
            call()
        assert runtime.info() == before
        assert same_bits(measure(*arrays), want)


def test_results_do_not_leak_memory_or_references(measure):
    arrays = measure.arrays("float64", (3, 50))
    out = measure(*arrays)
    counts = [sys.getrefcount(x) for x in (*arrays, out, out.dtype)]
    good: dict[str, Any] = {"base": 2, "weight": np.ones(50), "label_smoothing": 0.1}
    good = {name: value for name, value in good.items() if name in measure.options}
    for _ in range(1_000):
        measure(*arrays)
        measure(*arrays, out=out, **good)
        if "reduction" in measure.options:
            measure(*arrays, reduction="mean")
        if measure.takes_classes:
            with pytest.raises(IndexError):
                measure(*(np.full(a.shape, -1) if a.dtype == int else a for a in arrays), out=out)
        with pytest.raises(ValueError, match="out has shape"):
            measure(*arrays, out=out[..., None])
    after = [sys.getrefcount(x) for x in (*arrays, out, out.dtype)]
    assert after[:-1] == counts[:-1]
    assert after[-1] < counts[-1] + 100


# Size


MANY = 2**31 + 7
LONG = {
    "logsumexp": 0.5 + math.log(MANY),
    "entropy_from_logits": math.log(MANY),
    "kl_divergence_from_logits": 0,
    "js_divergence_from_logits": 0,
}


@pytest.mark.usefixtures("many_threads")
def test_more_elements_than_31_bits_can_count(reduction):
    arrays = [np.broadcast_to(np.float32(p), MANY) for p in (0.5, 0.25)[: len(reduction.inputs)]]
    want = MANY * float(reduction(*(a[:1].astype(float) for a in arrays)))
    assert math.isclose(reduction(*arrays), LONG.get(reduction.name, want), rel_tol=2.0**-23)


@pytest.mark.usefixtures("many_threads")
def test_more_classes_than_31_bits_can_count():
    z = np.broadcast_to(np.float32(0.5), MANY)
    assert math.isclose(kullback.token_logprobs(z, MANY - 1), -math.log(MANY), rel_tol=2.0**-23)
    assert kullback.categorical_cross_entropy(MANY - 1, z) == -np.log(np.float32(0.5))
    with pytest.raises(IndexError, match=f"^token {MANY} at index \\(\\) is out of range for {MANY} classes$"):
        kullback.token_logprobs(z, MANY)


@pytest.mark.usefixtures("many_threads")
def test_means_of_more_elements_than_31_bits_can_count(loss):
    shape = (2**21 + 1, 2**10) if loss.by_rows else (MANY,)
    q = np.broadcast_to(np.float32(0.5), shape)
    labels = np.broadcast_to(np.uint8(7), shape[:-1]) if loss.takes_classes else q
    one = float(loss(labels[:1], q[:1])[0])
    assert math.isclose(loss(labels, q, reduction="mean"), one, rel_tol=2.0**-23)


@pytest.mark.parametrize("shape", [(2**32, 0), (0, 2**40), (2**31, 0, 2**20)], ids=str)
def test_empty_rows_and_no_rows_of_any_length(reduction, shape):
    p = np.broadcast_to(np.float32(1), shape)
    for axis in (None, tuple(range(len(shape)))):
        assert reduction(*[p] * len(reduction.inputs), axis=axis) == (-np.inf if reduction.name == "logsumexp" else 0)
    zeros = [d for d, n in enumerate(shape) if n == 0]
    rest = tuple(d for d in range(len(shape)) if d not in zeros)
    assert reduction(*[p] * len(reduction.inputs), axis=rest).shape == (0,)


def test_strides_that_reach_beyond_32_bits(measure, same_bits):
    # Untouched pages of an empty array cost no memory.
    memory = np.empty(2**32 + 64, np.uint8)
    p = memory[: 2**32 + 8].view(np.float32)[:: 2**30]
    p[...] = [0.5, 0.25]
    for view in (p, p[::-1], p[:, None].T):
        assert same_bits(measure(*measure.filled(view)), measure(*measure.filled(view.copy())))


def test_labels_whose_strides_reach_beyond_32_bits(class_wise, same_bits):
    memory = np.empty(2**32 + 64, np.uint8)
    k = memory[: 2**32 + 8].view(np.int64)[:: 2**29]
    k[...] = [1, 0]
    z = np.array([[0.5, 0.25], [0.125, 0.5]])
    for view in (k, k[::-1]):
        arrays = [z if i in class_wise.reals else view for i in range(len(class_wise.inputs))]
        assert same_bits(class_wise(*arrays), class_wise(*(a.copy() for a in arrays)))


# Arrays of every shape, layout, dtype and value

DTYPES = st.one_of(
    hnp.floating_dtypes(sizes=(32, 64), endianness="?"),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.boolean_dtypes(),
)


def values(dtype, largest):
    if dtype.kind != "f":
        return hnp.from_dtype(dtype)
    limits = np.finfo(dtype)
    special = [0.0, 1.0, math.inf, math.nan, -1.0, -0.0, float(limits.tiny), float(limits.smallest_subnormal)]
    return st.one_of(
        st.floats(0, 1, width=8 * dtype.itemsize),
        st.floats(-largest, largest, width=8 * dtype.itemsize),
        st.sampled_from(special),
    )


@st.composite
def views(draw, shapes, largest):
    """An array of each shape, seen through slices of any step."""
    result = []
    for shape in shapes:
        steps = [draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in shape]
        dtype = draw(DTYPES)
        whole = tuple(abs(step) * n for step, n in zip(steps, shape, strict=True))
        array = draw(hnp.arrays(dtype, whole, elements=values(dtype, largest), fill=values(dtype, largest)))
        axes = draw(st.permutations(range(len(shape))))
        array = array.transpose(axes).copy().transpose(np.argsort(axes)) if axes else array
        result.append(array[tuple(slice(None, None, step) for step in steps)])
    return result


def class_of(x: float) -> str:
    return "finite" if math.isfinite(x) else str(x)


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_any_arrays(broadcasting, same_bits, data):
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=len(broadcasting.inputs), min_side=0, max_side=7, max_dims=4)
    )
    arrays = data.draw(views(shapes.input_shapes, largest=2.0**127))
    index = data.draw(hnp.basic_indices(arrays[0].shape, allow_newaxis=True, allow_ellipsis=True))
    if len(arrays) == 1:
        arrays = [np.asarray(arrays[0][index])]
    full = np.broadcast_arrays(*arrays)
    options = {}
    if "axis" in broadcasting.options:
        ndim = full[0].ndim
        axes = st.lists(st.integers(-ndim, ndim - 1), unique_by=lambda a: a % ndim).map(tuple) if ndim else st.just(())
        options["axis"] = data.draw(st.one_of(st.none(), axes))
    if "keepdims" in broadcasting.options:
        options["keepdims"] = data.draw(st.booleans())
    got = broadcasting(*arrays, **options)
    want = broadcasting(*(np.array(a, order="C") for a in full), **options)
    assert same_bits(got, want)


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_any_row_is_of_the_reference_s_class(measure, data):
    n = data.draw(st.integers(1 if measure.takes_classes or measure.is_categorical else 0, 40))
    arrays = data.draw(views([(n,)] * len(measure.reals), largest=2.0**100))
    if measure.takes_classes:
        arrays.insert(measure.numbers.index("classes"), data.draw(st.integers(0, n - 1)))
    got = np.atleast_1d(measure(*arrays))
    lists = [a if isinstance(a, int) else a.astype(float).tolist() for a in arrays]
    with np.errstate(over="ignore"):  # the reference computes in float64, where products of float32 do not overflow
        want = np.atleast_1d(getattr(reference, measure.name)(*lists)).astype(got.dtype)
    assert list(map(class_of, got.tolist())) == list(map(class_of, want.tolist()))


@st.composite
def arguments_of_losses(draw, loss):
    """Arrays and options of every kind, good and bad ones."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
    axis = draw(st.integers(-3, 2))
    rows = tuple(n for d, n in enumerate(shape) if d != axis % len(shape)) if -len(shape) <= axis < len(shape) else ()
    other = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)
    some_shape = st.one_of(
        st.just(shape), st.just(rows), hnp.broadcastable_shapes(shape, min_side=0, max_dims=3), other
    )
    weights = {name: draw(st.one_of(st.none(), st.floats(), some_shape)) for name in loss.weights}
    shapes = [draw(some_shape), shape, *(w for w in weights.values() if isinstance(w, tuple))]
    labels, predictions, *given = draw(views(shapes, largest=2.0**127))
    if draw(st.booleans()):  # classes, mostly
        labels = draw(hnp.arrays(np.int8, rows, elements=st.integers(draw(st.sampled_from([0, -1])), 5)))
    options = {name: given.pop() if isinstance(w, tuple) else w for name, w in reversed(weights.items())}
    options["label_smoothing"] = draw(st.one_of(st.just(0), st.floats(0, 1), st.floats()))
    options["reduction"] = draw(st.sampled_from([None, "sum", "mean"]))
    options["base"] = draw(st.sampled_from([None, 2, 0]))
    if loss.by_rows:
        options |= {"axis": axis, "ignore_index": draw(st.one_of(st.none(), st.integers(-1, 5)))}
    return [labels, predictions], options


@settings(deadline=None, max_examples=400)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:mean of nothing")
def test_any_arguments_of_losses(loss, same_bits, data):
    arrays, options = data.draw(arguments_of_losses(loss))

    def outcome(arrays, options):
        try:
            return loss(*arrays, **options)
        except (ValueError, TypeError, IndexError) as error:  # AxisError is two of them
            return f"{type(error).__name__}: {error}"

    got = outcome(arrays, options)
    plain = [np.array(a, order="C") for a in arrays]
    want = outcome(plain, {k: np.array(x, order="C") if isinstance(x, np.ndarray) else x for k, x in options.items()})
    if isinstance(want, str):
        assert got == want
        return
    assert same_bits(got, want)
    if loss.kind == "binary" and options["reduction"] is None:
        shown = [np.broadcast_to(np.float64(a), np.shape(got)).ravel().tolist() for a in arrays]
        weights = {name: options[name] for name in loss.weights if options[name] is not None}
        weights = {k: np.broadcast_to(np.float64(w), np.shape(got)).ravel().tolist() for k, w in weights.items()}
        function, rest = getattr(reference, loss.name), {k: options[k] for k in ("label_smoothing", "base")}
        wanted = function(*shown, **weights, **rest)
        # The reference computes in float64 alone. What an infinite weight makes of a loss of 0 is not promised.
        if got.dtype == np.float64 and not any(map(math.isinf, itertools.chain(*weights.values()))):
            assert list(map(class_of, np.ravel(got).tolist())) == list(map(class_of, wanted))


# Labels that change while they are read


@pytest.mark.parametrize("how", [None, "sum", "mean"])
def test_labels_that_another_thread_changes(class_wise, how):
    rng = np.random.default_rng(1)
    z, k = rng.standard_normal((20_000, 50)), rng.integers(0, 50, 20_000)
    if class_wise.takes_classes:
        arrays = [z if i in class_wise.reals else k for i in range(2)]
    else:
        k = rng.random((20_000, 50))
        arrays = [k, z]
    options = {} if class_wise.kind == "tokens" else {"reduction": how}
    out = np.empty(() if options.get("reduction") else 20_000)
    stop = False

    def change():
        while not stop:
            k[:] = -1
            k[:] = np.iinfo(np.int64).max if k.dtype == int else np.nan
            k[:] = 0

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for i in range(60):
            try:
                class_wise(*arrays, **options, out=out if i % 2 else None)
            except IndexError as error:
                assert "is out of range for 50 classes" in str(error)  # noqa: PT017 - or there is none
    finally:
        stop = True
        thread.join()
    k[:] = 0
    assert np.isfinite(class_wise(*arrays, **options)).all() or not class_wise.of_logits
