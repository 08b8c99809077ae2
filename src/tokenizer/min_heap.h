#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace concertina::tokenizer {

// A priority queue of integers, the lowest first. Four children a node: half the levels of std::push_heap's
// two, and the four lie in one or two cache lines. A run of a million equal letters is a heap of a million.
template <typename Key>
class MinHeap {
 public:
  void clear() { keys_.clear(); }
  bool empty() const { return keys_.empty(); }
  void append(Key key) { keys_.push_back(key); }  // out of order, until make()

  void make() {
    for (std::size_t node = keys_.size() / kChildren + 1; node-- > 0;) sift_down(node);
  }

  void push(Key key) {
    std::size_t node = keys_.size();
    keys_.push_back(key);
    while (node > 0 && key < keys_[(node - 1) / kChildren]) {
      keys_[node] = keys_[(node - 1) / kChildren];
      node = (node - 1) / kChildren;
    }
    keys_[node] = key;
  }

  Key pop() {
    const Key lowest = keys_[0];
    keys_[0] = keys_.back();
    keys_.pop_back();
    sift_down(0);
    return lowest;
  }

 private:
  static constexpr std::size_t kChildren = 4;

  void sift_down(std::size_t node) {
    if (node >= keys_.size()) return;
    const Key key = keys_[node];
    for (;;) {
      const std::size_t begin = node * kChildren + 1;
      if (begin >= keys_.size()) break;
      const auto end = keys_.begin() + std::min(begin + kChildren, keys_.size());
      const auto lowest = std::min_element(keys_.begin() + begin, end);
      if (*lowest >= key) break;
      keys_[node] = *lowest;
      node = static_cast<std::size_t>(lowest - keys_.begin());
    }
    keys_[node] = key;
  }

  std::vector<Key> keys_;
};

}  // namespace concertina::tokenizer
