/// Which kernels run: the targets this CPU can execute, and each thread's choice among them.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace kullback {

/// The targets this CPU can run, fastest first.
const std::vector<const Target*>& runnable_targets();

/// The runnable target of that name. Throws std::invalid_argument, which lists the names that would do.
const Target* find_target(const std::string& name);

/// The calling thread's target: KULLBACK_TARGET or the fastest, unless set_target said otherwise.
const Target& active_target();

/// Sets the calling thread's target, nullptr for the process's, and returns the former setting.
const Target* set_target(const Target* target);

/// Reads KULLBACK_TARGET. Throws std::invalid_argument where it names no runnable target.
void initialize_targets();

}  // namespace kullback
