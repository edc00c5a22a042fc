// Shuffles, votes, reductions and matches of the lanes that `mask` names.
//
// Every lane of the mask that has not left the kernel has to come to the same line; to read a lane
// that is not in the mask, has left or does not exist is an error, where a GPU gives anything.
#pragma once
#include "engine.hpp"

namespace emulator {

template <class T> T shuffle(const char* what, unsigned mask, T value, int source, Place place) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "a shuffle takes numbers of 4 or 8 bytes");
  T received;
  exchange(what, mask, &value, sizeof value, source, &received, place);
  return received;
}

template <class T> struct Lanes {  // what every lane of the mask sent
  unsigned mask;
  T values[32];
  bool has(int lane) const { return (mask >> lane & 1u) != 0; }
};

template <class T> Lanes<T> gather(const char* what, unsigned mask, T value, Place place) {
  Lanes<T> lanes = {mask, {}};
  exchange(what, mask, &value, sizeof value, all_lanes, lanes.values, place);
  return lanes;
}

template <class T, class Combine>
T reduce(const char* what, unsigned mask, T value, Combine combine, Place place) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>,
                "__reduce_*_sync takes int or unsigned");
  Lanes<T> lanes = gather(what, mask, value, place);
  T result = value;
  for (int other = 0; other < 32; ++other)
    if (lanes.has(other) && other != lane()) result = combine(result, lanes.values[other]);
  return result;
}

inline unsigned ballot(const char* what, unsigned mask, int predicate, Place place) {
  Lanes<int> lanes = gather(what, mask, int(predicate != 0), place);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (lanes.has(lane) && lanes.values[lane] != 0) bits |= 1u << lane;
  return bits;
}

}  // namespace emulator

inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_HERE) {
  emulator::exchange("__syncwarp", mask, nullptr, 0, emulator::all_lanes, nullptr, place);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_HERE) {
  int first = emulator::lane() & ~(width - 1);
  return emulator::shuffle("__shfl_sync", mask, value, first | (source & (width - 1)), place);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_HERE) {
  int lane = emulator::lane(), source = lane - int(delta);
  if (source < (lane & ~(width - 1))) source = lane;
  return emulator::shuffle("__shfl_up_sync", mask, value, source, place);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_HERE) {
  int lane = emulator::lane(), source = lane + int(delta);
  if (source > (lane | (width - 1))) source = lane;
  return emulator::shuffle("__shfl_down_sync", mask, value, source, place);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, EMULATOR_HERE) {
  int lane = emulator::lane(), source = lane ^ lane_mask;
  if (source > (lane | (width - 1))) source = lane;
  return emulator::shuffle("__shfl_xor_sync", mask, value, source, place);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_HERE) {
  return emulator::ballot("__ballot_sync", mask, predicate, place);
}
inline int __any_sync(unsigned mask, int predicate, EMULATOR_HERE) {
  return emulator::ballot("__any_sync", mask, predicate, place) != 0;
}
inline int __all_sync(unsigned mask, int predicate, EMULATOR_HERE) {
  return emulator::ballot("__all_sync", mask, predicate == 0, place) == 0;
}

template <class T> T __reduce_add_sync(unsigned mask, T value, EMULATOR_HERE) {
  return emulator::reduce("__reduce_add_sync", mask, value, [](T a, T b) { return a + b; }, place);
}
template <class T> T __reduce_min_sync(unsigned mask, T value, EMULATOR_HERE) {
  return emulator::reduce("__reduce_min_sync", mask, value, [](T a, T b) { return b < a ? b : a; },
                          place);
}
template <class T> T __reduce_max_sync(unsigned mask, T value, EMULATOR_HERE) {
  return emulator::reduce("__reduce_max_sync", mask, value, [](T a, T b) { return a < b ? b : a; },
                          place);
}
template <class T> T __reduce_and_sync(unsigned mask, T value, EMULATOR_HERE) {
  return emulator::reduce("__reduce_and_sync", mask, value, [](T a, T b) { return a & b; }, place);
}
template <class T> T __reduce_or_sync(unsigned mask, T value, EMULATOR_HERE) {
  return emulator::reduce("__reduce_or_sync", mask, value, [](T a, T b) { return a | b; }, place);
}
template <class T> T __reduce_xor_sync(unsigned mask, T value, EMULATOR_HERE) {
  return emulator::reduce("__reduce_xor_sync", mask, value, [](T a, T b) { return a ^ b; }, place);
}

template <class T> unsigned __match_any_sync(unsigned mask, T value, EMULATOR_HERE) {
  emulator::Lanes<T> lanes = emulator::gather("__match_any_sync", mask, value, place);
  unsigned same = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (lanes.has(lane) && lanes.values[lane] == value) same |= 1u << lane;
  return same;
}
