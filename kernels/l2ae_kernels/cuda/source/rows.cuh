// Rows of short samples on their way to registers: a block copies 128 rows of x to shared memory as
// they lie, and each thread takes one from there.
//
// Memory is read side by side, which threads that read a row each would not do (their addresses are
// D numbers apart), and the next rows are on their way while these are worked on. Shared memory has
// 32 banks of 4 bytes, and 8 threads at a time read 16 bytes each: rows of 32 floats would meet in
// the same four banks. So where D is a multiple of 16 bytes, the 16-byte pieces of row r change
// places: piece p lies where p ^ turn(r) would, and 8 neighbours hit all banks. Rows of other
// lengths meet no more often than they must.
#pragma once
#ifdef D
#include "async_copy.cuh"
#include "types.cuh"

constexpr int BLOCK = 128;                         // threads, and rows of a slot
constexpr int SLOTS = 2;                           // rows, and those that come next
constexpr int PIECE = 16 / (int)sizeof(real);      // numbers that are copied at a time
constexpr int PIECES = D % PIECE ? 1 : D / PIECE;  // of a row; 1 also where it is no whole number
constexpr int TURNS = PIECES % 8 == 0 ? 8 : PIECES % 4 == 0 ? 4 : PIECES % 2 == 0 ? 2 : 1;
constexpr int SLOT_WORDS = BLOCK * D * (int)(sizeof(real) / 4);

// (Unsigned: their divisions are shifts.)
__device__ inline unsigned turn(unsigned row) { return row / (8 / TURNS) % TURNS; }

// Where feature f of a row lies, counted from the row's first number.
__device__ inline unsigned place_in_row(unsigned feature, unsigned turned) {
  if (TURNS == 1) return feature;
  return (feature / PIECE ^ turned) * PIECE + feature % PIECE;
}

// Where a piece of the rows lies, both counted from the first row.
__device__ inline unsigned place_of_piece(unsigned piece) {
  if (TURNS == 1) return piece;
  return piece / PIECES * PIECES + (piece % PIECES ^ turn(piece / PIECES));
}

// Fetch up to 128 rows, `numbers` in all, 16 bytes at a time where they lie on such a border.
__device__ inline void fetch_rows(real* to, const real* from, unsigned numbers, bool on_border) {
  constexpr unsigned ALL = BLOCK * D / PIECE;               // pieces of a slot
  constexpr bool SAME = TURNS == 1 || BLOCK % PIECES == 0;  // rows of the next copy turn alike
  if (SAME && on_border && numbers == BLOCK * D) {          // all but the last rows: no comparisons
    real* mine = to + place_of_piece(threadIdx.x) * PIECE;
    const real* own = from + threadIdx.x * PIECE;
#pragma unroll
    for (unsigned first = 0; first < ALL; first += BLOCK) {
      if (first + BLOCK <= ALL || first + threadIdx.x < ALL) {
        async_copy<16>(mine + first * PIECE, own + first * PIECE);
      }
    }
  } else {
    const unsigned pieces = on_border ? numbers / PIECE : 0;
#pragma unroll 1
    for (unsigned e = threadIdx.x; e < pieces; e += BLOCK) {
      async_copy<16>(to + place_of_piece(e) * PIECE, from + e * PIECE);
    }
#pragma unroll 1
    for (unsigned e = pieces * PIECE + threadIdx.x; e < numbers; e += BLOCK) {
      const unsigned row = e / D, place = place_in_row(e % D, turn(row));
      async_copy<(int)sizeof(real)>(to + row * D + place, from + e);
    }
  }
  async_commit();
}

// Call work(sample, row, turned) for the samples of this block, BLOCK threads, one each: `row` holds
// the features of the sample, in slots (SLOTS, BLOCK, D) of shared memory. What was written to
// shared memory before is there for all threads.
template <class Work>
__device__ inline void for_each_row(const real* x, int64 n, real* slots, Work work) {
  const int64 step = (int64)gridDim.x * BLOCK;
  const bool on_border = (size_t)x % 16 == 0;  // 128 rows on, it is the same
  auto fetch = [&](int64 first, int slot) {
    if (first >= n) return;
    unsigned numbers = (unsigned)min((int64)BLOCK, n - first) * D;
    fetch_rows(slots + slot * BLOCK * D, x + first * D, numbers, on_border);
  };
  int slot = 0;
  fetch((int64)blockIdx.x * BLOCK, slot);
  for (int64 first = (int64)blockIdx.x * BLOCK; first < n; first += step, slot ^= 1) {
    async_wait<0>();
    __syncthreads();  // these rows are there for all, and the rows before have been read
    fetch(first + step, slot ^ 1);
    int64 sample = first + threadIdx.x;
    if (sample < n) work(sample, slots + (slot * BLOCK + threadIdx.x) * D, turn(threadIdx.x));
  }
}

// Read a piece by one instruction: the types of CUDA with several numbers are never read in parts.
__device__ inline void load_piece(const float* from, float* to) {
  const float4 read = *(const float4*)from;
  to[0] = read.x, to[1] = read.y, to[2] = read.z, to[3] = read.w;
}
__device__ inline void load_piece(const double* from, double* to) {
  const double2 read = *(const double2*)from;
  to[0] = read.x, to[1] = read.y;
}

__device__ inline void load_row(const real* row, unsigned turned, real (&value)[D]) {
  if constexpr (D % PIECE == 0) {
#pragma unroll
    for (unsigned piece = 0; piece < PIECES; ++piece) {
      const unsigned place = TURNS == 1 ? piece : piece ^ turned;
      load_piece(row + place * PIECE, &value[piece * PIECE]);
    }
  } else {
#pragma unroll
    for (int feature = 0; feature < D; ++feature) value[feature] = row[feature];
  }
}
#endif
