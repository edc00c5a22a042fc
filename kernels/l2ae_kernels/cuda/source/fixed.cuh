// Sums that do not depend on the order of the additions, for any number of threads and blocks.
//
//     s = Σ_i round(v_i / u),   u a power of two,   |s| < 2^63
//
// Every term is a whole number, so an addition is exact and the sum is a function of what is added:
// bit-equal from run to run, and a sample can leave a sum again without a trace. Float sums would
// need a fixed order of additions, which atomics do not have, and a table of partial sums that is
// added up in every iteration. The host chooses u so small that rounding is out of sight and so
// large that no sum overflows: kmeans/units.py.
//
// In sm_90 code an atomicAdd on shared memory is a loop around compare-and-swap for floats, and for
// 64-bit integers too (ATOMS.CAST.SPIN.64); for 32-bit integers it is one instruction, ATOMS.ADD.
// Hence the two halves.
#pragma once

__device__ inline long long to_fixed(double value, double per_unit) {
    return __double2ll_rn(value * per_unit);  // ties to even, as the host's rint
}

// Add to a sum in shared memory that is kept as two halves. An addition that wraps the low half
// hands one carry to the high half, whichever thread comes first: the total is exact modulo 2^64.
__device__ inline void add_shared(unsigned* low, unsigned* high, long long value) {
    unsigned low_value = (unsigned)value;
    unsigned before = atomicAdd(low, low_value);
    unsigned carry = before + low_value < before ? 1u : 0u;
    unsigned high_value = (unsigned)((unsigned long long)value >> 32) + carry;
    if (high_value != 0) atomicAdd(high, high_value);
}

// Add to a sum in global memory: one instruction, done in the second-level cache.
__device__ inline void add_global(long long* sum, long long value) {
    if (value != 0) atomicAdd((unsigned long long*)sum, (unsigned long long)value);
}

__device__ inline long long join_halves(unsigned low, unsigned high) {
    return (long long)(((unsigned long long)high << 32) | low);
}

// The sum over the 32 lanes of a warp, in lane 0; all lanes must call it.
__device__ inline long long warp_sum(long long value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_down_sync(0xffffffffu, value, distance);
    }
    return value;
}
