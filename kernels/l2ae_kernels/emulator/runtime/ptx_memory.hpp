// Memory of PTX: state spaces and addresses (5.1, 6.4), ld, st, atom, cp.async (9.7.9, 9.7.13).
//
// An address is the host's, but one in the space .shared is an offset in the memory of the block.
// Every access has to be aligned to all of its bytes, of a vector too; in shared memory it has to
// lie within one variable.
#pragma once

// What a kernel calls thousands of times: code in every place would take long to compile.
#define PTX_CALL __attribute__((noinline))

namespace ptx {

inline u64 to_shared(u64 generic) { return generic - u64(emulator::shared_base()); }
inline u64 from_shared(u64 offset) { return offset + u64(emulator::shared_base()); }
inline u32 shared_offset(const void* variable) { return u32(to_shared(u64(variable))); }
inline bool is_shared(u64 generic) {
  return emulator::shared_holds(reinterpret_cast<const void*>(generic), 1);
}

inline void check_aligned(const char* space, u64 address, u32 bytes, Place place) {
  if (address % bytes != 0)
    emulator::fail(place, "a %s access of %u bytes at 0x%llx, which is not a multiple of it", space,
                   bytes, address);
}
PTX_CALL inline char* shared_at(u64 offset, u32 bytes, Place place) {
  offset = u32(offset);  // the window has 32 bits
  check_aligned("shared", offset, bytes, place);
  char* at = emulator::shared_base() + offset;
  if (!emulator::shared_holds(at, bytes))
    emulator::fail(place, "a shared access of %u bytes at 0x%llx, which lies in no variable", bytes,
                   offset);
  return at;
}
PTX_CALL inline char* global_at(u64 address, u32 bytes, Place place) {
  constexpr u64 null_page = 4096;
  if (address < null_page)
    emulator::fail(place, "a global access of %u bytes at 0x%llx, a null pointer", bytes, address);
  check_aligned("global", address, bytes, place);
  return reinterpret_cast<char*>(address);
}
// Generic: shared where it lies in the memory of the block, else global, local or a parameter.
PTX_CALL inline char* generic_at(u64 address, u32 bytes, Place place) {
  if (emulator::in_shared_memory(reinterpret_cast<const void*>(address)))
    return shared_at(to_shared(address), bytes, place);
  return global_at(address, bytes, place);
}

template <class T> inline T load(const char* from) {
  T number;
  memcpy(&number, from, sizeof number);
  return number;
}
template <class T> inline void store(char* to, T number) { memcpy(to, &number, sizeof number); }

template <class T, class Change> inline T atom(char* at, Change change) {
  return emulator::read_modify_write(reinterpret_cast<T*>(at), change);
}
template <class T> inline T increment(T old, T most) { return old >= most ? T(0) : T(old + 1); }
template <class T> inline T decrement(T old, T most) {
  return old == 0 || old > most ? most : T(old - 1);
}

// cp.async: `valid` bytes arrive from global memory, zeros in the place of the rest; until the wait
// the target is unset.
PTX_CALL inline void copy_async(u64 to, u64 from, u32 bytes, u32 valid, Place place) {
  char* target = shared_at(to, bytes, place);
  if (valid > bytes) emulator::fail(place, "cp.async: %u of %u bytes are copied", valid, bytes);
  memset(target, 0xFF, bytes);
  if (valid != 0) {
    const char* source = global_at(from, bytes, place);
    emulator::check_copy(target, source, int(bytes), place);
    emulator::issue_copy({target, source, int(valid)});
  }
  if (valid < bytes) emulator::issue_copy({target + valid, nullptr, int(bytes - valid)});
}
inline void wait_copies(int groups_left) {
  emulator::Copy copy;
  while (emulator::next_copy(groups_left, &copy))
    if (copy.from != nullptr) memcpy(copy.to, copy.from, size_t(copy.bytes));
    else memset(copy.to, 0, size_t(copy.bytes));
}

}  // namespace ptx
