/// What check_math checks.
#pragma once

#include <cstdint>
#include <vector>

#include "dispatch.hpp"

namespace check {

/// Whether no error of a pack function is above 1 ULP on that target.
bool accuracy(const kullback::Target& target);

/// Whether all targets give the same bits, and columns those of rows.
bool bits(const std::vector<const kullback::Target*>& targets, std::uint64_t samples);

}  // namespace check
