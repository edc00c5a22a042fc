// What a training step has besides its network: the batch, its place in a list of batches, and the
// count of steps.
//
// The place is in device memory: position = {first index of the batch, number of the step}. The
// launches of a step are then the same for every step, and one captured graph serves a whole list.
// counts (steps, models) of the list: the images that a model has in a batch. One with fewer than
// `batch` has the rest of its arrays filled up with others, which are absent (network.cuh); one
// without any pauses: its loss is NaN, and its parameters and its count of steps stay as they are.

#include "network.cuh"
#include "warp.cuh"

#ifdef BYTES  // images of the values 0 … 255
typedef unsigned char pixel;
__device__ __forceinline__ real grey(pixel value) { return (real)((float)value / 255.0f); }
#else
typedef real pixel;
__device__ __forceinline__ real grey(pixel value) { return value; }
#endif

// What is there of a model in the samples first, first + 1, … of a batch, and the factor of its
// loss, twice: the loss is Σ (x̂ − x)² / (images of the batch · numbers).
__device__ __forceinline__ void set_present(
    const int* counts, const int64* position, int* present, real* twice_factors, int64 model,
    int64 models, int64 first, int64 samples, double numbers) {
  const int64 count = counts[position[1] * models + model];
  present[model] = (int)max((int64)0, min(count - first, samples));
  twice_factors[model] = (real)(2 * (1 / (max(count, (int64)1) * numbers)));
}

// The same for images that come from elsewhere: a thread a model. grid (⌈models/256⌉).
extern "C" __global__ void __launch_bounds__(256) begin_images(
    const int* counts, const int64* position, int* present, real* twice_factors, int64 models,
    int64 first, int64 samples, double numbers) {
  const int64 model = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (model < models)
    set_present(counts, position, present, twice_factors, model, models, first, samples, numbers);
}

// x[model][sample] = images[index of that sample], for the samples first, first + 1, … of a batch.
//
// indices: the batches of the list one after the other, each (models, batch). Bytes are divided by
// 255 and rounded once, as the host divides, so an epoch moves a quarter of the bytes and every
// image has the host's float32. A block has one sample; its threads read and write numbers side by
// side. grid (samples, 1, models).
extern "C" __global__ void gather_images(
    const pixel* images, const int* indices, const int* counts, const int64* position, real* x,
    int* present, real* twice_factors, int64 batch, int64 first, int64 samples, int64 features,
    double numbers) {
  const int64 model = blockIdx.z, sample = blockIdx.x;
  if (sample == 0 && threadIdx.x == 0)
    set_present(
        counts, position, present, twice_factors, model, gridDim.z, first, samples, numbers);
  const pixel* image = images + indices[position[0] + model * batch + first + sample] * features;
  x += (model * samples + sample) * features;
  for (int64 feature = threadIdx.x; feature < features; feature += blockDim.x)
    x[feature] = grey(image[feature]);
}

// Step t of Adam begins, once the losses are known: of each model, state = {t, β₁ᵗ, β₂ᵗ} goes on by
// one step, and numbers = {rate, root} become those of adam_step.
//
//   "keras": rate = η √(1 − β₂ᵗ) / (1 − β₁ᵗ), root = 1
//   "torch": rate = η / (1 − β₁ᵗ), root = √(1 − β₂ᵗ)
//
// The powers are running products: no pow, and a launch that was captured in a graph counts with
// every replay.
//
// With parts (count, models), also losses[step][model] = Σ parts / (its images · numbers_of_image),
// a warp a model, a lane every 32nd part, lanes added as a tree; the same to `now`, where adam_step
// finds it; and the position becomes that of the next step. A model without images has the loss NaN,
// and does not go on. One block: it alone reads and moves the position.
extern "C" __global__ void __launch_bounds__(256) begin_step(
    double* state, real* numbers, double learning_rate, double beta1, double beta2, int keras,
    int64 models, const double* parts, int64 count, const int* counts, double* now, double* losses,
    int64* position, int64 batch, double numbers_of_image) {
  const int64 step = parts ? position[1] : 0;
  for (int64 model = threadIdx.x / 32; model < models; model += blockDim.x / 32) {
    if (parts) {
      const int images = counts[step * models + model];
      double sum = 0;
      for (int64 p = threadIdx.x % 32; p < count; p += 32) sum += parts[p * models + model];
      sum = sum_of_warp(sum);
      const double loss = sum / (images * numbers_of_image);
      if (threadIdx.x % 32 == 0) now[model] = losses[step * models + model] = loss;
      if (images == 0) continue;
    }
    if (threadIdx.x % 32 > 0) continue;
    double* own = state + 3 * model;
    const double power1 = own[1] * beta1, power2 = own[2] * beta2;
    own[0] += 1;
    own[1] = power1;
    own[2] = power2;
    const double rate = learning_rate / (1 - power1), root = sqrt(1 - power2);
    numbers[2 * model] = (real)(keras ? rate * root : rate);
    numbers[2 * model + 1] = (real)(keras ? 1 : root);
  }
  if (!parts) return;
  __syncthreads();
  if (threadIdx.x > 0) return;
  position[0] += models * batch;
  position[1] = step + 1;
}
