#include "grammar/token_trie.h"

#include <algorithm>

#include "base/check.h"

namespace concertina::grammar {

TokenTrie::TokenTrie(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.token < b.token;
  });
  std::vector<std::uint32_t> open = {0};  // the path to the node added last
  nodes_.push_back({});
  std::string_view before;
  for (const auto& [bytes, token] : entries) {
    const auto shared =
        std::mismatch(before.begin(), before.end(), bytes.begin(), bytes.end()).first - before.begin();
    while (open.size() > static_cast<std::size_t>(shared) + 1) {
      nodes_[open.back()].end = static_cast<std::uint32_t>(nodes_.size());
      open.pop_back();
    }
    for (std::size_t at = shared; at < bytes.size(); ++at) {
      open.push_back(static_cast<std::uint32_t>(nodes_.size()));
      nodes_.push_back({.token_begin = static_cast<std::uint32_t>(tokens_.size()),
                        .depth = static_cast<std::uint16_t>(at + 1),
                        .byte = static_cast<std::uint8_t>(bytes[at])});
    }
    depth_ = std::max(depth_, bytes.size());
    tokens_.push_back(token);
    before = bytes;
  }
  for (const auto node : open) nodes_[node].end = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({.token_begin = static_cast<std::uint32_t>(tokens_.size())});
  find_plain();
}

// Children stand behind their parents.
void TokenTrie::find_plain() {
  for (auto node = static_cast<std::uint32_t>(nodes_.size() - 1); node-- > 0;) {
    int below = 0;
    for (std::uint32_t child = node + 1; child < nodes_[node].end && below < kNotPlain;
         child = nodes_[child].end)
      below = is_plain(nodes_[child].byte) ? std::max(below, nodes_[child].plain_below + 1) : int{kNotPlain};
    nodes_[node].plain_below = static_cast<std::uint8_t>(std::min(below, int{kNotPlain}));
  }
}

namespace {

std::vector<TokenTrie::Entry> entries_of(const std::vector<std::string>& bytes) {
  std::vector<TokenTrie::Entry> entries;
  for (std::size_t id = 0; id < bytes.size(); ++id)
    if (!bytes[id].empty()) entries.push_back({bytes[id], static_cast<TokenId>(id)});
  return entries;
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> bytes, std::size_t vocab_size)
    : bytes_(std::move(bytes)), vocab_size_(vocab_size), trie_(entries_of(bytes_)) {
  CHECK(bytes_.size() <= vocab_size, "{} tokens and {} logits", bytes_.size(), vocab_size);
}

std::string_view Vocabulary::bytes_of(TokenId token) const {
  const auto index = static_cast<std::size_t>(token);
  return token >= 0 && index < bytes_.size() ? std::string_view(bytes_[index]) : std::string_view();
}

}  // namespace concertina::grammar
