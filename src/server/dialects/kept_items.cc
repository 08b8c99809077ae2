#include "server/dialects/kept_items.h"

#include "server/dialects/translation.h"

namespace concertina::server::dialects {

// With what a map and a list take beside the text.
std::size_t KeptItems::cost_of(const std::string& text) { return text.size() + 256; }

void KeptItems::keep(const Json& item) { keep(text_of(item, "id"), dumped(item)); }

void KeptItems::keep(std::string id, std::string text) {
  if (cost_of(text) > max_bytes_) return;
  const std::lock_guard lock(mutex_);
  n_bytes_ += cost_of(text);
  ids_.push_back(id);
  items_.emplace(std::move(id), std::move(text));
  while (n_bytes_ > max_bytes_) {
    const auto oldest = items_.find(ids_.front());
    n_bytes_ -= cost_of(oldest->second);
    items_.erase(oldest);
    ids_.pop_front();
  }
}

std::optional<std::string> KeptItems::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = items_.find(id);
  return found == items_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace concertina::server::dialects
