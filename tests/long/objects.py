"""The promise: instructions of one target do not leak into code that other CPUs run.

A template that is instantiated in the AVX-512 object as a weak symbol may be the copy that the linker keeps for
everybody. So the object files of the targets may hold nothing that a linker could share.

    python3 tests/long/objects.py BUILD [PREFIX]

BUILD is a directory where CMake has built them, PREFIX that of nm and objdump for other machines' files, such as
"aarch64-linux-gnu-". Exits with status 1 where something is wrong.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# What every C library has, and compilers call as they please: none of it is compiled for a target.
ALLOWED = {"memcpy", "memset", "memmove", "fma", "fmaf", "_GLOBAL_OFFSET_TABLE_"}

# Targets whose CPUs write past the caches.
STREAMING = {"x86_64_v3", "x86_64_v4"}


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


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
    if not re.search(r"\b(prefetch|prfm)", code) or not any("prefetch_rows" in name for _, name in symbols()):
        yield "memory is not asked for ahead"
    if target in STREAMING and "movntps" not in code:
        yield "large results do not go past the caches"


def main() -> int:
    build, prefix = Path(sys.argv[1]), "".join(sys.argv[2:])
    objects = sorted(build.glob("CMakeFiles/kullback_*.dir/cpp/target.cpp.o"))
    if not objects:
        print(f"there are no object files in {build}")
        return 1
    failed = 0
    for path in objects:
        target = path.parts[-3].removeprefix("kullback_").removesuffix(".dir")
        found = list(findings(target, path, prefix))
        print(f"{target}: {'; '.join(found) or 'alone'}")
        failed += len(found)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
