/// Checks of the kernels that take minutes, without Python; tests/long/run builds and runs it.
///
///   check_math accuracy                   errors of the pack functions, on the fastest target
///   check_math bits [samples] [fastest]   digests of every kernel's output bits, on all targets that run here
///
/// `accuracy` takes every float32 input, and spread float64 inputs, and fails above 1 ULP. Exact values come from the C
/// library's function of the same name in a wider type: their error is below 0.01 ULP of the type that is checked.
/// `bits` fails where targets differ. Its lines can be compared with those of another machine, if samples are the same.
///
/// Kernels come from kernels.def: a new one is checked without a change here.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "checks.hpp"

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  auto targets = kullback::runnable_targets();
  if (mode == "accuracy" && argc == 2) return check::accuracy(*targets.front()) ? 0 : 1;
  if (mode == "bits" && argc <= 4) {
    const std::uint64_t samples = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10'000'000;
    if (argc > 3) targets.resize(1);
    if (samples > 0 && (argc <= 3 || std::string(argv[3]) == "fastest")) return check::bits(targets, samples) ? 0 : 1;
  }
  std::fprintf(stderr, "usage: check_math accuracy | bits [samples] [fastest]\n");
  return 2;
}
