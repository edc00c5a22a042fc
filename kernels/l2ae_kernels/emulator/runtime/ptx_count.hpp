// Counts of a launch: how often each basic block runs, and what each memory instruction moves.
//
// A warp runs a block as often as the lane that runs it most; the n-th visits of its lanes are taken
// for one, and so are their accesses. Where lanes take a branch in different iterations of a loop, a
// device issues more than that.
#pragma once
#include <map>
#include <set>
#include <vector>

#include "cuda.hpp"

namespace ptx {

// An instruction of a warp that reaches memory, and its cost: sectors of 32 bytes of global memory,
// or passes over the 32 banks of shared memory.
struct Cost { u64 requests, cost, least; };
struct Access {
  u64 addresses[32];
  u32 active = 0, bytes = 0;  // active: a bit a lane
  int noted = 0;
  bool shared = false;
  bool has(u32 lane) const { return (active >> lane & 1) != 0; }
};

inline Cost sectors(const Access& access) {
  std::set<u64> touched, words;
  u32 word = access.bytes < 4 ? access.bytes : 4;
  for (u32 lane = 0; lane < 32; ++lane)
    for (u32 offset = 0; access.has(lane) && offset < access.bytes; offset += word) {
      touched.insert((access.addresses[lane] + offset) / 32);
      words.insert((access.addresses[lane] + offset) / word);
    }
  return {1, touched.size(), (words.size() * word + 31) / 32};
}

// A pass serves 128 bytes: all lanes at 4 bytes each, 16 at 8, 8 at 16. It repeats for every further
// word of the same bank; lanes that read one word share it.
inline Cost passes(const Access& access) {
  u32 lanes = access.bytes <= 4 ? 32 : 128 / access.bytes;
  Cost total = {1, 0, 0};
  for (u32 first = 0; first < 32; first += lanes) {
    std::map<u64, std::set<u64>> banks;
    for (u32 lane = first; lane < first + lanes; ++lane)
      for (u32 offset = 0; access.has(lane) && offset < access.bytes; offset += 4) {
        u64 word = (access.addresses[lane] + offset) / 4;
        banks[word % 32].insert(word);
      }
    size_t most = 0;
    for (auto& bank : banks) most = bank.second.size() > most ? bank.second.size() : most;
    total.cost += most, total.least += most != 0;
  }
  return total;
}

struct Counters {
  struct Warp {
    std::vector<u32> most;                         // visits of a block, by the lane with most
    std::map<std::pair<u32, u32>, Access> accesses;  // of a site at its n-th visit, unfinished
    u32 gone = 0;
  };
  std::vector<u64> by_warps, by_threads;  // visits of the blocks
  std::vector<Cost> sites;
  std::map<u64, Warp> warps;  // that have not left

  Counters(size_t blocks, size_t sites_) : by_warps(blocks), by_threads(blocks), sites(sites_) {}

  void add(u32 site, const Access& access) {
    if (access.active == 0) return;
    Cost cost = access.shared ? passes(access) : sectors(access);
    sites[site].requests += cost.requests;
    sites[site].cost += cost.cost, sites[site].least += cost.least;
  }
  void end(Warp& warp) {
    for (auto& open : warp.accesses) add(open.first.first, open.second);
    for (size_t i = 0; i < warp.most.size(); ++i) by_warps[i] += warp.most[i];
  }
  // Write all counts, one behind the other, and start anew.
  void take(u64* out) {
    for (auto& warp : warps) end(warp.second);
    for (size_t i = 0; i < by_warps.size(); ++i) *out++ = by_warps[i], *out++ = by_threads[i];
    for (Cost& site : sites) *out++ = site.requests, *out++ = site.cost, *out++ = site.least;
    *this = Counters(by_warps.size(), sites.size());
  }
};
extern Counters counters;

// The visits of one thread to the blocks of its kernel, numbered from `first` on.
template <u32 first, u32 count> class Visits {
 public:
  Visits() {
    u64 block = (u64(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    u32 threads = blockDim.x * blockDim.y * blockDim.z;
    u32 thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    number_ = block * 32 + thread / 32, lane_ = thread % 32;
    lanes_ = threads - thread / 32 * 32 < 32 ? threads - thread / 32 * 32 : 32;
    warp_ = &counters.warps[number_];
    warp_->most.resize(counters.by_warps.size());
  }
  ~Visits() {
    for (u32 i = 0; i < count; ++i) {
      u32& most = warp_->most[first + i];
      most = visits_[i] > most ? visits_[i] : most;
      counters.by_threads[first + i] += visits_[i];
    }
    if (++warp_->gone < lanes_) return;
    counters.end(*warp_);
    counters.warps.erase(number_);
  }
  void enter(u32 block) { ++visits_[block - first]; }
  // `executes` is the instruction's guard: a lane that it keeps out takes part without an address.
  void access(u32 site, u32 block, bool shared, bool executes, u64 address, u32 bytes) {
    auto key = std::make_pair(site, visits_[block - first]);
    Access& access = warp_->accesses[key];
    access.shared = shared, access.bytes = bytes;
    if (executes) access.addresses[lane_] = address, access.active |= 1u << lane_;
    if (++access.noted < int(lanes_)) return;
    counters.add(site, access);
    warp_->accesses.erase(key);
  }

 private:
  u32 visits_[count] = {};
  u32 lane_, lanes_;
  u64 number_;
  Counters::Warp* warp_;
};

}  // namespace ptx
