// Threads, warps, blocks and their shared memory, as the engine keeps them.
#pragma once
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine.hpp"
#include "fiber.hpp"

namespace emulator {

enum class State { ready, at_warp, at_block, at_grid, yielded, gone };

struct Thread {
  Fiber fiber;
  uint3 index;
  unsigned number;           // within the block; lane = number % 32
  State state = State::ready;
  const char* what = "";     // the barrier, shuffle or vote where it waits
  Place place = {"", 0};
  int predicate = 0;         // of a block barrier that counts
  unsigned mask = 0;         // of a warp operation, and what it sends and receives
  const void* send = nullptr;
  void* receive = nullptr;
  size_t bytes = 0;
  int source = 0;
  std::deque<Copy> copies;   // issued, not yet arrived; closed groups first
  std::deque<int> groups;    // sizes of the closed groups
  int open_group = 0;

  int lane() const { return int(number % 32); }
};

// Shared memory: the dynamic array, then static variables as they are met, with 0xFF everywhere
// and red zones in between. AddressSanitizer sees a touch of a red zone, check() sees a write.
class SharedMemory {
 public:
  static constexpr size_t static_limit = 48 * 1024, total_limit = 227 * 1024;

  explicit SharedMemory(size_t dynamic) : dynamic_bytes_(dynamic) {
    void* memory = nullptr;
    size_t capacity = dynamic + static_limit + (variable_limit + 2) * 3 * gap;
    if (posix_memalign(&memory, gap, capacity) != 0) abort();
    base_ = static_cast<char*>(memory), capacity_ = capacity;
#if defined(EMULATOR_ADDRESS)
    __asan_poison_memory_region(base_, capacity_);
#endif
    fill(base_, used_);
    dynamic_ = claim("dynamic shared memory", dynamic);
  }
  ~SharedMemory() {
#if defined(EMULATOR_ADDRESS)
    __asan_unpoison_memory_region(base_, capacity_);
#endif
    free(base_);
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  char* base() const { return base_; }
  void* dynamic() const { return dynamic_; }
  bool contains(const void* address) const {
    return address >= base_ && address < base_ + capacity_;
  }
  bool holds(const void* start, size_t bytes) const {  // in one variable
    const char* first = static_cast<const char*>(start);
    for (const Region& region : regions_)
      if (first >= region.begin && first < region.end) return first + bytes <= region.end;
    return false;
  }
  void* variable(int slot, size_t bytes, const char* name, Place place) {
    if (slots_.size() <= size_t(slot)) slots_.resize(size_t(slot) + 1, nullptr);
    if (slots_[size_t(slot)] != nullptr) return slots_[size_t(slot)];
    statics_ += bytes;
    if (dynamic_bytes_ + statics_ > total_limit)
      fail(place, "__shared__ %s: the block has %zu bytes of static and %zu of dynamic shared "
           "memory, more than %zu", name, statics_, dynamic_bytes_, total_limit);
    if (statics_ > static_limit || regions_.size() > variable_limit)
      fail(place, "__shared__ %s: the block has %zu bytes of static shared memory, more than %zu",
           name, statics_, static_limit);
    return slots_[size_t(slot)] = claim(name, bytes);
  }

  // The first variable behind whose end something was written, or null.
  const char* overwritten() const {
#if !defined(EMULATOR_ADDRESS)
    for (const Region& region : regions_)
      for (const char* byte = region.end; byte < region.zone_end; ++byte)
        if (*byte != char(0xFF)) return region.name;
#endif
    return nullptr;
  }

 private:
  static constexpr size_t gap = 128, variable_limit = 128;
  struct Region { const char *name, *begin, *end, *zone_end; };

  void* claim(const char* name, size_t bytes) {
    char* start = base_ + used_;
    char* zone_end = start + (bytes + gap - 1) / gap * gap + gap;
    fill(start, size_t(zone_end - start));
#if defined(EMULATOR_ADDRESS)
    __asan_unpoison_memory_region(start, bytes);
#endif
    regions_.push_back({name, start, start + bytes, zone_end});
    used_ = size_t(zone_end - base_);
    return start;
  }
  // Not memset: ThreadSanitizer would take it for a write of the thread that is running.
  static void fill(char* start, size_t bytes) {
    for (volatile uint64_t *word = reinterpret_cast<uint64_t*>(start),
                           *end = word + bytes / sizeof *word; word != end; ++word)
      *word = ~uint64_t(0);
  }

  size_t dynamic_bytes_;
  char* base_ = nullptr;
  size_t capacity_ = 0, used_ = gap, statics_ = 0;
  void* dynamic_ = nullptr;
  std::vector<void*> slots_;
  std::vector<Region> regions_;
};

struct Block {
  Block(uint3 index_, size_t threads_, size_t dynamic)
      : index(index_), shared(dynamic), threads(threads_) {}
  uint3 index;
  SharedMemory shared;
  std::vector<Thread> threads;
  Votes votes = {0, 0};
  unsigned gone = 0;

  size_t warps() const { return (threads.size() + 31) / 32; }
  size_t warp_end(size_t warp) const {
    return threads.size() < 32 * warp + 32 ? threads.size() : 32 * warp + 32;
  }
};

// Memory for the stacks of a launch; pages that no thread touches cost nothing.
class Stacks {
 public:
  static constexpr size_t bytes = 256 * 1024;
  explicit Stacks(size_t count) : size_(count * bytes) {
    void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    base_ = memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
  }
  ~Stacks() { if (base_ != nullptr) munmap(base_, size_); }
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  bool ok() const { return base_ != nullptr; }
  char* at(size_t i) const { return base_ + i * bytes; }

 private:
  char* base_;
  size_t size_;
};

// The order of threads, warps and blocks: up, down, or drawn anew every time from the seed.
class Order {
 public:
  Order(int kind, unsigned seed) : kind_(kind), state_(seed * 2654435769u + 1) {}
  bool shuffled() const { return kind_ == 2; }
  template <class Visit> void each(size_t n, Visit visit) {
    if (kind_ == 2) return shuffle(n, visit);
    for (size_t i = 0; i < n; ++i) visit(kind_ == 0 ? i : n - 1 - i);
  }

 private:
  template <class Visit> void shuffle(size_t n, Visit visit) {
    std::vector<size_t> places(n);
    for (size_t i = 0; i < n; ++i) {
      size_t j = next() % (i + 1);
      places[i] = places[j], places[j] = i;
    }
    for (size_t i : places) visit(i);
  }
  uint64_t next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int kind_;
  uint64_t state_;
};

}  // namespace emulator
