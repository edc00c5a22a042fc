// Rung 5: Lloyd's iteration to its end in one kernel, with the samples in shared memory.
//
// What changed against rung 4: a block keeps its slice of the samples on the chip, and so do all
// others, at the same time. An iteration reads no sample from memory, nothing returns to the host
// in between, and one barrier of the grid is all that an iteration waits for. Why faster: at
// 70,000 × 10 a pass over the samples takes less time than a launch.
//
//     repeat  centers = sums / counts            each block for itself, all alike
//             labels and differences of the sums of the block's own samples
//             add the differences to a table that all blocks share
//             barrier
//             sums += table                      each block for itself, all alike
//
// One barrier is enough because there are three tables: while one is filled, the one before may
// still be read, and the one after is cleared. Sums are whole numbers (fixed.cuh), so all blocks
// hold the same bits and come to the same decision without talking.
//
// Runs are rows of the grid: block (slice, group) works for the runs group, group + gridDim.y, …
// and holds the state of all of them. A run ends when no label changed, when its centers moved by
// at most `shift` in all, after at_most iterations, or when a cluster is empty, which the host
// looks after. The kernel ends when all runs did.
//
// Shapes: R' = run_count runs of R. x (n, D), runs (R'), at_most (R'), centers (R, k, D),
// labels (R, n), sums (R, k, D), counts (R, k), changed (R), inertia (R), moved (R): all are read
// and written. table (3, R', k·D + k + 2) and going (3) are zero, history (R', most), done (R').
//
// A thread reads D numbers of shared memory a sample, k·D a run, and a label a run.
#ifdef D
#include "grid.cuh"
#include "settle.cuh"
#include "short.cuh"

// What a block keeps of a run; the host asks for this many bytes (resident.py).
struct State {
    double* size;        // (k) what the sums are divided by
    double* step;        // (k, D) by how much a center moved
    long long* sums;     // (k, D) of all samples
    long long* counts;   // (k)
    REAL* centers;       // (k, ROW)
    Private to;          // differences of this block
    int* active;         // whether it goes on
    int* done;           // iterations
    double* moved;       // Σ |c' − c|² of the last one
};

__device__ inline State state_of(unsigned* memory, int place, int k) {
    const int centers = k * ROW * (int)(sizeof(REAL) / 4), halves = (2 * k * D + 3) / 4 * 4;
    const int counts = (k + 3) / 4 * 4;
    const int words = 2 * (2 * k + 2 * k * D) + centers + halves + counts + 4;
    double* numbers = (double*)(memory + place * words);
    long long* whole = (long long*)(numbers + k + k * D);
    REAL* center = (REAL*)(whole + k * D + k);
    unsigned* low = (unsigned*)center + centers;
    unsigned* rest = low + halves + counts;
    return {numbers, numbers + k, whole, whole + k * D, center,
            {low, low + k * D, (int*)(low + halves)}, (int*)rest, (int*)rest + 1,
            (double*)(rest + 2)};
}

__device__ inline long long fresh(const long long* place) {  // not from the first-level cache
    return *(const volatile long long*)place;
}

// Move the centers of every active run to the means of their sums.
//
// A cluster without samples keeps its center. Spherical: means are brought to unit length.
__device__ inline void move_centers(
    unsigned* memory, int mine, int k, double unit, int spherical) {
    for (int e = threadIdx.x; e < mine * k; e += blockDim.x) {
        const State state = state_of(memory, e / k, k);
        int cluster = e % k;
        double size = (double)state.counts[cluster];
        if (spherical) {
            double squares = 0;
            for (int feature = 0; feature < D; ++feature) {
                double sum = (double)state.sums[cluster * D + feature] * unit;
                squares += sum * sum;
            }
            size = sqrt(squares);
        }
        state.size[cluster] = size;
    }
    __syncthreads();
    for (int e = threadIdx.x; e < mine * k * D; e += blockDim.x) {
        const State state = state_of(memory, e / (k * D), k);
        if (!*state.active) continue;
        int place = e % (k * D), cluster = place / D;
        REAL& center = state.centers[cluster * ROW + place % D];
        REAL before = center;
        double size = state.size[cluster];
        if (size > 0) center = (REAL)((double)state.sums[place] * unit / size);
        state.step[place] = (double)(center - before);
    }
    __syncthreads();
    for (int r = threadIdx.x / 32; r < mine; r += blockDim.x / 32) {  // a warp a run, in fixed order
        const State state = state_of(memory, r, k);
        if (!*state.active) continue;
        double moved = 0;
        for (int e = threadIdx.x % 32; e < k * D; e += 32) moved += state.step[e] * state.step[e];
        for (int reach = 16; reach > 0; reach /= 2) {
            moved += __shfl_down_sync(0xffffffffu, moved, reach);
        }
        if (threadIdx.x % 32 == 0) *state.moved = moved;
    }
}

extern "C" __global__ void __launch_bounds__(512, 1) lloyd_resident(
    const REAL* __restrict__ x, long long n, int k, int slice, const int* __restrict__ runs,
    int run_count, const int* __restrict__ at_most, int most, REAL* centers, int* labels,
    long long* sums, long long* counts, long long* changed, long long* inertia, double* moved,
    long long* table, unsigned* going, long long* history, int* done, unsigned* barrier,
    double shift, int spherical, double unit, double per_unit, double per_inertia_unit) {
    extern __shared__ __align__(16) unsigned memory[];
#ifdef K
    constexpr int clusters = K;
#else
    const int clusters = k;
#endif
    REAL* samples = (REAL*)memory;  // (D, slice)
    unsigned* states = memory + (D * slice * (int)(sizeof(REAL) / 4) + 3) / 4 * 4;
    const int group = blockIdx.y, groups = gridDim.y;
    const int mine = (run_count - group + groups - 1) / groups;
    const long long first = (long long)blockIdx.x * slice;
    const int own = (int)min((long long)slice, n - first);  // the last slices may have none
    const int cells = clusters * D, width = cells + clusters + 2;
    auto row_of = [&](int slot, int r) {
        return table + ((long long)slot * run_count + group + (long long)r * groups) * width;
    };

    for (int e = threadIdx.x; e < own * D; e += blockDim.x) {
        samples[e % D * slice + e / D] = x[first * D + e];
    }
    for (int r = 0; r < mine; ++r) {
        const State state = state_of(states, r, clusters);
        const long long run = runs[group + r * groups];
        for (int e = threadIdx.x; e < clusters * ROW; e += blockDim.x) {
            int feature = e % ROW;
            const REAL* center = centers + (run * clusters + e / ROW) * D;
            state.centers[e] = feature < D ? center[feature] : (REAL)0;
        }
        for (int e = threadIdx.x; e < cells; e += blockDim.x) state.sums[e] = sums[run * cells + e];
        for (int e = threadIdx.x; e < clusters; e += blockDim.x) {
            state.counts[e] = counts[run * clusters + e];
        }
        if (threadIdx.x == 0) {
            *state.active = at_most[group + r * groups] > 0;
            *state.done = 0;
        }
    }
    __syncthreads();

    for (int slot = 0;; slot = (slot + 1) % 3) {
        move_centers(states, mine, clusters, unit, spherical);
        int active = 0;
        for (int r = 0; r < mine; ++r) {
            const State state = state_of(states, r, clusters);
            if (!*state.active) continue;
            ++active;
            clear(state.to, clusters, D);
        }
        if (threadIdx.x == 0 && blockIdx.x == 0) atomicAdd(&going[slot], (unsigned)active);
        __syncthreads();
        for (int r = 0; r < mine; ++r) {
            const State state = state_of(states, r, clusters);
            if (!*state.active) continue;
            const long long run = runs[group + r * groups];
            int changes = 0;
            long long total = 0;
            for (int s = threadIdx.x; s < own; s += blockDim.x) {
                int* place = labels + run * n + first + s;
                int before = *place;
                REAL value[D];
#pragma unroll
                for (int feature = 0; feature < D; ++feature) value[feature] = samples[feature * slice + s];
                REAL lowest;
                int label = nearest_short(value, state.centers, clusters, lowest);
                total += to_fixed((double)lowest, per_inertia_unit);
                if (before != label) {
                    *place = label;
                    ++changes;
                    move_short(samples + s, slice, before, label, state.to, per_unit);
                }
            }
            long long* row = row_of(slot, r);
            changes = (int)warp_sum((long long)changes);
            total = warp_sum(total);
            if (threadIdx.x % 32 == 0) {
                add_global(row + cells + clusters, (long long)changes);
                add_global(row + cells + clusters + 1, total);
            }
        }
        __syncthreads();
        for (int r = 0; r < mine; ++r) {
            const State state = state_of(states, r, clusters);
            if (!*state.active) continue;
            long long* row = row_of(slot, r);
            flush(state.to, {row, row + cells, nullptr, nullptr, 0, 0}, clusters, D);
        }
        if (blockIdx.x == 0) {  // nobody reads or fills the next table before the barrier
            for (int r = 0; r < mine; ++r) {
                long long* next = row_of((slot + 1) % 3, r);
                for (int e = threadIdx.x; e < width; e += blockDim.x) next[e] = 0;
            }
            if (threadIdx.x == 0 && group == 0) going[(slot + 1) % 3] = 0;
        }
        grid_barrier(barrier);
        if (*(volatile unsigned*)&going[slot] == 0) break;
        for (int r = threadIdx.x / 32; r < mine; r += blockDim.x / 32) {  // a warp a run
            const State state = state_of(states, r, clusters);
            if (!*state.active) continue;
            const long long* row = row_of(slot, r);
            const int place = group + r * groups, lane = threadIdx.x % 32;
            for (int e = lane; e < cells; e += 32) state.sums[e] += fresh(row + e);
            int empty = 0;
            for (int e = lane; e < clusters; e += 32) {
                state.counts[e] += fresh(row + cells + e);
                empty |= state.counts[e] == 0;
            }
            empty = __any_sync(0xffffffffu, empty);
            const long long changes = fresh(row + cells + clusters);
            if (lane == 0) {
                if (blockIdx.x == 0) {
                    history[(long long)place * most + *state.done] =
                        fresh(row + cells + clusters + 1);
                    changed[runs[place]] = changes;
                    inertia[runs[place]] = fresh(row + cells + clusters + 1);
                    moved[runs[place]] = *state.moved;
                }
                ++*state.done;
                *state.active = changes != 0 && *state.moved > shift && !empty &&
                                *state.done < at_most[place];
            }
        }
        __syncthreads();
    }
    if (blockIdx.x != 0) return;
    for (int r = 0; r < mine; ++r) {
        const State state = state_of(states, r, clusters);
        const int place = group + r * groups;
        const long long run = runs[place];
        for (int e = threadIdx.x; e < cells; e += blockDim.x) {
            sums[run * cells + e] = state.sums[e];
            centers[run * cells + e] = state.centers[e / D * ROW + e % D];
        }
        for (int e = threadIdx.x; e < clusters; e += blockDim.x) {
            counts[run * clusters + e] = state.counts[e];
        }
        if (threadIdx.x == 0) done[place] = *state.done;
    }
}
#endif
