// Runs a launch: one fiber a CUDA thread, on one thread of the CPU.
//
// Warps and blocks run depth first: a warp goes on until it waits for other warps, a block until it
// waits for other blocks, so that nothing but a barrier orders them. With the shuffled order every
// step goes to another warp. Where nothing can move, a barrier opens if all its threads are there;
// if not, the launch stops with the names of two threads that do not meet.
#define EMULATOR_ENGINE 1
#include "barriers.hpp"

namespace emulator {
namespace {

// ------------------------------------------------------------------ the order of execution

bool step_warp(Block& block, size_t warp) {
  bool moved = false;
  size_t first = 32 * warp;
  running->order.each(block.warp_end(warp) - first, [&](size_t i) {
    Thread& thread = block.threads[first + i];
    if (thread.state != State::ready || !running->error.empty()) return;
    resume(block, thread);
    moved = moved || thread.state != State::yielded;
  });
  return open_warps(block, warp) || moved;
}

bool run_block(Block& block) {
  bool moved_ever = false, moved = true;
  while (moved && running->error.empty()) {
    moved = false;
    running->order.each(block.warps(), [&](size_t warp) {
      bool step = step_warp(block, warp);
      moved = moved || step;
      while (step && !running->order.shuffled() && running->error.empty())
        step = step_warp(block, warp);
    });
    moved = moved || open_block(block);
    moved_ever = moved_ever || moved;
  }
  return moved_ever;
}

bool all_gone(const Blocks& blocks) {
  for (auto& block : blocks)
    if (block->gone != block->threads.size()) return false;
  return true;
}

void run_resident(Blocks& blocks) {
  constexpr unsigned patience = 1000000;
  while (running->error.empty() && !all_gone(blocks)) {
    bool moved = false;
    running->order.each(blocks.size(), [&](size_t i) { moved |= run_block(*blocks[i]); });
    if (!running->error.empty()) return;
    running->idle_rounds = moved ? 0 : running->idle_rounds + 1;
    if (moved || open_grid(blocks)) continue;
    if (!wake_spinning(blocks) || running->idle_rounds > patience) report_standstill(blocks);
    if (running->idle_rounds > patience && running->error.empty())
      running->error =
          text("kernel '%s': its threads spin and nothing else moves", running->kernel);
  }
}

void begin(Block& block, const Stacks& stacks, size_t first_stack) {
  const unsigned* size = running->request.block;
  for (size_t i = 0; i < block.threads.size(); ++i) {
    Thread& thread = block.threads[i];
    thread.number = unsigned(i);
    thread.index = {thread.number % size[0], thread.number / size[0] % size[1],
                    thread.number / size[0] / size[1]};
    thread.fiber.begin(&running->home, stacks.at(first_stack + i), Stacks::bytes, run_thread);
#if defined(EMULATOR_THREAD)
    thread.fiber.name(name_of(block, thread).c_str());
#endif
  }
}

void check_finished(const Block& block) {
  const char* name = block.shared.overwritten();
  if (name == nullptr || !running->error.empty()) return;
  running->error = text("kernel '%s', block (%u,%u,%u): something was written behind the end of %s",
                        running->kernel, block.index.x, block.index.y, block.index.z, name);
}

// What comes next is behind everything in these blocks.
void end(Blocks& blocks) {
  for (auto& block : blocks)
    for (Thread& thread : block->threads)
      if (thread.state != State::gone) thread.fiber.release(&running->done);
#if defined(EMULATOR_THREAD)
  __tsan_acquire(&running->done);
#endif
  for (auto& block : blocks)
    for (Thread& thread : block->threads) thread.fiber.forget(thread.state == State::gone);
}

// Blocks of one window are concurrent: all of a cooperative launch, else one, or for
// ThreadSanitizer, which has to see races between blocks, as many as it has room for.
void run_window(const std::vector<uint3>& indices, const Stacks& stacks, size_t threads) {
  Blocks resident, finished;
  size_t stack = 0;
  bool all = running->request.cooperative != 0;
  for (uint3 index : indices) {
    if (!running->error.empty()) break;
    resident.push_back(std::make_unique<Block>(index, threads, running->request.dynamic_shared));
    begin(*resident.back(), stacks, stack);
    stack += threads;
    if (all && resident.size() < indices.size()) continue;
    run_resident(resident);
    for (auto& block : resident) check_finished(*block), finished.push_back(std::move(block));
    resident.clear();
  }
  end(finished);
}

void run_grid() {
  const Request& request = running->request;
  size_t threads = size_t(blockDim.x) * blockDim.y * blockDim.z;
  size_t blocks = size_t(gridDim.x) * gridDim.y * gridDim.z;
#if defined(EMULATOR_THREAD)
  size_t window = Spares::capacity / threads;
#else
  size_t window = 1;
#endif
  if (request.cooperative) window = blocks;
  if (window > blocks) window = blocks;
#if defined(EMULATOR_THREAD)
  constexpr size_t room = 7500;
  if (window * threads > room) {
    running->error = text("kernel '%s': a cooperative launch of %zu threads, but ThreadSanitizer "
                          "has room for %zu", running->kernel, window * threads, room);
    return;
  }
#endif
  Stacks stacks(window * threads);
  if (!stacks.ok()) {
    running->error =
        text("kernel '%s': no memory for %zu threads", running->kernel, window * threads);
    return;
  }
  std::vector<uint3> indices;
  auto add = [&](size_t b) {
    unsigned n = unsigned(b);
    indices.push_back({n % gridDim.x, n / gridDim.x % gridDim.y, n / gridDim.x / gridDim.y});
    if (indices.size() < window || !running->error.empty()) return;
    run_window(indices, stacks, threads);
    indices.clear();
  };
  if (request.cooperative) for (size_t b = 0; b < blocks; ++b) add(b);
  else running->order.each(blocks, add);
  if (!indices.empty() && running->error.empty()) run_window(indices, stacks, threads);
}

std::string invalid(const Request& request) {
  const unsigned *grid = request.grid, *block = request.block;
  size_t threads = size_t(block[0]) * block[1] * block[2];
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[1] > 65535 || grid[2] > 65535)
    return text("grid (%u,%u,%u) is out of range", grid[0], grid[1], grid[2]);
  if (threads == 0 || block[0] > 1024 || block[1] > 1024 || block[2] > 64 || threads > 1024)
    return text("block (%u,%u,%u) is out of range: at most 1024 threads", block[0], block[1],
                block[2]);
  if (threads > request.max_threads)
    return text("block has %zu threads, but __launch_bounds__ says %u", threads,
                request.max_threads);
  if (request.dynamic_shared > SharedMemory::total_limit)
    return text("shared_mem is %zu bytes, more than %zu", request.dynamic_shared,
                SharedMemory::total_limit);
  return "";
}

}  // namespace

// ------------------------------------------------------------------ what kernels call

void fail(Place place, const char* format, ...) {
  char buffer[512];
  va_list values;
  va_start(values, format);
  vsnprintf(buffer, sizeof buffer, format, values);
  va_end(values);
  Thread& me = *running->thread;
  set_error(name_of(*running->block, me), place, buffer);
  me.fiber.leave(false);
  abort();  // no thread of a failed launch is resumed
}

Votes block_barrier(const char* what, int predicate, Place place) {
  running->thread->predicate = predicate;
  running->thread->mask = 0;
  wait(State::at_block, what, place);
  return running->block->votes;
}

void exchange(const char* what, unsigned mask, const void* send, size_t bytes, int source,
              void* receive, Place place) {
  Thread& me = *running->thread;
  if ((mask >> me.lane() & 1u) == 0)
    fail(place, "%s: lane %d calls it, but is not in the mask 0x%08x", what, me.lane(), mask);
  me.mask = mask, me.send = send, me.bytes = bytes, me.source = source, me.receive = receive;
  wait(State::at_warp, what, place);
}

int lane() { return running->thread->lane(); }

unsigned grid_barrier(Place place) {
  if (!running->request.cooperative)
    fail(place, "grid_barrier needs a launch with enable_cooperative_groups=True");
  running->thread->mask = 0;
  wait(State::at_grid, "grid_barrier", place);
  return running->grid_barriers;
}

void yield(Place place) { wait(State::yielded, "__nanosleep", place); }

struct Slot { std::string kernel; size_t bytes; };
std::vector<Slot>& slots() {
  static std::vector<Slot> all;  // filled while the library is loaded
  return all;
}
int new_slot(const char* kernel, size_t bytes) {
  slots().push_back({kernel, bytes});
  return int(slots().size()) - 1;
}
size_t static_shared(const char* kernel) {
  size_t sum = 0;
  for (const Slot& slot : slots())
    if (slot.kernel == kernel) sum += slot.bytes;
  return sum;
}

void* shared_variable(int slot, size_t bytes, const char* name, Place place) {
  return running->block->shared.variable(slot, bytes, name, place);
}
void* dynamic_shared() { return running->block->shared.dynamic(); }
char* shared_base() { return running->block->shared.base(); }
bool in_shared_memory(const void* address) { return running->block->shared.contains(address); }
bool shared_holds(const void* start, size_t bytes) {
  return running->block->shared.holds(start, bytes);
}

void check_row(const char* what, const void* shared, int bytes, Place place) {
  if (!running->block->shared.contains(shared))
    fail(place, "%s: the address is not in shared memory", what);
  if (reinterpret_cast<uintptr_t>(shared) % uintptr_t(bytes) != 0)
    fail(place, "%s: the address is not a multiple of %d bytes", what, bytes);
}

void check_copy(const void* shared, const void* global, int bytes, Place place) {
  const SharedMemory& memory = running->block->shared;
  if (!memory.contains(shared)) fail(place, "async_copy: the target is not in shared memory");
  if (memory.contains(global)) fail(place, "async_copy: the source is in shared memory");
  if (reinterpret_cast<uintptr_t>(shared) % uintptr_t(bytes) != 0 ||
      reinterpret_cast<uintptr_t>(global) % uintptr_t(bytes) != 0)
    fail(place, "async_copy: an address is not a multiple of %d bytes", bytes);
}

void issue_copy(Copy copy) {
  running->thread->copies.push_back(copy);
  ++running->thread->open_group;
}

void commit_copies() {
  Thread& me = *running->thread;
  me.groups.push_back(me.open_group);
  me.open_group = 0;
}

bool next_copy(int groups_left, Copy* copy) {
  Thread& me = *running->thread;
  while (me.groups.size() > size_t(groups_left) && me.groups.front() == 0) me.groups.pop_front();
  if (me.groups.size() <= size_t(groups_left)) return false;
  --me.groups.front();
  *copy = me.copies.front();
  me.copies.pop_front();
  return true;
}

int launch(const char* kernel, const Request& request, void (*body)(const void*),
           const void* arguments, char* error, size_t error_size) {
  Launch launch = {kernel, request, body, arguments, Order(request.order, request.seed)};
  std::string problem = invalid(request);
  if (!problem.empty()) {
    snprintf(error, error_size, "kernel '%s': %s", kernel, problem.c_str());
    return 1;
  }
  gridDim = dim3(request.grid[0], request.grid[1], request.grid[2]);
  blockDim = dim3(request.block[0], request.block[1], request.block[2]);
  launch.home.spares = request.spares;
  running = &launch;
#if defined(EMULATOR_ADDRESS)
  __asan_set_error_report_callback(note_report);
#endif
  run_grid();
#if defined(EMULATOR_ADDRESS)
  __asan_set_error_report_callback(nullptr);
#endif
  running = nullptr;
  const std::string& said = launch.error.empty() ? launch.reported : launch.error;
  snprintf(error, error_size, "%s", said.c_str());
  return launch.error.empty() ? 0 : 1;
}

}  // namespace emulator
