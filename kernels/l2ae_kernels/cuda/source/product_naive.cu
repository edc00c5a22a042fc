// Rung 1 of the dense products: one thread, one number of the result.
//
//                      rows      columns   depth     A   B    C
//   dense              samples   outputs   inputs    x   W    y
//   dense_adjoint_x    samples   inputs    outputs   dy  Wᵀ   dx
//   dense_adjoint_W    inputs    outputs   samples   xᵀ  dy   dW
//
// C[row][column] = finish(Σ_d A[row][d] B[d][column]). One kernel does all three: where an operand
// is transposed, its rows are A_row and its depths A_depth numbers apart the other way round.
//
// A warp has 32 neighbouring columns of one row. Each thread reads 2·depth numbers from global
// memory for 2·depth operations and writes one number: the kernel is as slow as the caches, and
// where B lies by depth the 32 reads of a warp are 32 cache lines.

#include "network.cuh"

extern "C" __global__ void product_naive(
    const real* A, const real* B, real* C, int64 rows, int64 columns, int64 depth, int64 A_models,
    int64 B_models, int64 C_models, const real* bias, int64 bias_models, const real* y, real slope,
    int64 A_row, int64 A_depth, int64 B_column, int64 B_depth) {
  const int64 row = (int64)blockIdx.x * blockDim.y + threadIdx.y;
  const int64 column = (int64)blockIdx.y * blockDim.x + threadIdx.x;
  const int64 model = blockIdx.z;
  if (row >= rows || column >= columns) return;
  A += model * A_models;
  B += model * B_models;
  real sum = 0;
  for (int64 d = 0; d < depth; ++d) {
    sum += A[row * A_row + d * A_depth] * B[column * B_column + d * B_depth];
  }
  const int64 index = model * C_models + row * columns + column;
  const real* model_bias = bias ? bias + model * bias_models : nullptr;
  C[index] = finish(sum, model_bias, column, y, index, slope);
}
