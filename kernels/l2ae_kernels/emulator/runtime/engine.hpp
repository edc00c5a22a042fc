// What kernels ask of the engine, which runs every CUDA thread as a fiber (engine.cpp).
//
// A place is the file and line of the call: as a default argument it is the line of the .cu file.
#pragma once
#include <stddef.h>

struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// The engine sets these whenever another thread goes on, so that a debugger can print them.
#if !defined(EMULATOR_ENGINE)  // to a kernel they are constants
extern const uint3 threadIdx, blockIdx;
extern const dim3 blockDim, gridDim;
#endif
constexpr int warpSize = 32;

namespace emulator {

struct Place { const char* file; int line; };
#define EMULATOR_HERE emulator::Place place = {__builtin_FILE(), __builtin_LINE()}

// Stop the launch: the message, behind the names of kernel, block and thread, reaches Python.
[[noreturn]] void fail(Place place, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Wait for all threads of the block; the answers count the threads whose predicate holds.
struct Votes { int holds, threads; };
Votes block_barrier(const char* what, int predicate, Place place);

// Wait for the lanes of `mask`; then `receive` holds what lane `source` sends, or, for `all_lanes`,
// what every lane of the mask sends, one behind the other at lane * bytes.
constexpr int all_lanes = -1;
void exchange(const char* what, unsigned mask, const void* send, size_t bytes, int source,
              void* receive, Place place);
int lane();

// Wait for all threads of all blocks; returns how many such barriers are passed.
unsigned grid_barrier(Place place);

// Let other threads go on: what a thread that spins has to call (__nanosleep).
void yield(Place place);

// Shared memory of the block: filled with 0xFF, and with 0xFF between the variables.
// A slot is for a variable that the text of a kernel declares; "" for one of another function, whose
// bytes are known only when it is met.
int new_slot(const char* kernel = "", size_t bytes = 0);
size_t static_shared(const char* kernel);
void* shared_variable(int slot, size_t bytes, const char* name, Place place);
void* dynamic_shared();

// Stop unless `shared` is an address of shared memory and a multiple of `bytes`.
void check_row(const char* what, const void* shared, int bytes, Place place);

// Where that memory begins; whether an address lies in it, and whether bytes lie in one variable.
char* shared_base();
bool in_shared_memory(const void* address);
bool shared_holds(const void* start, size_t bytes);

// Asynchronous copies of this thread, in groups, as cp.async has them.
struct Copy { void* to; const void* from; int bytes; };  // from null: zeros
void check_copy(const void* shared, const void* global, int bytes, Place place);
void issue_copy(Copy copy);
void commit_copies();
bool next_copy(int groups_left, Copy* copy);  // the oldest one beyond the latest groups, if any

// ThreadSanitizer's fibers that wait for the next launch: it has room for 8000 of them in a process,
// and takes its time to make one. Python keeps them for all libraries.
struct Spares {
  static constexpr size_t capacity = 4096;
  void* fibers[capacity];
  size_t count;
};

// A launch, as Python asks for it.
struct Request {
  unsigned grid[3], block[3];
  size_t dynamic_shared;
  unsigned max_threads;  // __launch_bounds__
  int order;             // 0 ascending, 1 descending, 2 shuffled
  unsigned seed;
  int cooperative;
  Spares* spares;
};
int launch(const char* kernel, const Request& request, void (*body)(const void*),
           const void* arguments, char* error, size_t error_size);

}  // namespace emulator
