// The types of the numbers: samples and weights are `real`, counts and offsets have 64 bits, since
// 70,000 images have more than 2^31 features.
#pragma once

#ifndef REAL
#define REAL float  // or double, with -DREAL=double
#endif

typedef REAL real;
typedef long long int64;
typedef unsigned long long uint64;

__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double multiply_add(double a, double b, double c) { return fma(a, b, c); }

// Larger than every number: where a search for the smallest starts.
__device__ inline real infinity() { return (real)__int_as_float(0x7f800000); }
