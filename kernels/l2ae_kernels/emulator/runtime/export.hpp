// What a library offers to Python for each kernel: its parameters as text, and its launch.
#pragma once
#include "engine.hpp"
#include "vectors.hpp"

namespace emulator {

template <class T> constexpr char kind_of() {
  if constexpr (std::is_void_v<T>) return 'v';
  else if constexpr (std::is_same_v<T, bool>) return 'b';
  else if constexpr (std::is_floating_point_v<T>) return 'f';
  else if constexpr (std::is_enum_v<T>) return kind_of<std::underlying_type_t<T>>();
  else if constexpr (std::is_integral_v<T>) return std::is_signed_v<T> ? 'i' : 'u';
  else return 's';
}

// "*f4:16 " is a pointer to floats in groups of 16 bytes, "*" becomes "&" where they are const;
// "i4:4 " is an int.
template <class Parameter> struct Describe {
  static int write(char* out, size_t size) {
    using T = std::remove_cv_t<std::remove_pointer_t<Parameter>>;
    using Scalar = typename scalar<T>::type;
    constexpr bool pointer = std::is_pointer_v<Parameter>;
    constexpr bool constant = std::is_const_v<std::remove_pointer_t<Parameter>>;
    size_t bytes = 0, alignment = 1;
    if constexpr (!std::is_void_v<T>) bytes = sizeof(Scalar), alignment = alignof(T);
    if (!pointer) bytes = sizeof(Parameter);
    char kind = pointer || !std::is_class_v<T> ? kind_of<Scalar>() : 's';
    return snprintf(out, size, "%s%c%zu:%zu ", pointer ? (constant ? "&" : "*") : "", kind, bytes,
                    alignment);
  }
};

template <class... Parameters>
void describe(void (*)(Parameters...), char* out, size_t size) {
  size_t used = 0;
  out[0] = 0;
  ((used += size_t(used < size ? Describe<Parameters>::write(out + used, size - used) : 0)), ...);
}

template <class... Parameters, size_t... I>
void call(void (*kernel)(Parameters...), void* const* values, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_cv_t<Parameters>*>(values[I])...);
}
template <class... Parameters>
void call(void (*kernel)(Parameters...), void* const* values) {
  call(kernel, values, std::index_sequence_for<Parameters...>{});
}
template <auto kernel> void body(const void* values) {
  call(kernel, static_cast<void* const*>(values));
}

// What __launch_bounds__(threads, ...) says.
constexpr unsigned first_bound(unsigned threads = 1024, ...) { return threads; }

}  // namespace emulator
