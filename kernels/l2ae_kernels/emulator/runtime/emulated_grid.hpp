// grid.cuh on a CPU: all blocks of a cooperative launch are there as fibers, so they can wait.
#pragma once
#include "cuda.hpp"

inline void grid_barrier(unsigned* counter, EMULATOR_HERE) {
  unsigned passed = emulator::grid_barrier(place);
  if (threadIdx.x != 0 || threadIdx.y != 0 || threadIdx.z != 0) return;
  // the device counts in the same variable, where a start other than 0 would open a barrier early
  unsigned ticket = atomicAdd(counter, 1u);
  if (ticket / (gridDim.x * gridDim.y * gridDim.z) + 1 != passed)
    emulator::fail(place, "grid_barrier: the counter has to be 0 when the kernel starts");
}
