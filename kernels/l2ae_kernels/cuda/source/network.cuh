// What the kernels of the network share: the number type, and the end of every sum.
//
// Arrays have a leading model axis: many networks of one shape are trained at once, and the last
// axis of the grid is the model. `..._models` is the distance between two models, in elements; 0
// where all models read the same array.
//
// A batch has room for equally many samples of each model; `counts` (models) says how many there are.
// What lies behind them is absent: it adds nothing to the loss, and the gradient that begins its way
// back is 0, so it adds nothing to any other. `twice_factors` (models) are those of the losses, times
// 2. Both are null where all samples are there.

#pragma once

#include "types.cuh"

// The adjoint of an activation whose output is y: `value` where y is positive, else slope · value.
// A null y is no activation.
__device__ __forceinline__ real gated(real value, const real* y, int64 index, real slope) {
  return !y || y[index] > 0 ? value : slope * value;
}

// The epilogue: what becomes of a finished sum before it is written.
//
//   forward   y  = sum + b, times slope where that is not positive                (y is null)
//   backward  dx = sum, times slope where y, the output of the activation below, is not positive
//
// A null bias adds nothing; slope 1 is no activation, 0 is ReLU. Reads one number of `bias` and one
// of `y`, where they are given.
__device__ __forceinline__ real
finish(real sum, const real* bias, int64 feature, const real* y, int64 index, real slope) {
  const real value = bias ? sum + bias[feature] : sum;
  if (y) return gated(value, y, index, slope);
  return value > 0 ? value : slope * value;
}

// Write four floats at a multiple of 16 bytes at once. The compiler may split the assignment of a
// float4 into four, which take four times the sectors.
__device__ __forceinline__ void store(float* to, float a, float b, float c, float d) {
#if defined(L2AE_EMULATOR)
  reinterpret_cast<float4&>(*to) = make_float4(a, b, c, d);
#else
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(__cvta_generic_to_global(to)), "f"(a), "f"(b), "f"(c), "f"(d)
               : "memory");
#endif
}
