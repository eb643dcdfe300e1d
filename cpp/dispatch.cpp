#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

namespace kullback {

#if defined(__x86_64__)
namespace x86_64_v4 {
extern const Target kernels;
}
namespace x86_64_v3 {
extern const Target kernels;
}
#endif
#if defined(__aarch64__)
namespace aarch64 {
extern const Target kernels;
}
#else
namespace baseline {
extern const Target kernels;
}
#endif

namespace {

const Target* process_target = nullptr;
thread_local const Target* thread_target = nullptr;

}  // namespace

const std::vector<const Target*>& runnable_targets() {
  static const std::vector<const Target*> targets = [] {
    std::vector<const Target*> list;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("x86-64-v4")) list.push_back(&x86_64_v4::kernels);
    if (__builtin_cpu_supports("x86-64-v3")) list.push_back(&x86_64_v3::kernels);
#endif
#if defined(__aarch64__)
    list.push_back(&aarch64::kernels);
#else
    list.push_back(&baseline::kernels);
#endif
    return list;
  }();
  return targets;
}

const Target* find_target(const std::string& name) {
  std::string names;
  for (const Target* target : runnable_targets()) {
    if (name == target->name) return target;
    names += names.empty() ? "" : ", ";
    names += target->name;
  }
  throw std::invalid_argument("target '" + name + "' cannot run here; expected one of " + names);
}

const Target& active_target() { return thread_target != nullptr ? *thread_target : *process_target; }

const Target* set_target(const Target* target) {
  const Target* former = thread_target;
  thread_target = target;
  return former;
}

void initialize_targets() {
  const char* name = std::getenv("KULLBACK_TARGET");
  try {
    process_target = name != nullptr && *name != '\0' ? find_target(name) : runnable_targets().front();
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("KULLBACK_TARGET: ") + error.what());
  }
}

}  // namespace kullback
