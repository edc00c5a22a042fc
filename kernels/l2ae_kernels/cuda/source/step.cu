// What a training step has besides its network: the batch, and its place in a list of batches.
//
// The place is in device memory: position = {first index of the batch, number of the step}. The
// launches of a step are then the same for every step, and one captured graph serves a whole list.

#include "network.cuh"

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

// The end of a step: losses[step][model] = errors[model] / divisor, errors = 0, and the position of
// the next step. One block: it alone reads and moves the position. Reads and writes one number a
// model.
extern "C" __global__ void end_step(
    double* errors, double* losses, int64* position, int64 models, int64 batch, double divisor) {
  const int64 step = position[1];
  for (int64 model = threadIdx.x; model < models; model += blockDim.x) {
    losses[step * models + model] = errors[model] / divisor;
    errors[model] = 0;
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  position[0] += models * batch;
  position[1] = step + 1;
}
