// Mathematics and bits under CUDA's names; the fast forms (__expf) are exact here.
//
// A GPU contracts a * b + c to one fused operation where it can, this compiler is told not to:
// compare results with a tolerance, or write fmaf.
#pragma once
#include "engine.hpp"

template <class A, class B> constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <class A, class B> constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10.0f, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __fdividef(float x, float y) { return x / y; }

inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return float(1.0 / sqrt(double(x))); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __ddiv_rn(double x, double y) { return x / y; }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
inline double __dsqrt_rn(double x) { return sqrt(x); }

namespace emulator {
template <class To, class From> To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits: the sizes differ");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
// As the hardware converts: to the nearest end of the range, and 0 for NaN in 32 bits.
template <class To> To saturate(double x) {
  constexpr To low = To(sizeof(To) == 4 ? (To(-1) < To(0) ? INT32_MIN : 0) : INT64_MIN);
  constexpr To high = To(sizeof(To) == 4 ? (To(-1) < To(0) ? INT32_MAX : UINT32_MAX) : INT64_MAX);
  if (x != x) return To(0);
  return x <= double(low) ? low : x >= double(high) ? high : To(x);
}
}  // namespace emulator

inline int __float_as_int(float x) { return emulator::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emulator::bits<unsigned>(x); }
inline float __int_as_float(int x) { return emulator::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emulator::bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulator::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulator::bits<double>(x); }

inline int __float2int_rn(float x) { return emulator::saturate<int>(nearbyintf(x)); }
inline int __float2int_rz(float x) { return emulator::saturate<int>(truncf(x)); }
inline int __float2int_rd(float x) { return emulator::saturate<int>(floorf(x)); }
inline int __float2int_ru(float x) { return emulator::saturate<int>(ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return emulator::saturate<unsigned>(nearbyintf(x)); }
inline unsigned __float2uint_rz(float x) { return emulator::saturate<unsigned>(truncf(x)); }
inline long long __float2ll_rn(float x) { return emulator::saturate<long long>(nearbyintf(x)); }
inline long long __double2ll_rn(double x) { return emulator::saturate<long long>(nearbyint(x)); }
inline int __double2int_rn(double x) { return emulator::saturate<int>(nearbyint(x)); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __ll2float_rn(long long x) { return float(x); }
inline double __ll2double_rn(long long x) { return double(x); }
inline float __double2float_rn(double x) { return float(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __clzll(long long x) {
  return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x));
}
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1u) << (31 - bit);
  return reversed;
}
inline int __mulhi(int x, int y) { return int((long long)x * y >> 32); }
inline unsigned __umulhi(unsigned x, unsigned y) {
  return unsigned((unsigned long long)x * y >> 32);
}

template <class T> T __ldg(const T* address) { return *address; }
template <class T> T __ldcs(const T* address) { return *address; }
template <class T> T __ldcg(const T* address) { return *address; }
template <class T> void __stcs(T* address, T value) { *address = value; }
template <class T> void __stcg(T* address, T value) { *address = value; }

inline void __nanosleep(unsigned, EMULATOR_HERE) { emulator::yield(place); }
[[noreturn]] inline void __trap(EMULATOR_HERE) { emulator::fail(place, "__trap"); }
