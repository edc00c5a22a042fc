// Instructions of PTX in C++: what ptx/translate.py writes calls them. Numbers in parentheses are
// sections of NVIDIA's "PTX ISA".
//
// A register is a float, a double or its bits: bool, u8, u16, u32 or u64. as<T> reads one as another
// type, put writes one.
#pragma once
#include <cfenv>
#include <cmath>
#include <limits>

#include "cuda.hpp"

// Kernels are thousands of statements and run a few times: they are left as they are, and what they
// call is optimized.
#if defined(__clang__)
#define PTX_FUNCTION __attribute__((optnone, noinline)) static void
#else
#define PTX_FUNCTION __attribute__((optimize("O0"))) static void
#endif

namespace ptx {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned;
using u64 = unsigned long long;
using s8 = signed char;
using s16 = short;
using s32 = int;
using s64 = long long;
using f32 = float;
using f64 = double;
using emulator::Place;

template <class T, class Register> inline T as(Register bits) {
  T number = T();
  memcpy(&number, &bits, sizeof(T) < sizeof bits ? sizeof(T) : sizeof bits);
  return number;
}
// A wider register takes a number sign-extended or zero-extended, by the number's type (9.4.1).
template <class Register, class T> inline void put(Register& to, T number) {
  if constexpr (std::is_same_v<T, Register>) {
    to = number;
  } else if constexpr (std::is_integral_v<T> && std::is_integral_v<Register>) {
    to = Register(number);
  } else {
    to = Register();
    memcpy(&to, &number, sizeof(T) < sizeof to ? sizeof(T) : sizeof to);
  }
}
template <class T> using Unsigned = std::make_unsigned_t<T>;
template <class T> constexpr bool is_float = std::is_floating_point_v<T>;
template <class T> constexpr u32 width = 8 * sizeof(T);

// .ftz: a subnormal number is a zero of its sign (9.7.3).
inline f32 flush(f32 x) {
  u32 bits = as<u32>(x);
  return (bits & 0x7f800000u) == 0 ? as<f32>(bits & 0x80000000u) : x;
}
// .sat: to [0, 1], NaN to 0.
template <class T> inline T saturate(T x) { return x > 0 ? (x < 1 ? x : T(1)) : T(0); }

// ------------------------------------------------------------------ arithmetic (9.7.1, 9.7.3)

template <class T> inline T add(T a, T b) {
  if constexpr (is_float<T>) return a + b;
  else return T(Unsigned<T>(a) + Unsigned<T>(b));
}
template <class T> inline T sub(T a, T b) {
  if constexpr (is_float<T>) return a - b;
  else return T(Unsigned<T>(a) - Unsigned<T>(b));
}
template <class T> inline T mul(T a, T b) { return a * b; }
inline f32 fma(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
inline f64 fma(f64 a, f64 b, f64 c) { return ::fma(a, b, c); }

template <class T> struct Twice;
template <> struct Twice<s16> { using type = s32; };
template <> struct Twice<u16> { using type = u32; };
template <> struct Twice<s32> { using type = s64; };
template <> struct Twice<u32> { using type = u64; };
template <> struct Twice<s64> { using type = __int128; };
template <> struct Twice<u64> { using type = unsigned __int128; };
template <class T> using Wide = typename Twice<T>::type;

template <class T> inline Wide<T> mul_wide(T a, T b) { return Wide<T>(a) * Wide<T>(b); }
template <class T> inline T mul_lo(T a, T b) { return T(mul_wide(Unsigned<T>(a), Unsigned<T>(b))); }
template <class T> inline T mul_hi(T a, T b) { return T(mul_wide(a, b) >> width<T>); }
template <class T> inline Wide<T> mad_wide(T a, T b, Wide<T> c) { return add(mul_wide(a, b), c); }
template <class T> inline T mad_lo(T a, T b, T c) { return add(mul_lo(a, b), c); }
template <class T> inline T mad_hi(T a, T b, T c) { return add(mul_hi(a, b), c); }

// .rz, .rm, .rp (9.7.3): volatile keeps the operation between the two changes of the mode.
template <class Operation, class T>
inline T rounded(int mode, Operation operation, T a, T b = T(), T c = T()) {
  volatile T x = a, y = b, z = c;
  std::fesetround(mode);
  volatile T result = operation(T(x), T(y), T(z));
  std::fesetround(FE_TONEAREST);
  return result;
}

// With the carry of the condition code register (9.7.2): `carry` comes in, and the new one goes out.
template <class T> inline T add_carry(T a, T b, bool& carry) {
  Unsigned<T> once = Unsigned<T>(Unsigned<T>(a) + Unsigned<T>(b)), sum = Unsigned<T>(once + carry);
  carry = once < Unsigned<T>(a) || sum < once;
  return T(sum);
}
template <class T> inline T sub_carry(T a, T b, bool& borrow) {
  Unsigned<T> x = Unsigned<T>(a), y = Unsigned<T>(b), difference = Unsigned<T>(x - y - borrow);
  borrow = x < y || (x == y && borrow);
  return T(difference);
}

// By zero an integer quotient has all bits set; the ISA leaves it open, hardware does this.
template <class T> inline T div(T a, T b) {
  if constexpr (is_float<T>) return a / b;
  else return b == 0 ? T(-1) : b == T(-1) && std::is_signed_v<T> ? sub(T(0), a) : T(a / b);
}
template <class T> inline T rem(T a, T b) {
  return b == 0 ? a : b == T(-1) && std::is_signed_v<T> ? T(0) : T(a % b);
}
// Of a number and NaN the number; −0 is less than +0.
template <class T> inline T min(T a, T b) {
  if constexpr (is_float<T>) {
    if (a != a || b != b) return a != a ? b : a;
    if (a == b) return std::signbit(a) ? a : b;
  }
  return b < a ? b : a;
}
template <class T> inline T max(T a, T b) {
  if constexpr (is_float<T>) {
    if (a != a || b != b) return a != a ? b : a;
    if (a == b) return std::signbit(a) ? b : a;
  }
  return a < b ? b : a;
}
template <class T> inline T neg(T a) {
  if constexpr (is_float<T>) return -a;
  else return sub(T(0), a);
}
template <class T> inline T abs(T a) {
  if constexpr (is_float<T>) return std::fabs(a);
  else return a < 0 ? neg(a) : a;
}
template <class T> inline T sad(T a, T b, T c) {
  return add(c, a < b ? sub(b, a) : sub(a, b));
}
// The approximations (.approx, .full) are exact here, as far as a double goes.
template <class T> inline T rcp(T x) { return T(1 / x); }
template <class T> inline T sqrt(T x) { return std::sqrt(x); }
template <class T> inline T rsqrt(T x) { return T(1 / std::sqrt(f64(x))); }
template <class T> inline T ex2(T x) { return T(std::exp2(f64(x))); }
template <class T> inline T lg2(T x) { return T(std::log2(f64(x))); }
template <class T> inline T sin(T x) { return T(std::sin(f64(x))); }
template <class T> inline T cos(T x) { return T(std::cos(f64(x))); }
template <class T> inline T tanh(T x) { return T(std::tanh(f64(x))); }
template <class T> inline T copysign(T sign, T x) { return std::copysign(x, sign); }
template <class T> inline bool finite(T x) { return std::isfinite(x); }
template <class T> inline bool infinite(T x) { return std::isinf(x); }
template <class T> inline bool number(T x) { return x == x; }
template <class T> inline bool notanumber(T x) { return x != x; }
template <class T> inline bool normal(T x) { return std::isnormal(x); }
template <class T> inline bool subnormal(T x) { return std::fpclassify(x) == FP_SUBNORMAL; }

// ------------------------------------------------------------------ comparison (9.3.1)

// Where a float is NaN, an ordered comparison is false and an unordered one (.ltu) true.
template <class T> inline bool ordered(T a, T b) { return a == a && b == b; }

// ------------------------------------------------------------------ bits (9.7.1, 9.7.8)

template <class T> inline T shl(T a, u32 n) { return n >= width<T> ? T(0) : T(a << n); }
template <class T> inline T shr(T a, u32 n) {
  return n >= width<T> ? (a < T(0) ? T(-1) : T(0)) : T(a >> n);
}
inline u32 shf_l(u32 a, u32 b, u32 n) { return u32(((u64(b) << 32 | a) << n) >> 32); }
inline u32 shf_r(u32 a, u32 b, u32 n) { return u32((u64(b) << 32 | a) >> n); }
template <class T> inline u32 popc(T a) { return u32(__builtin_popcountll(a)); }
template <class T> inline u32 clz(T a) {
  return a == 0 ? width<T> : u32(__builtin_clzll(a)) - (64 - width<T>);
}
template <class T> inline T brev(T a) {
  T reversed = 0;
  for (u32 bit = 0; bit < width<T>; ++bit) reversed |= (a >> bit & 1) << (width<T> - 1 - bit);
  return reversed;
}
// The place of the highest bit that is not the sign's, from below; with .shiftamt, from above.
template <class T> inline u32 bfind(T a) {
  Unsigned<T> bits = Unsigned<T>(a < T(0) ? ~a : a);
  return bits == 0 ? ~0u : width<T> - 1 - clz(bits);
}
template <class T> inline u32 bfind_shiftamt(T a) {
  u32 found = bfind(a);
  return found == ~0u ? found : width<T> - 1 - found;
}
template <class T> inline T bfi(T a, T b, u32 position, u32 length) {
  position &= 255, length &= 255;
  if (length == 0 || position >= width<T>) return b;
  T mask = T((length >= width<T> ? ~T(0) : T((T(1) << length) - 1)) << position);
  return T((b & ~mask) | (T(a << position) & mask));
}
template <class T> inline T bfe(T a, u32 position, u32 length) {
  position &= 255, length &= 255;
  bool sign = false;
  if (std::is_signed_v<T> && length != 0) {
    u32 last = position + length - 1;
    sign = Unsigned<T>(a) >> (last < width<T> ? last : width<T> - 1) & 1;
  }
  Unsigned<T> result = sign ? ~Unsigned<T>(0) : 0;
  for (u32 i = 0; i < length && i < width<T> && position + i < width<T>; ++i) {
    Unsigned<T> bit = Unsigned<T>(1) << i;
    result = Unsigned<T>((result & ~bit) | ((Unsigned<T>(a) >> (position + i) & 1) << i));
  }
  return T(result);
}
// Bit i of the table is what three bits a, b, c with 4a + 2b + c = i give.
inline u32 lop3(u32 a, u32 b, u32 c, u32 table) {
  u32 result = 0;
  for (u32 i = 0; i < 8; ++i)
    if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return result;
}
inline u32 prmt(u32 a, u32 b, u32 selector) {
  u32 result = 0;
  for (u32 i = 0; i < 4; ++i) {
    u32 choice = selector >> (4 * i) & 15;
    u32 byte = u32((u64(b) << 32 | a) >> (8 * (choice & 7))) & 255;
    if (choice & 8) byte = byte & 128 ? 255 : 0;  // its sign, eight times
    result |= byte << (8 * i);
  }
  return result;
}

// ------------------------------------------------------------------ conversion (9.7.9.21)

inline f64 rni(f64 x) { return std::nearbyint(x); }
inline f64 rzi(f64 x) { return std::trunc(x); }
inline f64 rmi(f64 x) { return std::floor(x); }
inline f64 rpi(f64 x) { return std::ceil(x); }

// To the nearest end of the range. NaN is 0, where a side has 64 bits the highest bit alone.
template <class To, class From> inline To to_integer(f64 rounded) {
  constexpr To low = std::numeric_limits<To>::lowest(), high = std::numeric_limits<To>::max();
  if (rounded != rounded)
    return sizeof(From) < 8 && sizeof(To) < 8 ? To(0) : To(Unsigned<To>(1) << (width<To> - 1));
  return rounded <= f64(low) ? low : rounded >= f64(high) ? high : To(rounded);
}
template <class To, class From> inline To clamp(From x) {  // .sat of integers
  constexpr To low = std::numeric_limits<To>::lowest(), high = std::numeric_limits<To>::max();
  __int128 wide = x;
  return wide < low ? low : wide > high ? high : To(x);
}
// 10 bits of mantissa; to the nearest, ties away from zero.
inline u32 to_tf32(f32 x) {
  u32 bits = as<u32>(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x != x ? 0x7fffffffu : bits;
  return (bits + 0x1000u) & 0xffffe000u;
}
inline f32 from_bf16(u16 bits) { return as<f32>(u32(bits) << 16); }
inline u16 to_bf16(f32 x) {  // to the nearest, ties to even
  u32 bits = as<u32>(x);
  return x != x ? 0x7fff : u16((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline f64 from_f16(u16 bits) {
  u32 exponent = bits >> 10 & 31, mantissa = bits & 1023;
  f64 size = exponent == 0    ? std::ldexp(f64(mantissa), -24)
             : exponent == 31 ? (mantissa != 0 ? f64(NAN) : f64(INFINITY))
                              : std::ldexp(f64(1024 + mantissa), int(exponent) - 25);
  return bits & 0x8000 ? -size : size;
}
inline u16 to_f16(f64 x) {  // to the nearest, ties to even
  u16 sign = std::signbit(x) ? 0x8000 : 0;
  f64 size = std::fabs(x);
  if (x != x) return 0x7fff;
  if (size == 0) return sign;
  if (size >= 65520) return sign | 0x7c00;
  int exponent = 0;
  std::frexp(size, &exponent);
  exponent = exponent < -13 ? -13 : exponent;  // subnormal numbers share the least exponent
  u32 mantissa = u32(std::nearbyint(std::ldexp(size, 11 - exponent)));
  return u16(sign | (mantissa + (u32(exponent + 13) << 10)));
}

}  // namespace ptx

#include "ptx_memory.hpp"
#include "ptx_warp.hpp"
