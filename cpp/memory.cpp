#include "memory.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace kullback {

#ifdef __linux__

namespace {

// The C library keeps what is smaller by itself.
constexpr std::size_t large = std::size_t{32} << 20;
constexpr std::size_t huge_page = std::size_t{2} << 20;

// The first bytes of a mapping that begins and ends with a huge page; data follow at the next line of the cache.
struct alignas(64) Block {
  std::size_t size;
};

char* data_of(Block* block) { return reinterpret_cast<char*>(block + 1); }
Block* block_of(void* data) { return static_cast<Block*>(data) - 1; }
std::size_t capacity(const Block* block) { return block->size - sizeof(Block); }

// Two, because a loop that replaces its result, or returns a loss and a gradient, has two at a time.
std::atomic<Block*> kept[2];
std::atomic<unsigned> evictions{0};

Block* map(std::size_t bytes) {
  if (bytes > PTRDIFF_MAX - 2 * huge_page) return nullptr;
  const std::size_t size = (bytes + sizeof(Block) + huge_page - 1) / huge_page * huge_page;
  void* mapped = mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const from = static_cast<char*>(mapped);
  const std::size_t before = (huge_page - reinterpret_cast<std::uintptr_t>(from) % huge_page) % huge_page;
  char* const begin = from + before;
  if (before > 0) munmap(from, before);
  munmap(begin + size, huge_page - before);
  madvise(begin, size, MADV_HUGEPAGE);
  return new (begin) Block{size};
}

void release(Block* block) {
  if (block != nullptr) munmap(block, block->size);
}

void* allocate(void*, std::size_t bytes) {
  for (auto& slot : kept) {
    Block* const block = slot.exchange(nullptr);
    if (block == nullptr) continue;
    // What is twice as large may be wanted by those who left it.
    if (capacity(block) >= bytes && capacity(block) / 2 <= bytes) return data_of(block);
    Block* none = nullptr;
    if (!slot.compare_exchange_strong(none, block)) release(block);
  }
  Block* block = map(bytes);
  if (block == nullptr) {
    // Where addresses are limited, not pages.
    for (auto& slot : kept) release(slot.exchange(nullptr));
    block = map(bytes);
  }
  return block == nullptr ? nullptr : data_of(block);
}

void free(void*, void* data, std::size_t) {
  if (data == nullptr) return;
  Block* const block = block_of(data);
  // An array may have been resized.
  if (capacity(block) < large) return release(block);
  // All but the first huge page: a part of it, all but the size, would break it up. What the system does not take back
  // is not kept.
  if (madvise(reinterpret_cast<char*>(block) + huge_page, block->size - huge_page, MADV_FREE) != 0) {
    return release(block);
  }
  for (auto& slot : kept) {
    Block* none = nullptr;
    if (slot.compare_exchange_strong(none, block)) return;
  }
  release(kept[evictions++ % std::size(kept)].exchange(block));
}

void* allocate_zeros(void*, std::size_t count, std::size_t size) {
  std::size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
  void* const data = allocate(nullptr, bytes);
  return data == nullptr ? nullptr : std::memset(data, 0, bytes);
}

void* reallocate(void*, void* data, std::size_t bytes) {
  if (data == nullptr) return allocate(nullptr, bytes);
  const std::size_t room = capacity(block_of(data));
  if (room >= bytes && room / 2 <= bytes) return data;
  void* const to = allocate(nullptr, bytes);
  if (to == nullptr) return nullptr;
  std::memcpy(to, data, std::min(bytes, room));
  free(nullptr, data, 0);
  return to;
}

// NumPy's PyDataMem_Handler, version 1, part of its ABI since 1.22.
struct Handler {
  char name[127];
  std::uint8_t version;
  void* context;
  void* (*malloc)(void*, std::size_t);
  void* (*calloc)(void*, std::size_t, std::size_t);
  void* (*realloc)(void*, void*, std::size_t);
  void (*free)(void*, void*, std::size_t);
};

Handler handler{"kullback", 1, nullptr, allocate, allocate_zeros, reallocate, free};

// Arrays refer to it, and may outlive the module.
PyObject* capsule = nullptr;

PyObject* (*set_handler)(PyObject*) = nullptr;
PyObject* (*get_handler)() = nullptr;
PyObject* default_handler = nullptr;

}  // namespace

void initialize_memory() {
  const py::object table = py::module_::import("numpy._core.multiarray").attr("_ARRAY_API");
  auto** const api = static_cast<void**>(PyCapsule_GetPointer(table.ptr(), nullptr));
  if (api == nullptr) throw py::error_already_set();
  // Places in NumPy's table of functions.
  set_handler = reinterpret_cast<decltype(set_handler)>(api[304]);
  get_handler = reinterpret_cast<decltype(get_handler)>(api[305]);
  default_handler = *static_cast<PyObject**>(api[306]);
  capsule = PyCapsule_New(&handler, "mem_handler", nullptr);
  if (capsule == nullptr) throw py::error_already_set();
}

ResultMemory::ResultMemory(std::size_t bytes) {
  if (bytes < large) return;
  const auto current = py::reinterpret_steal<py::object>(get_handler());
  if (!current) throw py::error_already_set();
  // Somebody wants arrays to be where they say.
  if (current.ptr() != default_handler) return;
  former_ = set_handler(capsule);
  if (former_ == nullptr) throw py::error_already_set();
}

ResultMemory::~ResultMemory() {
  if (former_ == nullptr) return;
  Py_XDECREF(set_handler(former_));
  Py_DECREF(former_);
}

#else

void initialize_memory() {}
ResultMemory::ResultMemory(std::size_t) {}
ResultMemory::~ResultMemory() = default;

#endif

}  // namespace kullback
