// What follows an assignment: new labels, and the sums, counts and inertia that go with them.
//
// Only samples whose label changed are added up: one leaves a sum and joins another, exactly
// (fixed.cuh). The first pass starts from label −1, "nowhere", and adds every sample; after a few
// passes hardly any is touched, and a pass costs what its distances cost.
#pragma once
#include "fixed.cuh"
#include "real.cuh"

// Sums of one run, in global memory, and how numbers become whole.
struct Totals {
    long long* sums;     // (k, d) in units
    long long* counts;   // (k)
    long long* changed;  // (1)
    long long* inertia;  // (1) in units of its own
    double per_unit;
    double per_inertia_unit;
};

// The differences of one block, in shared memory: private, so that blocks do not wait for each
// other, and flushed once. low is null where they do not fit; then all goes to global memory.
struct Private {
    unsigned* low;   // (k, d), see add_shared
    unsigned* high;  // (k, d)
    int* counts;     // (k)
};

__device__ inline Private carve(unsigned* memory, int k, int d, int is_private) {
    if (!is_private) return {nullptr, nullptr, (int*)memory};
    return {memory, memory + k * d, (int*)(memory + 2 * k * d)};
}

__device__ inline void clear(const Private& to, int k, int d) {
    for (int e = threadIdx.x; e < k; e += blockDim.x) to.counts[e] = 0;
    if (to.low == nullptr) return;
    for (int e = threadIdx.x; e < k * d; e += blockDim.x) to.low[e] = to.high[e] = 0;
}

__device__ inline void flush(const Private& from, const Totals& to, int k, int d) {
    for (int e = threadIdx.x; e < k; e += blockDim.x) add_global(&to.counts[e], from.counts[e]);
    if (from.low == nullptr) return;
    for (int e = threadIdx.x; e < k * d; e += blockDim.x) {
        add_global(&to.sums[e], join_halves(from.low[e], from.high[e]));
    }
}

__device__ inline void add_feature(
    const Private& to, const Totals& totals, long long place, long long value) {
    if (to.low == nullptr) {
        add_global(&totals.sums[place], value);
    } else {
        add_shared(&to.low[place], &to.high[place], value);
    }
}

// Move the samples of a warp, one a lane, from their old sum (or −1: nowhere) to their new one.
//
// The lanes take the features of one changed sample after the other: a row of x is read side by
// side, and so are the two rows of sums. All lanes of the warp must call it.
__device__ inline void move_samples(
    const REAL* x, long long sample, int before, int after, int d,
    const Private& to, const Totals& totals) {
    int lane = threadIdx.x % 32;
    unsigned left = __ballot_sync(0xffffffffu, before != after);
    if (before != after) {
        atomicAdd(&to.counts[after], 1);
        if (before >= 0) atomicSub(&to.counts[before], 1);
    }
    while (left != 0) {
        int source = __ffs((int)left) - 1;
        left &= left - 1;
        const REAL* row = x + __shfl_sync(0xffffffffu, sample, source) * d;
        long long leaves = (long long)__shfl_sync(0xffffffffu, before, source) * d;
        long long joins = (long long)__shfl_sync(0xffffffffu, after, source) * d;
        for (int feature = lane; feature < d; feature += 32) {
            long long value = to_fixed((double)row[feature], totals.per_unit);
            add_feature(to, totals, joins + feature, value);
            if (leaves >= 0) add_feature(to, totals, leaves + feature, -value);
        }
    }
}

// Add what each thread counted to the totals of the run; all threads of the block must call it.
__device__ inline void add_up(int changed, long long inertia, const Totals& totals) {
    long long changes = warp_sum((long long)changed);
    inertia = warp_sum(inertia);
    if (threadIdx.x % 32 == 0) {
        add_global(totals.changed, changes);
        add_global(totals.inertia, inertia);
    }
}
