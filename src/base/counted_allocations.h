#pragma once

// For tests that no memory is taken where none may be: includes an operator new that counts. In one file of a
// binary alone. Not with clang's sanitizers, which bring an operator new of their own into every binary:
// CONCERTINA_COUNTS_ALLOCATIONS is defined where it counts.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CONCERTINA_COUNTS_NO_ALLOCATIONS
#endif
#endif
#ifndef CONCERTINA_COUNTS_NO_ALLOCATIONS
#define CONCERTINA_COUNTS_ALLOCATIONS

#include <cstddef>
#include <cstdlib>
#include <new>

namespace concertina {
thread_local std::size_t n_allocations = 0;  // of this thread

inline void* counted_allocation(std::size_t n_bytes) {
  ++n_allocations;
  if (void* memory = std::malloc(n_bytes)) return memory;
  throw std::bad_alloc();
}
}  // namespace concertina

void* operator new(std::size_t n_bytes) { return concertina::counted_allocation(n_bytes); }
void* operator new[](std::size_t n_bytes) { return concertina::counted_allocation(n_bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

#endif
