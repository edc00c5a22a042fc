// CUDA's words for a C++ compiler on a CPU. The emulator puts this in front of every .cu text.
//
// `__global__` and `__shared__` are left to translate.py, which reads the preprocessed text.
#pragma once
#define L2AE_EMULATOR 1

#include <type_traits>
#include <utility>

// libstdc++ would read Bessel functions and the like with <math.h>, which take as long to compile as
// all other headers here.
#undef _GLIBCXX_USE_STD_SPEC_FUNCS

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine.hpp"
// the rest of the vocabulary
#include "vectors.hpp"
#include "intrinsics.hpp"
#include "atomics.hpp"
#include "warp.hpp"
#include "block_barriers.hpp"
#include "export.hpp"

#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) alignas(n)
