"""The promise: the extension module shares no symbol with other libraries of the process."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from kullback import _core


@pytest.mark.skipif(shutil.which("nm") is None, reason="there is no nm to read the extension module with")
def test_the_extension_exports_its_initialiser_alone():
    command = ["nm", "--dynamic", "--defined-only", _core.__file__]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {line.rsplit(maxsplit=1)[-1] for line in lines} == {"PyInit__core"}
