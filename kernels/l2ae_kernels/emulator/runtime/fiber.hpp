// A fiber: a stack of its own that can be left and entered again, announced to the sanitizers.
//
// On x86-64 a switch saves the registers that a call must keep and changes the stack pointer;
// elsewhere ucontext does it. This file is compiled without instrumentation (toolchain.py);
// EMULATOR_ADDRESS and EMULATOR_THREAD say which sanitizer the kernel is compiled with.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine.hpp"
#if defined(EMULATOR_ADDRESS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(EMULATOR_THREAD)
#include <sanitizer/tsan_interface.h>
#endif
#if !defined(__x86_64__) || defined(EMULATOR_UCONTEXT)
#include <ucontext.h>
#define EMULATOR_PORTABLE 1
#endif

namespace emulator {

#if defined(EMULATOR_PORTABLE)
using Context = ucontext_t;
inline void switch_stack(Context* from, Context* to) { swapcontext(from, to); }
#else
using Context = void*;  // the stack pointer; the registers lie on top of the stack
extern "C" void emulator_switch_stack(void** from, void* to);
asm(R"(
    .text
    .p2align 4
    .hidden emulator_switch_stack
    .globl emulator_switch_stack
    .type emulator_switch_stack, @function
emulator_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulator_switch_stack, . - emulator_switch_stack
)");
inline void switch_stack(Context* from, Context* to) { emulator_switch_stack(from, *to); }
#endif

// The stack that everything returns to, and what the sanitizers know about it.
struct Home {
  Context context;
  void* thread = nullptr;      // ThreadSanitizer's name for it
  const void* bottom = nullptr;
  size_t size = 0;
  void* fake = nullptr;        // AddressSanitizer's stack of detached frames
  Spares* spares = nullptr;
};

class Fiber {
 public:
  // Make ready to run `entry` on `stack`; `entry` never returns, it ends with leave(true).
  void begin(Home* home, char* stack, size_t bytes, void (*entry)()) {
    home_ = home, stack_ = stack, bytes_ = bytes, fake_ = nullptr;
    memcpy(stack, &canary, sizeof canary);
#if defined(EMULATOR_ADDRESS)
    __asan_unpoison_memory_region(stack, bytes);
#elif defined(EMULATOR_THREAD)
    home->thread = __tsan_get_current_fiber();
    take(*home->spares);
#endif
#if defined(EMULATOR_PORTABLE)
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack, context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#else
    uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t(15);
    void** slots = reinterpret_cast<void**>(top) - 8;  // six registers, entry, no caller
    memset(slots, 0, 8 * sizeof(void*));
    slots[6] = reinterpret_cast<void*>(entry);
    context_ = slots;
#endif
  }

  // Called on the engine's stack: continue where the fiber stopped.
  void resume() {
#if defined(EMULATOR_ADDRESS)
    __sanitizer_start_switch_fiber(&home_->fake, stack_, bytes_);
#elif defined(EMULATOR_THREAD)
    __tsan_switch_to_fiber(thread_, __tsan_switch_to_fiber_no_sync);
#endif
    switch_stack(&home_->context, &context_);
#if defined(EMULATOR_ADDRESS)
    __sanitizer_finish_switch_fiber(home_->fake, nullptr, nullptr);
#endif
  }

  // Called first on the fiber's own stack.
  void arrive() {
#if defined(EMULATOR_ADDRESS)
    __sanitizer_finish_switch_fiber(nullptr, &home_->bottom, &home_->size);
#endif
  }

  // Called on the fiber's own stack: continue on the engine's.
  void leave(bool for_good) {
    (void)for_good;
#if defined(EMULATOR_ADDRESS)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_, home_->bottom, home_->size);
#elif defined(EMULATOR_THREAD)
    __tsan_switch_to_fiber(home_->thread, __tsan_switch_to_fiber_no_sync);
#endif
    switch_stack(&context_, &home_->context);
#if defined(EMULATOR_ADDRESS)
    __sanitizer_finish_switch_fiber(fake_, nullptr, nullptr);
#endif
  }

  bool overflowed() const { return memcmp(stack_, &canary, sizeof canary) != 0; }

#if defined(EMULATOR_THREAD)
  void name(const char* text) { __tsan_set_fiber_name(thread_, text); }
#endif

  // ThreadSanitizer's order of events, told from the engine's stack on behalf of the fiber.
  void release(void* event) { on_behalf(event, true); }
  void acquire(void* event) { on_behalf(event, false); }
  // The thread is over; `ended` says that it came to its end, so that another may be in its place.
  void forget(bool ended) {
    (void)ended;
#if defined(EMULATOR_THREAD)
    Spares& spares = *home_->spares;
    if (ended && spares.count < Spares::capacity) spares.fibers[spares.count++] = thread_;
    else __tsan_destroy_fiber(thread_);
#endif
  }

 private:
#if defined(EMULATOR_THREAD)
  void take(Spares& spares) {
    if (spares.count == 0) {
      thread_ = __tsan_create_fiber(0);
      return;
    }
    thread_ = spares.fibers[--spares.count];
    __tsan_release(home_);  // what the engine's stack has seen is before this thread
    acquire(home_);
  }
#endif
  void on_behalf(void* event, bool give) {
    (void)event, (void)give;
#if defined(EMULATOR_THREAD)
    __tsan_switch_to_fiber(thread_, __tsan_switch_to_fiber_no_sync);
    if (give) __tsan_release(event);
    else __tsan_acquire(event);
    __tsan_switch_to_fiber(home_->thread, __tsan_switch_to_fiber_no_sync);
#endif
  }

  static constexpr uint64_t canary = 0x6c32616563616e61;  // at the far end of the stack
  Context context_;
  Home* home_ = nullptr;
  char* stack_ = nullptr;
  size_t bytes_ = 0;
  void* fake_ = nullptr;
  void* thread_ = nullptr;
};

}  // namespace emulator
