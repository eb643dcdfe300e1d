#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>

namespace kullback {

namespace py = pybind11;

/// Called once, when the module is imported.
void initialize_memory();

/// While one exists, NumPy takes the memory of new arrays of `bytes` bytes from here where they are large.
///
/// The C library gives memory of that size back when an array goes, and the system clears every page before it hands
/// it out again: a third of the time of a softmax, and most of it where it has no huge pages left. Here the memory of
/// two arrays is kept, marked as free (MADV_FREE): the system takes it back when it needs any, and not before.
class ResultMemory {
 public:
  explicit ResultMemory(std::size_t bytes);
  ~ResultMemory();
  ResultMemory(const ResultMemory&) = delete;
  ResultMemory& operator=(const ResultMemory&) = delete;

 private:
  PyObject* former_ = nullptr;
};

}  // namespace kullback
