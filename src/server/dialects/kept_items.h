#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "server/json_body.h"

namespace concertina::server::dialects {

// Output items of the latest responses, which a client's next request may refer to by their ids instead of
// sending them (item_reference): some clients do so unless they are told not to store. Bounded: the oldest
// go, and their clients are told. Ids are random, so that nobody finds another's. Any thread.
class KeptItems {
 public:
  static constexpr std::size_t kMaxBytes = std::size_t{64} << 20;
  explicit KeptItems(std::size_t max_bytes = kMaxBytes) : max_bytes_(max_bytes) {}

  // `item`: an object with an "id", not kept yet. One that is larger than all that may be kept is not.
  void keep(const Json& item);
  void keep(std::string id, std::string text);                   // the item as JSON
  std::optional<std::string> find(const std::string& id) const;  // as JSON

 private:
  static std::size_t cost_of(const std::string& text);

  const std::size_t max_bytes_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::string> items_;  // as JSON
  std::deque<std::string> ids_;                         // the oldest first
  std::size_t n_bytes_ = 0;
};

}  // namespace concertina::server::dialects
