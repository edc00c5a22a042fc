// The type of the numbers: float, or double with -DREAL=double.
#pragma once

#ifndef REAL
#define REAL float
#endif

__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double multiply_add(double a, double b, double c) { return fma(a, b, c); }

// Larger than every number: where a search for the smallest starts.
__device__ inline REAL infinity() { return (REAL)__int_as_float(0x7f800000); }
