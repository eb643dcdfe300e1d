/// Checks of the kernels that take minutes, without Python; tests/long/run builds and runs it.
///
///   check_math accuracy                   errors of the pack functions, on the fastest target
///   check_math bits [samples [target...]] digests of every kernel's output bits, on all targets that run here, or on
///                                         those; `fastest` is the one that calls would use
///
/// `accuracy` takes every float32 input, and spread float64 inputs, and fails above 1 ULP. Exact values come from the C
/// library's function of the same name in a wider type: their error is below 0.01 ULP of the type that is checked.
/// `bits` fails where targets differ. Its lines can be compared with those of another machine, if samples are the same.
///
/// Kernels come from kernels.def: a new one is checked without a change here.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "checks.hpp"

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  auto targets = kullback::runnable_targets();
  if (mode == "accuracy" && argc == 2) return check::accuracy(*targets.front()) ? 0 : 1;
  if (mode == "bits") {
    const std::uint64_t samples = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10'000'000;
    try {
      for (int i = 3; i < argc; ++i) {
        if (i == 3) targets.clear();
        const std::string name = argv[i];
        targets.push_back(name == "fastest" ? kullback::runnable_targets().front() : kullback::find_target(name));
      }
    } catch (const std::invalid_argument& error) {
      std::fprintf(stderr, "%s\n", error.what());
      return 2;
    }
    if (samples > 0) return check::bits(targets, samples) ? 0 : 1;
  }
  std::fprintf(stderr, "usage: check_math accuracy | bits [samples [target...]]\n");
  return 2;
}
