"""The promise: large results take the memory of earlier ones, which stays the system's for the asking."""

from __future__ import annotations

import ctypes
import multiprocessing
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import kullback as kb

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere large results have NumPy's own memory")

# 40 MB, where the memory of results is ours from 32 MiB on.
x = np.random.default_rng(0).standard_normal((1000, 10_000), np.float32)


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def mapping(at: int) -> dict[str, int]:
    """What the system says of the mapping that `at` lies in, in kB."""
    inside = False
    found = {}
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(bounds[1], 16) <= at < int(bounds[2], 16)
        elif inside and (entry := re.match(r"(\w+): +(\d+) kB", line)):
            found[entry[1]] = int(entry[2])
    return found


def test_memory_is_used_again_and_only_then():
    a, b = kb.softmax(x), kb.log_softmax(x)
    expected = a.copy(), b.copy()
    places = {address(a), address(b)}
    assert len(places) == 2
    del a, b
    c, d, e = kb.log_softmax(x), kb.softmax(x), kb.softmax(x)
    assert {address(c), address(d)} == places
    assert address(e) not in places
    np.testing.assert_array_equal(c, expected[1])
    np.testing.assert_array_equal(d, expected[0])
    np.testing.assert_array_equal(e, expected[0])


def test_the_system_can_have_it_back():
    a = kb.softmax(x)
    at = address(a)
    # What is written is in use ...
    assert mapping(at)["LazyFree"] == 0
    del a
    # ... and free at once when the array is gone, but for the page that says how large it is.
    free = mapping(at)
    # (Pages that another CPU was about to put into a list of its own are not counted yet.)
    assert free["LazyFree"] >= 0.8 * 39_000


def test_no_more_than_two_are_kept():
    # In a process of its own, where none are kept before.
    code = """
import re, numpy as np, kullback as kb
from pathlib import Path

def mapped():
    return int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

x = np.zeros((1000, 10_000), np.float32)
results = [kb.softmax(x) for _ in range(10)]
before = mapped()
results.clear()
print(before - mapped())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(run.stdout) == pytest.approx(8 * (40 << 10), abs=5_000)


def test_smaller_results_do_not_sit_in_larger_memory():
    thrice = np.concatenate([x, x, x])
    large = [kb.softmax(thrice) for _ in range(2)]
    places = [address(a) for a in large]
    large.clear()
    small = kb.softmax(x)
    assert not any(at <= address(small) < at + thrice.nbytes for at in places)


def test_what_is_kept_gives_way_where_addresses_are_limited():
    code = """
import re, resource, numpy as np, kullback as kb
from pathlib import Path

x = np.zeros((1000, 10_000), np.float32)
kb.softmax(x[:1])
results = [kb.softmax(x) for _ in range(2)]
results.clear()
mapped = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
# Room for 60 MB more, and 80 MB of the two that are kept: not enough of either for 120 MB.
three = np.broadcast_to(x[:1], (3000, 10_000))
resource.setrlimit(resource.RLIMIT_AS, (mapped + 60_000_000, resource.RLIM_INFINITY))
print(kb.softmax(three).shape)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout == "(3000, 10000)\n", run.stderr


def test_too_large_a_result_leaves_everything_as_it_was():
    endless = np.broadcast_to(np.float32(0), (1 << 40, 100))
    with pytest.raises(MemoryError):
        kb.softmax(endless)
    assert get_handler_name() == "default_allocator"
    assert get_handler_name(np.empty(1 << 24, np.float32)) == "default_allocator"


def test_arrays_are_as_numpys_own():
    a = kb.softmax(x)
    assert get_handler_name(a) == "kullback"
    assert a.flags.owndata
    assert a.flags.writeable
    assert a.base is None
    assert address(a) % 64 == 0
    assert sys.getsizeof(a) > a.nbytes
    first = a[0].copy()
    for rows in 1500, 10, 1000:
        a.resize((rows, 10_000), refcheck=False)
        np.testing.assert_array_equal(a[0], first)
    assert not a[10:].any()
    # Nothing else is touched: not smaller results, not NumPy's arrays.
    assert get_handler_name(kb.softmax(x[:10])) == get_handler_name(x) == get_handler_name() == "default_allocator"


def test_threads_do_not_share_memory():
    wrong = []

    def work(number: int) -> None:
        one, other = np.roll(x, number, axis=0), np.roll(x, number, axis=1)
        expected = kb.softmax(one), kb.softmax(other)
        for _ in range(10):
            a = kb.softmax(one)
            b = kb.softmax(other)
            if not (np.array_equal(a, expected[0]) and np.array_equal(b, expected[1])):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i + 1,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _child(expected: float) -> None:
    a = kb.softmax(x)
    a[:] = 0
    sys.exit(0 if float(kb.softmax(x)[3, 4]) == expected else 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_has_its_own():
    a = kb.softmax(x)
    expected = a.copy()
    at = address(a)
    del a
    child = multiprocessing.get_context("fork").Process(target=_child, args=(float(expected[3, 4]),))
    child.start()
    again = kb.softmax(x)
    child.join(60)
    assert child.exitcode == 0
    assert address(again) == at
    np.testing.assert_array_equal(again, expected)


def test_a_handler_that_the_caller_set_is_kept():
    from numpy._core import multiarray

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    table = ctypes.cast(pointer(multiarray._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[304])
    default = ctypes.cast(table[306], ctypes.POINTER(ctypes.py_object))[0]
    # NumPy's own, by another name.
    own = ctypes.create_string_buffer(ctypes.string_at(pointer(default, b"mem_handler"), 168), 168)
    own[:5] = b"mine\0"
    former = set_handler(capsule(ctypes.addressof(own), b"mem_handler", None))
    try:
        a = kb.softmax(x)
        assert get_handler_name(a) == "mine"
        del a
    finally:
        set_handler(former)
    assert get_handler_name(kb.softmax(x)) == "kullback"
