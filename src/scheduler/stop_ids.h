#pragma once

#include <algorithm>

#include "request/request.h"

namespace concertina::scheduler {

// The tokens that end one request, eos included. Made once, when the request comes: lists of clients may be
// long and hold the same id many times, while each token asks for one look-up of a few comparisons. (A hash
// set takes more memory for what ten comparisons do in a list of a thousand.)
class StopIds {
 public:
  StopIds() = default;
  explicit StopIds(const request::StopParams& stop) : ids_(stop.stop_token_ids) {
    if (!stop.ignore_eos) ids_.insert(ids_.end(), stop.eos_token_ids.begin(), stop.eos_token_ids.end());
    std::sort(ids_.begin(), ids_.end());
    ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
    ids_.shrink_to_fit();
  }
  bool contains(TokenId token) const { return std::binary_search(ids_.begin(), ids_.end(), token); }
  std::size_t size() const { return ids_.size(); }

 private:
  std::vector<TokenId> ids_;  // ascending, each once
};

}  // namespace concertina::scheduler
