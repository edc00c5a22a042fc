// What a training step has besides its network: the batch, its place in a list of batches, and the
// count of steps.
//
// The place is in device memory: position = {first index of the batch, number of the step}. The
// launches of a step are then the same for every step, and one captured graph serves a whole list.

#include "network.cuh"
#include "warp.cuh"

#ifdef BYTES  // images of the values 0 … 255
typedef unsigned char pixel;
__device__ __forceinline__ real grey(pixel value) { return (real)((float)value / 255.0f); }
#else
typedef real pixel;
__device__ __forceinline__ real grey(pixel value) { return value; }
#endif

// x[model][sample] = images[index of that sample], for the samples first, first + 1, … of a batch.
//
// indices: the batches of the list one after the other, each (models, batch). Bytes are divided by
// 255 and rounded once, as the host divides, so an epoch moves a quarter of the bytes and every
// image has the host's float32. A block has one sample; its threads read and write numbers side by
// side. grid (samples, 1, models).
extern "C" __global__ void gather_images(
    const pixel* images, const int* indices, const int64* position, real* x, int64 batch,
    int64 first, int64 samples, int64 features) {
  const int64 model = blockIdx.z, sample = blockIdx.x;
  const pixel* image = images + indices[position[0] + model * batch + first + sample] * features;
  x += (model * samples + sample) * features;
  for (int64 feature = threadIdx.x; feature < features; feature += blockDim.x)
    x[feature] = grey(image[feature]);
}

// Step t of Adam begins, once the loss is known: state = {t, β₁ᵗ, β₂ᵗ} goes on by one step, and
// numbers = {rate, root} become those of adam_step.
//
//   "keras": rate = η √(1 − β₂ᵗ) / (1 − β₁ᵗ), root = 1
//   "torch": rate = η / (1 − β₁ᵗ), root = √(1 − β₂ᵗ)
//
// The powers are running products: no pow, and a launch that was captured in a graph counts with
// every replay.
//
// With parts (count, models), also errors[model] = Σ parts: a warp a model, a lane every 32nd part,
// lanes added as a tree; losses[step][model] = errors[model] / divisor; and the position becomes that
// of the next step. One block: it alone reads and moves the position.
extern "C" __global__ void __launch_bounds__(256) begin_step(
    double* state, real* numbers, double learning_rate, double beta1, double beta2, int keras,
    const double* parts, int64 count, double* errors, double* losses, int64* position, int64 models,
    int64 batch, double divisor) {
  if (parts) {
    const int64 step = position[1];
    for (int64 model = threadIdx.x / 32; model < models; model += blockDim.x / 32) {
      double sum = 0;
      for (int64 p = threadIdx.x % 32; p < count; p += 32) sum += parts[p * models + model];
      sum = sum_of_warp(sum);
      if (threadIdx.x % 32 == 0) {
        errors[model] = sum;
        losses[step * models + model] = sum / divisor;
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      position[0] += models * batch;
      position[1] = step + 1;
    }
  }
  if (threadIdx.x > 0) return;
  const double power1 = state[1] * beta1, power2 = state[2] * beta2;
  state[0] += 1;
  state[1] = power1;
  state[2] = power2;
  const double rate = learning_rate / (1 - power1), root = sqrt(1 - power2);
  numbers[0] = (real)(keras ? rate * root : rate);
  numbers[1] = (real)(keras ? 1 : root);
}
