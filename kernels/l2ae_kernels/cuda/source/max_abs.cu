// The largest |x|, and whether x holds NaN or infinity, in one pass and one number.
//
// The bits of a positive float are ordered as its value is, infinity lies above all numbers and NaN
// above infinity: an integer maximum of the bits without their sign sees all three, and does not
// depend on the order. Floats are compared as doubles, which hold them exactly.
// A thread reads n·d / threads numbers side by side with its neighbours.
#include "types.cuh"

// Raise a number to the largest that the threads of a warp have; all lanes must call it.
__device__ inline void raise_to(uint64* largest, uint64 own) {
  for (int reach = 16; reach > 0; reach /= 2) {
    uint64 other = __shfl_down_sync(0xffffffffu, own, reach);
    own = other > own ? other : own;
  }
  if (threadIdx.x % 32 == 0) atomicMax(largest, own);
}

extern "C" __global__ void __launch_bounds__(256)
    max_abs(const real* __restrict__ x, int64 size, uint64* largest) {
  uint64 own = 0;
  for (int64 e = (int64)blockIdx.x * blockDim.x + threadIdx.x; e < size;
       e += (int64)gridDim.x * blockDim.x) {
    double value = fabs((double)x[e]);  // exact; NaN stays NaN
    uint64 bits = (uint64)__double_as_longlong(value);
    own = bits > own ? bits : own;
  }
  raise_to(largest, own);
}

// The largest of labels (n), for which one below zero is larger than all others: the host compares
// one number with k. A thread reads n / threads labels.
extern "C" __global__ void __launch_bounds__(256)
    max_label(const int* __restrict__ labels, int64 n, uint64* largest) {
  uint64 own = 0;
  for (int64 e = (int64)blockIdx.x * blockDim.x + threadIdx.x; e < n;
       e += (int64)gridDim.x * blockDim.x) {
    uint64 label = (unsigned)labels[e];
    own = label > own ? label : own;
  }
  raise_to(largest, own);
}
