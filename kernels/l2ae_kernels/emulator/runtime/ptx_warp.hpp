// What the lanes of a warp do together: shfl, vote, match, redux (9.7.9, 9.7.13), ldmatrix and mma
// (9.7.14).
#pragma once

namespace ptx {

// The lane that shfl reads, and whether it lies in the segment that `c` describes: bits 12 to 8
// mask the lane's number, bits 4 to 0 bound it.
struct Source { int lane; bool inside; };
inline Source shfl_up(int lane, int b, u32 c) {
  int most = (lane & int(c >> 8 & 31)) | int(c & ~(c >> 8) & 31);
  return {lane - b, lane - b >= most};
}
inline Source shfl_down(int lane, int b, u32 c) {
  int most = (lane & int(c >> 8 & 31)) | int(c & ~(c >> 8) & 31);
  return {lane + b, lane + b <= most};
}
inline Source shfl_bfly(int lane, int b, u32 c) {
  int most = (lane & int(c >> 8 & 31)) | int(c & ~(c >> 8) & 31);
  return {lane ^ b, (lane ^ b) <= most};
}
inline Source shfl_idx(int lane, int b, u32 c) {
  int segment = int(c >> 8 & 31), most = (lane & segment) | int(c & ~(c >> 8) & 31);
  int source = (lane & segment) | (b & ~segment & 31);
  return {source, source <= most};
}
inline u32 shuffle(const char* what, u32 mask, u32 value, Source source, Place place) {
  int from = source.inside ? source.lane : emulator::lane();
  u32 received = 0;
  emulator::exchange(what, mask, &value, sizeof value, from, &received, place);
  return received;
}
inline u32 ballot(u32 mask, bool holds, Place place) {
  return emulator::ballot("vote.sync", mask, holds, place);
}
template <class T> inline u32 match_any(u32 mask, T value, Place place) {
  return __match_any_sync(mask, value, place);
}
inline void sync_warp(u32 mask, Place place) {
  emulator::exchange("bar.warp.sync", mask, nullptr, 0, emulator::all_lanes, nullptr, place);
}

// ldmatrix (9.7.14.5.15): 8×8 matrices of 16 bits. Row r of matrix i begins where lane 8 i + r says;
// lane l receives elements 2 (l % 4) and the next one of row l / 4; with .trans, of column l / 4.
inline void load_matrices(u32* d, int matrices, bool transposed, u64 address, Place place) {
  u32 mine = u32(address), all[32];
  emulator::exchange("ldmatrix", ~0u, &mine, sizeof mine, emulator::all_lanes, all, place);
  int row = emulator::lane() / 4, pair = emulator::lane() % 4 * 2;
  for (int i = 0; i < matrices; ++i) {
    u32 halves[2];
    for (int j = 0; j < 2; ++j) {
      int from = transposed ? pair + j : row, element = transposed ? row : pair + j;
      const char* start = shared_at(all[8 * i + from], 16, place);
      halves[j] = load<u16>(start + 2 * element);
    }
    d[i] = halves[0] | halves[1] << 16;
  }
}

// c plus products, as a tensor core may add them: every term is cut toward zero at `extra_bits`
// below the last bit of the largest one, and so is the sum. Hardware's adder is not documented;
// with 0 bits it is the worst that was seen.
inline f32 cut_sum(f32 c, const f64* products, int count) {
  f64 largest = std::fabs(f64(c)), plain = c;
  for (int i = 0; i < count; ++i)
    largest = std::fmax(largest, std::fabs(products[i])), plain += products[i];
  if (!(largest > 0) || !std::isfinite(largest) || plain != plain) return f32(plain);
  int exponent;
  std::frexp(largest, &exponent);
  f64 unit = std::ldexp(1.0, exponent - 24 - extra_bits);
  f64 sum = std::trunc(c / unit) * unit;
  for (int i = 0; i < count; ++i) sum += std::trunc(products[i] / unit) * unit;
  f32 nearest = f32(sum);
  return std::fabs(f64(nearest)) > std::fabs(sum) ? std::nextafterf(nearest, 0.0f) : nearest;
}

// mma.m16n8k4 and m16n8k8 of TF32 (9.7.14.5.5, 9.7.14.5.6): with group = lane / 4 and t = lane % 4,
//   a[0], a[1]   A[group][t],  A[group + 8][t];      a[2], a[3]  the same, 4 columns on (k8)
//   b[0]         B[t][group];                        b[1]        4 rows on (k8)
//   c[0], c[1]   C[group][2 t], C[group][2 t + 1];   c[2], c[3]  8 rows on
// Of a register the tensor core reads the 19 highest bits. Four products are added at a time.
template <int depth> void mma_tf32(f32* d, const u32* a, const u32* b, const f32* c, Place place) {
  struct Fragments { u32 a[depth / 2], b[depth / 4]; } mine, all[32];
  memcpy(mine.a, a, sizeof mine.a), memcpy(mine.b, b, sizeof mine.b);
  emulator::exchange("mma.sync", ~0u, &mine, sizeof mine, emulator::all_lanes, all, place);
  auto number = [](u32 bits) { return f64(as<f32>(bits & 0xffffe000u)); };
  int lane = emulator::lane(), group = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; ++i) {
    int row = i < 2 ? group : group + 8, column = 2 * t + i % 2;
    f32 sum = c[i];
    for (int half = 0; half < depth / 4; ++half) {
      f64 products[4];
      for (int k = 0; k < 4; ++k) {
        u32 left = all[row % 8 * 4 + k].a[2 * half + row / 8];
        products[k] = number(left) * number(all[column * 4 + k].b[half]);
      }
      sum = cut_sum(sum, products, 4);
    }
    d[i] = sum;
  }
}

}  // namespace ptx
