"""Find the minimax polynomials of ``coefficients.hpp``, and print or check them.

    python cpp/simd/coefficients.py            # print every table, ready to paste
    python cpp/simd/coefficients.py --check    # compare with coefficients.hpp; exit status 1 if they differ

Each polynomial approximates a smooth remainder f on an interval. The Remez exchange minimises
max |weight * (f - P)|, where the weight turns the error of the remainder into the relative error of the function that
is built from it; that figure is printed in bits. The two lowest coefficients are rounded to the format they are used in
before the others are found, so that these make up for it; the rounding of the others costs nothing.

Needs mpmath.
"""

from __future__ import annotations

import argparse
import math
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import mpmath
from mpmath import mp, mpf

mp.dps = 60

Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Polynomial:
    """One remainder: what it is, where, and how many coefficients float32 and float64 need."""

    name: str
    formula: str
    function: Function
    weight: Function
    low: mpf
    high: mpf
    terms: dict[str, int]


def series(term: Callable[[int], mpf], x: mpf) -> mpf:
    """Sum a power series that converges at x, so that removable singularities need no care."""
    total, power, k = mpf(0), mpf(1), 0
    while True:
        step = term(k) * power
        if abs(step) < mpf(10) ** -(mp.dps + 5):
            return total
        total, power, k = total + step, power * x, k + 1


def atanh_remainder(z: mpf) -> mpf:
    return series(lambda k: mpf(2) / (2 * k + 3), z)


def exp_remainder(r: mpf) -> mpf:
    return series(lambda k: 1 / mpmath.factorial(k + 2), r)


def jensen_remainder(z: mpf) -> mpf:
    return series(lambda k: mpf(1) / ((k + 2) * (2 * k + 3)), z)


def jensen_lower(x: mpf) -> mpf:
    return x * mpmath.ln(x) if x > 0 else mpf(0)


HALF_LN2 = mpmath.ln(2) / 2

POLYNOMIALS = (
    Polynomial(
        "atanh_tail",
        "(2 atanh(s) - 2 s) / s^3 in z = s^2, |s| <= 1/5",
        atanh_remainder,
        lambda z: z / 2,
        mpf(0),
        mpf(1) / 25,
        {"float": 3, "double": 8},
    ),
    Polynomial(
        "exp_tail",
        "(exp(r) - 1 - r) / r^2, |r| <= ln(2)/2",
        exp_remainder,
        lambda r: r * r / mpmath.exp(r),
        -HALF_LN2,
        HALF_LN2,
        {"float": 6, "double": 11},
    ),
    Polynomial(
        "short_exp_tail",
        "the same",
        exp_remainder,
        lambda r: r * r / mpmath.exp(r),
        -HALF_LN2,
        HALF_LN2,
        {"float": 5},
    ),
    Polynomial(
        "fine_exp_tail",
        "the same, |r| <= ln(2)/32",
        exp_remainder,
        lambda r: r * r / mpmath.exp(r),
        -HALF_LN2 / 16,
        HALF_LN2 / 16,
        {"float": 3},
    ),
    Polynomial(
        "excess_tail",
        "(exp(x) - 1 - x) / x^2, |x| <= 2: for float32 data",
        exp_remainder,
        lambda x: 1 / exp_remainder(x),
        mpf(-2),
        mpf(2),
        {"double": 11},
    ),
    Polynomial(
        "log1p_tail",
        "(log1p(r) - r) / r^2, -0.056 <= r <= 1/16",
        lambda r: series(lambda k: mpf(-1) ** (k + 1) / (k + 2), r),
        abs,
        mpf("-0.0561"),
        mpf("0.06251"),
        {"float": 5},
    ),
    Polynomial(
        "jensen_tail",
        "((1+x) ln(1+x) + (1-x) ln(1-x) - x^2) / x^4 in z = x^2, |x| <= 1/3",
        jensen_remainder,
        lambda z: z,
        mpf(0),
        mpf(1) / 9,
        {"float": 5, "double": 11},
    ),
    Polynomial(
        "jensen_upper",
        "(1+x) ln(1+x) in y = x - 2/3, 1/3 <= x <= 1: for float32 data",
        lambda y: (y + mpf(5) / 3) * mpmath.ln(y + mpf(5) / 3),
        lambda y: 1 / ((y + mpf(5) / 3) * mpmath.ln(y + mpf(5) / 3) + jensen_lower(mpf(1) / 3 - y)),
        mpf(-1) / 3,
        mpf(1) / 3,
        {"double": 9},
    ),
)


def evaluate(coefficients: list[mpf], x: mpf) -> mpf:
    return mpmath.polyval(coefficients[::-1], x)


def remez(p: Polynomial, terms: int) -> list[mpf]:
    """Coefficients, lowest degree first, whose weighted error equioscillates."""
    # Every exchange asks for the same points again, which are what takes the time.
    p = replace(p, function=cache(p.function), weight=cache(p.weight))
    low, high = p.low, p.high
    count = terms + 1
    # Slightly off centre: weights may vanish at 0.
    centre, radius = (low + high) / 2 + (high - low) / 1000, (high - low) / 2
    points = [centre - radius * mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    grid = [low + (high - low) * (mpf(i) + mpf(1) / 3) / (40 * count) for i in range(40 * count)]
    for _ in range(30):
        # P(x_i) + (-1)^i E / w(x_i) = f(x_i)
        matrix = mpmath.matrix(count, count)
        right = mpmath.matrix(count, 1)
        for i, x in enumerate(points):
            for j in range(terms):
                matrix[i, j] = x**j
            matrix[i, terms] = (-1) ** i / p.weight(x)
            right[i] = p.function(x)
        solution = mpmath.lu_solve(matrix, right)
        coefficients = [solution[j] for j in range(terms)]
        errors = [p.weight(x) * (p.function(x) - evaluate(coefficients, x)) for x in grid]
        extrema = alternating_extrema(grid, errors)
        if len(extrema) < count:
            break
        while len(extrema) > count:
            extrema.pop(0 if abs(extrema[0][1]) < abs(extrema[-1][1]) else -1)
        points = [x for x, _ in extrema]
        magnitudes = [abs(e) for _, e in extrema]
        if max(magnitudes) / min(magnitudes) < mpf("1.0001"):
            break
    return coefficients


def alternating_extrema(grid: list[mpf], errors: list[mpf]) -> list[tuple[mpf, mpf]]:
    """The largest error of each run of one sign, in order."""
    extrema: list[tuple[mpf, mpf]] = []
    for x, e in zip(grid, errors, strict=True):
        if e == 0:
            continue
        if extrema and (extrema[-1][1] > 0) == (e > 0):
            if abs(e) > abs(extrema[-1][1]):
                extrema[-1] = (x, e)
        else:
            extrema.append((x, e))
    return extrema


def rounded(x: mpf, dtype: str) -> float:
    with mpmath.workprec(24 if dtype == "float" else 53):
        return float(+x)


def rounded_remez(p: Polynomial, terms: int, dtype: str) -> list[float]:
    """Coefficients in the format, lowest degree first."""
    fixed: list[float] = []
    while len(fixed) < 2:
        c = rounded(remez(p, terms - len(fixed))[0], dtype)
        fixed.append(c)
        # What is left to approximate, f = c + x g.
        p = replace(p, function=lambda x, f=p.function, c=c: (f(x) - c) / x, weight=lambda x, w=p.weight: w(x) * x)
    return fixed + [rounded(c, dtype) for c in remez(p, terms - len(fixed))]


def worst(p: Polynomial, coefficients: list[float]) -> mpf:
    exact = [mpf(c) for c in coefficients]
    grid = (p.low + (p.high - p.low) * mpf(i) / 2000 for i in range(2001))
    return max(abs(p.weight(x) * (p.function(x) - evaluate(exact, x))) for x in grid)


def tables() -> dict[tuple[str, str], list[str]]:
    """(name, dtype) -> hex literals, highest degree first, after a comment with the error."""
    inverses, logs = logarithms()
    words, rests = powers()
    result = {
        ("inverses", "float"): ["// inverses: c near 1 / m, see logarithms in coefficients.py", *inverses],
        ("logarithms", "float"): ["// logarithms: -log(c)", *logs],
        ("powers", "float"): ["// powers: of words, the sum of this and j 2^19 is 2^(j/16)", *words],
        ("power_rests", "float"): ["// power_rests: what 2^(j/16) is more than that, in units of it", *rests],
    }
    for p in POLYNOMIALS:
        for dtype, terms in p.terms.items():
            coefficients = rounded_remez(p, terms, dtype)
            bits = mpmath.log(worst(p, coefficients), 2)
            suffix = "f" if dtype == "float" else ""
            comment = f"// {p.name}: {p.formula}; relative error 2^{mpmath.nstr(bits, 4)}"
            result[p.name, dtype] = [comment, *(c.hex() + suffix for c in reversed(coefficients))]
    return result


def logarithms() -> list[list[str]]:
    """Hex literals of inverses c and of -log(c), which serve x = m 2^k, 25/32 <= m < 25/16, where c m is near 1.

    Entry i is for the eighth of [1, 2) around 1 + (i - 3)/8 that m, or 2 m where that is larger, is in. Of the float32
    inverses near its middle, that one is taken whose logarithm lies closest to a multiple of 2^-17: then its sum with
    k times the leading part of ln 2 is exact.
    """
    inverses, logs = [], []
    for i in range(8):
        eighths = 8 + (i - 3) % 8
        middle = 1 / (mpf(eighths) / (8 if eighths <= 12 else 16))
        found: tuple[mpf, float, float] | None = None
        spacing = mpf(2) ** (-24 if middle < 1 else -23)
        for step in range(-20000, 20001) if eighths != 8 else [0]:
            c = rounded(middle + step * spacing, "float")
            nearest = round(-math.log(c) * 2**17) / 2**17
            error = abs(math.log(c) + nearest)
            if found is None or error < found[0]:
                found = (error, c, nearest)
        assert found
        inverses.append(found[1].hex() + "f")
        logs.append(found[2].hex() + "f")
    return [inverses, logs]


def powers() -> list[list[str]]:
    """Hex literals that make 2^(j/16) of float32 words with j in the highest bits of the mantissa; and the rest."""
    words, rests = [], []
    for j in range(16):
        exact = mpf(2) ** (mpf(j) / 16)
        power = rounded(exact, "float")
        (word,) = struct.unpack("<I", struct.pack("<f", power))
        (less,) = struct.unpack("<f", struct.pack("<I", word - (j << 19)))
        words.append(less.hex() + "f")
        rests.append(rounded(exact / power - 1, "float").hex() + "f")
    return [words, rests]


def main() -> int:
    parser = argparse.ArgumentParser(description="Minimax polynomials of coefficients.hpp")
    parser.add_argument("--check", action="store_true", help="compare with coefficients.hpp instead of printing")
    check = parser.parse_args().check
    source = "".join(Path(__file__).with_name("coefficients.hpp").read_text().split()) if check else ""
    missing = 0
    found = tables()
    for (name, dtype), (comment, *literals) in found.items():
        if not check:
            print(f"{dtype}\n{comment}\n{{" + ", ".join(literals) + "}\n")
        elif ",".join(literals) not in source:
            print(f"coefficients.hpp does not hold the coefficients of {name} for {dtype}: {', '.join(literals)}")
            missing += 1
    if check and not missing:
        print(f"coefficients.hpp holds the {len(found)} tables found here")
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
