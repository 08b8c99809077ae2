#pragma once

#include <list>
#include <utility>
#include <vector>

#include "request/structure.h"

namespace concertina::grammar {

// Whether one grammar is both's, wherever it begins.
inline bool is_same_source(const request::Structure& a, const request::Structure& b) {
  return a.language == b.language && a.source == b.source;
}

// What was made of sources, by their content: equal ones are made once. Bounded by number and bytes; what was
// asked for last stays. One owner. A search compares sources of equal length alone, which are few.
template <typename Value>
class SourceCache {
 public:
  struct Bounds {
    std::size_t max_entries = 0, max_bytes = 0;  // bytes: of sources and of what was made of them
  };
  explicit SourceCache(Bounds bounds) : bounds_(bounds) {}

  const Value* find(const request::Structure& structure) {  // null: it is not here. Until the next keep()
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
      if (!is_same_source(*at->structure, structure)) continue;
      entries_.splice(entries_.begin(), entries_, at);
      return &entries_.front().value;
    }
    return nullptr;
  }

  // What had to go for it, itself where it is larger than all that is kept.
  std::vector<Value> keep(request::SharedStructure structure, Value value, std::size_t n_bytes) {
    n_bytes += structure->source.size();
    entries_.push_front({std::move(structure), std::move(value), n_bytes});
    n_bytes_ += n_bytes;
    std::vector<Value> gone;
    while (entries_.size() > bounds_.max_entries || n_bytes_ > bounds_.max_bytes) {
      n_bytes_ -= entries_.back().n_bytes;
      gone.push_back(std::move(entries_.back().value));
      entries_.pop_back();
    }
    return gone;
  }
  std::size_t size() const { return entries_.size(); }
  std::size_t n_bytes() const { return n_bytes_; }

 private:
  struct Entry {
    request::SharedStructure structure;
    Value value;
    std::size_t n_bytes;
  };

  const Bounds bounds_;
  std::list<Entry> entries_;  // asked for last: first
  std::size_t n_bytes_ = 0;
};

}  // namespace concertina::grammar
