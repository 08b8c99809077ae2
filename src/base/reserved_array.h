#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/result.h"

namespace concertina {

enum class ReserveError { kOutOfMemory };

namespace internal {
Result<void*> reserve_pages(std::size_t n_bytes, const char* what);
void release_pages(void* pages, std::size_t n_bytes);
}  // namespace internal

// An array of zeroes sized for the worst case: pages that nobody touches cost nothing. `what` names it in the
// error.
template <typename T>
class ReservedArray {
 public:
  static Result<ReservedArray> make(std::size_t n, const char* what) {
    ASSIGN_OR_RETURN(void* const pages, internal::reserve_pages((n > 0 ? n : 1) * sizeof(T), what));
    ReservedArray array;
    array.data_ = static_cast<T*>(pages), array.n_ = n;
    return array;
  }
  ReservedArray() = default;
  ~ReservedArray() {
    if (data_ != nullptr) internal::release_pages(data_, (n_ > 0 ? n_ : 1) * sizeof(T));
  }
  ReservedArray(ReservedArray&& other) noexcept { *this = std::move(other); }
  ReservedArray& operator=(ReservedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(n_, other.n_);
    return *this;
  }

  T& operator[](std::size_t i) { return data_[i]; }
  std::span<T> first(std::size_t n) { return {data_, n}; }
  std::size_t size() const { return n_; }

 private:
  T* data_ = nullptr;
  std::size_t n_ = 0;
};

}  // namespace concertina
