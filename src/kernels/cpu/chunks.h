#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace concertina::kernels::cpu {

// Rows that the weight ops take at once, at most.
inline constexpr std::size_t kMaxChunkRows = 128;

// f(first row, n) for n_rows rows of n_in floats, in pieces that stay in the second-level cache (half of 1
// MiB) while the weights pass by.
template <typename F>
void for_chunks(std::size_t n_rows, std::size_t n_in, const F& f) {
  constexpr std::size_t kBytes = std::size_t{512} << 10, kFewest = 16;
  const std::size_t chunk = std::clamp(kBytes / (n_in * sizeof(float)) / 4 * 4, kFewest, kMaxChunkRows);
  for (std::size_t begin = 0; begin < n_rows; begin += chunk) f(begin, std::min(chunk, n_rows - begin));
}

// Of n rows of `width`, one after the other.
template <typename T>
std::array<T*, kMaxChunkRows> addresses(T* first, std::size_t n, std::size_t width) {
  std::array<T*, kMaxChunkRows> rows;
  for (std::size_t i = 0; i < n; ++i) rows[i] = first + i * width;
  return rows;
}

}  // namespace concertina::kernels::cpu
