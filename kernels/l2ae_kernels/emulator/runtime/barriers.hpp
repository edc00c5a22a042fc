// Which barriers open, and what is said if none does and threads are waiting.
//
// A barrier opens when all its threads wait at the same line. For a shuffle these are the lanes of
// its mask that have not left, and the engine copies their values before they go on.
#pragma once
#include "launch.hpp"

namespace emulator {

inline bool same_wait(const Thread& a, const Thread& b) {
  return a.state == b.state && a.what == b.what && a.place.line == b.place.line &&
         a.mask == b.mask && strcmp(a.place.file, b.place.file) == 0;
}

// All that came before, in any of these threads, is before all that comes after.
inline void order_events(const std::vector<Thread*>& threads, void* event) {
#if defined(EMULATOR_THREAD)
  for (Thread* thread : threads) thread->fiber.release(event);
  for (Thread* thread : threads) thread->fiber.acquire(event);
#else
  (void)threads, (void)event;
#endif
}

inline void deliver(Block& block, Thread& to, Thread* const (&lanes)[32]) {
  if (to.bytes == 0) return;
  auto copy = [&](int lane, size_t offset) {
    const char* from = static_cast<const char*>(lanes[lane]->send);
    for (size_t i = 0; i < to.bytes; ++i)
      static_cast<volatile char*>(to.receive)[offset + i] = from[i];
  };
  if (to.source == all_lanes) {
    for (int lane = 0; lane < 32; ++lane)
      if (lanes[lane] != nullptr) copy(lane, size_t(lane) * to.bytes);
  } else if (lanes[to.source] != nullptr) {
    copy(to.source, 0);
  } else {
    bool named = (to.mask >> to.source & 1u) != 0;
    set_error(name_of(block, to), to.place,
              text("%s reads lane %d, which %s", to.what, to.source,
                   named ? "does not exist or has left the kernel" : "is not in the mask"));
  }
}

// Open the warp operation that `first` waits for, if every lane of its mask has come.
inline bool open_warp(Block& block, size_t warp, Thread& first) {
  Thread* lanes[32] = {};
  std::vector<Thread*> group;
  for (size_t i = 32 * warp; i < block.warp_end(warp); ++i) {
    Thread& thread = block.threads[i];
    if ((first.mask >> thread.lane() & 1u) == 0 || thread.state == State::gone) continue;
    if (!same_wait(first, thread)) return false;
    lanes[thread.lane()] = &thread;
    group.push_back(&thread);
  }
  for (Thread* thread : group) deliver(block, *thread, lanes);
  for (Thread* thread : group) thread->state = State::ready;
  order_events(group, group[0]);  // its lowest lane is in every group that uses this event
  return true;
}

inline bool open_warps(Block& block, size_t warp) {
  bool opened = false;
  for (size_t i = 32 * warp; i < block.warp_end(warp); ++i)
    if (block.threads[i].state == State::at_warp)
      opened |= open_warp(block, warp, block.threads[i]);
  return opened;
}

inline bool open_block(Block& block) {
  const Thread& first = block.threads[0];
  if (first.state != State::at_block) return false;
  for (const Thread& thread : block.threads)
    if (!same_wait(first, thread)) return false;
  block.votes = {0, int(block.threads.size())};
  std::vector<Thread*> group;
  for (Thread& thread : block.threads) {
    block.votes.holds += thread.predicate != 0;
    thread.state = State::ready;
    group.push_back(&thread);
  }
  order_events(group, &block);
  return true;
}

using Blocks = std::vector<std::unique_ptr<Block>>;

inline bool open_grid(Blocks& blocks) {
  const Thread& first = blocks[0]->threads[0];
  if (first.state != State::at_grid) return false;
  std::vector<Thread*> group;
  for (auto& block : blocks)
    for (Thread& thread : block->threads) {
      if (!same_wait(first, thread)) return false;
      group.push_back(&thread);
    }
  for (Thread* thread : group) thread->state = State::ready;
  ++running->grid_barriers;
  order_events(group, running);
  return true;
}

inline bool wake_spinning(Blocks& blocks) {
  bool any = false;
  for (auto& block : blocks)
    for (Thread& thread : block->threads)
      if (thread.state == State::yielded) thread.state = State::ready, any = true;
  return any;
}

inline bool belongs(const Thread& waiting, const Thread& other) {
  if (waiting.state != State::at_warp) return true;
  return waiting.number / 32 == other.number / 32 && (waiting.mask >> other.lane() & 1u) != 0 &&
         other.state != State::gone;
}

// Name a thread that waits and one that it waits for in vain.
inline void report_standstill(Blocks& blocks) {
  for (State kind : {State::at_warp, State::at_block, State::at_grid})
    for (auto& block : blocks)
      for (Thread& waiting : block->threads) {
        if (waiting.state != kind) continue;
        for (auto& elsewhere : blocks)
          for (Thread& other : elsewhere->threads) {
            bool near = elsewhere == block || kind == State::at_grid;
            if (!near || !belongs(waiting, other) || same_wait(waiting, other)) continue;
            return set_error(name_of(*block, waiting), waiting.place,
                             text("%s is not reached by all its threads: %s %s", waiting.what,
                                  name_of(*elsewhere, other).c_str(), whereabouts(other).c_str()));
          }
      }
}

}  // namespace emulator
