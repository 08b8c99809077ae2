#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

// For the inner loops: a lambda that must become part of its caller.
#define CONCERTINA_INLINE __attribute__((always_inline))

namespace concertina::kernels::cpu {

// f(0), f(1), ... f(N - 1), each with its number as a constant: an array indexed by it lives in registers. A
// loop that the compiler unrolls later leaves such an array in memory, which costs up to two thirds of the
// time.
template <std::size_t kN, typename F>
inline CONCERTINA_INLINE void unrolled(const F& f) {
  const auto each = [&]<std::size_t... kI>(std::index_sequence<kI...>) CONCERTINA_INLINE {
    (f(std::integral_constant<std::size_t, kI>{}), ...);
  };
  each(std::make_index_sequence<kN>{});
}

}  // namespace concertina::kernels::cpu
