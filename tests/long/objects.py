"""The promise: instructions of one target do not leak into code that other CPUs run.

A template that is instantiated in the AVX-512 object as a weak symbol may be the copy that the linker keeps for
everybody. So the object files of the targets may hold nothing that a linker could share.

    python3 tests/long/objects.py [--prefix PREFIX] BUILD TARGET...

BUILD is a directory where CMake has built them, PREFIX that of nm and objdump for other machines' files, such as
"aarch64-linux-gnu-". Exits with status 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# What every C library has, and compilers call as they please: none of it is compiled for a target.
ALLOWED = {"memcpy", "memset", "memmove", "fma", "fmaf", "_GLOBAL_OFFSET_TABLE_"}

# Functions that ask for memory ahead.
ASKING = ("prefetch_rows", "direct_row", "fixed_point_row")


def run(*command: str | Path) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def findings(target: str, path: Path, prefix: str) -> Iterator[str]:
    """What is wrong with the object file of a target."""

    def symbols(*options: str) -> list[tuple[str, str]]:
        """Pairs of type and name, as nm has them."""
        lines = (line.rsplit(maxsplit=2) for line in run(f"{prefix}nm", *options, path).splitlines())
        return [(fields[-2], fields[-1]) for fields in lines]

    for kind, name in symbols():
        if kind in "WwVvu":
            yield f"{name} is a weak symbol"
    exported = [name for _, name in symbols("-C", "--defined-only", "--extern-only")]
    if exported != [f"kullback::{target}::kernels"]:
        yield f"it exports {', '.join(exported)}"
    if called := {name for _, name in symbols("--undefined-only")} - ALLOWED:
        yield f"it calls {', '.join(sorted(called))}"
    sections = run(f"{prefix}objdump", "-h", path)
    if ".text" not in sections or re.search(r"\.(init_array|ctors|preinit_array|fini_array|dtors)", sections):
        yield "something runs when the library is loaded"
    code = run(f"{prefix}objdump", "-d", path)
    # GCC takes a function that does nothing but prefetch for one without effects.
    functions = re.findall(r"^\w+ <(\S+)>:\n((?:.+\n)*)", code, re.MULTILINE)
    for asking in ASKING:
        if not any(asking in name and re.search(r"\b(prefetch|prfm)", body) for name, body in functions):
            yield f"{asking} does not ask for memory ahead"


def main() -> int:
    parser = argparse.ArgumentParser(description="Object files of targets")
    parser.add_argument("--prefix", default="", help="of nm and objdump")
    parser.add_argument("build", type=Path, help="where CMake has built them")
    parser.add_argument("targets", nargs="+", help="whose there have to be, and no others")
    arguments = parser.parse_args()
    objects = {
        path.parts[-3].removeprefix("kullback_").removesuffix(".dir"): path
        for path in arguments.build.glob("CMakeFiles/kullback_*.dir/cpp/target.cpp.o")
    }
    failed = 0
    if set(objects) != set(arguments.targets):
        print(f"expected object files of {', '.join(arguments.targets)}, found {', '.join(objects)}")
        failed = 1
    for target, path in objects.items():
        found = list(findings(target, path, arguments.prefix))
        print(f"{target}: {'; '.join(found) or 'nothing leaks'}")
        failed += len(found)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
