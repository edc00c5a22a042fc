// The launch that is running: its state, its first error, and the step from thread to thread.
#pragma once
#include <stdio.h>

#include "block.hpp"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {

struct Launch {
  const char* kernel;
  const Request& request;
  void (*body)(const void*);
  const void* arguments;
  Order order;
  Home home = {};
  Block* block = nullptr;
  Thread* thread = nullptr;
  unsigned grid_barriers = 0;
  unsigned idle_rounds = 0;  // rounds in which threads did nothing but spin
  char done = 0;             // an address for ThreadSanitizer's order of events
  std::string error = {};
  std::string reported = {};  // where AddressSanitizer had its first report
};
inline Launch* running = nullptr;

inline const char* base_name(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

inline std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));
inline std::string text(const char* format, ...) {
  char buffer[512];
  va_list values;
  va_start(values, format);
  vsnprintf(buffer, sizeof buffer, format, values);
  va_end(values);
  return buffer;
}

inline std::string name_of(const Block& block, const Thread& thread) {
  return text("block (%u,%u,%u), thread (%u,%u,%u)", block.index.x, block.index.y, block.index.z,
              thread.index.x, thread.index.y, thread.index.z);
}

inline std::string whereabouts(const Thread& thread) {
  if (thread.state == State::gone) return "has left the kernel";
  return text("waits at %s, %s:%d", thread.what, base_name(thread.place.file), thread.place.line);
}

inline void set_error(const std::string& where, Place place, const std::string& message) {
  if (!running->error.empty()) return;
  running->error = text("kernel '%s', %s, %s:%d: ", running->kernel, where.c_str(),
                        base_name(place.file), place.line) + message;
}

inline void run_thread() {
  Thread& me = *running->thread;
  me.fiber.arrive();
  running->body(running->arguments);
  me.state = State::gone;
  me.fiber.leave(true);
}

inline void resume(Block& block, Thread& thread) {
  running->block = &block, running->thread = &thread;
  threadIdx = thread.index, blockIdx = block.index;
  thread.fiber.resume();
  if (thread.fiber.overflowed())
    set_error(name_of(block, thread), thread.place, "its local variables overflow the stack");
  if (thread.state != State::gone) return;
  ++block.gone;
  thread.fiber.release(&running->done);
}

inline void wait(State state, const char* what, Place place) {
  Thread& me = *running->thread;
  me.state = state, me.what = what, me.place = place;
  me.fiber.leave(false);
}

#if defined(EMULATOR_ADDRESS)
inline void note_report(const char*) {
  if (running == nullptr || !running->reported.empty()) return;
  running->reported = text("kernel '%s', %s", running->kernel,
                           name_of(*running->block, *running->thread).c_str());
}
#endif

}  // namespace emulator
