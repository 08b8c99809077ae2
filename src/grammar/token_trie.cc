#include "grammar/token_trie.h"

#include <algorithm>
#include <optional>

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
      const TextStep step = text_step(nodes_[open.back()].text, static_cast<std::uint8_t>(bytes[at]));
      open.push_back(static_cast<std::uint32_t>(nodes_.size()));
      nodes_.push_back({.token_begin = static_cast<std::uint32_t>(tokens_.size()),
                        .depth = static_cast<std::uint16_t>(at + 1),
                        .byte = static_cast<std::uint8_t>(bytes[at]),
                        .text = step.to,
                        .is_text = step.is_text});
    }
    depth_ = std::max(depth_, bytes.size());
    tokens_.push_back(token);
    before = bytes;
  }
  for (const auto node : open) nodes_[node].end = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({.token_begin = static_cast<std::uint32_t>(tokens_.size())});
  find_text();
}

TextStep text_step(TextState from, std::uint8_t byte) {
  using State = TextState;
  const auto within = [byte](std::uint8_t first, std::uint8_t last, State to) {
    return first <= byte && byte <= last ? TextStep{to} : TextStep{State::kBetween, false};
  };
  switch (from) {
    case State::kOneToCome:
      return within(0x80, 0xBF, State::kBetween);
    case State::kTwoToCome:
      return within(0x80, 0xBF, State::kOneToCome);
    case State::kThreeToCome:
      return within(0x80, 0xBF, State::kTwoToCome);
    case State::kAfterE0:
      return within(0xA0, 0xBF, State::kOneToCome);
    case State::kAfterED:
      return within(0x80, 0x9F, State::kOneToCome);
    case State::kAfterF0:
      return within(0x90, 0xBF, State::kTwoToCome);
    case State::kAfterF4:
      return within(0x80, 0x8F, State::kTwoToCome);
    case State::kBetween:
      break;
  }
  if (is_plain(byte)) return {State::kBetween};
  if (byte >= 0xC2 && byte <= 0xDF) return {State::kOneToCome};
  if (byte == 0xE0) return {State::kAfterE0};
  if (byte == 0xED) return {State::kAfterED};
  if (byte >= 0xE1 && byte <= 0xEF) return {State::kTwoToCome};
  if (byte == 0xF0) return {State::kAfterF0};
  if (byte == 0xF4) return {State::kAfterF4};
  if (byte >= 0xF1 && byte <= 0xF3) return {State::kThreeToCome};
  return {State::kBetween, false};
}

// Children stand behind their parents.
void TokenTrie::find_text() {
  for (auto node = static_cast<std::uint32_t>(nodes_.size() - 1); node-- > 0;) {
    int below = 0;
    for (std::uint32_t child = node + 1; child < nodes_[node].end && below < kNotText;
         child = nodes_[child].end) {
      const Node& one = nodes_[child];
      const bool is_whole = one.text == TextState::kBetween;
      const bool is_text =
          one.is_text && one.text_below != kNotText && (is_whole || tokens_of(child).empty());
      below = is_text ? std::max(below, one.text_below + (is_whole ? 1 : 0)) : int{kNotText};
    }
    nodes_[node].text_below = static_cast<std::uint8_t>(std::min(below, int{kNotText}));
  }
}

// Characters of a token that is text; none: it is not.
std::optional<std::size_t> characters_of(std::string_view bytes) {
  std::size_t n = 0;
  TextStep step;
  for (const char byte : bytes) {
    step = text_step(step.to, static_cast<std::uint8_t>(byte));
    if (!step.is_text) return std::nullopt;
    n += step.to == TextState::kBetween;
  }
  return step.to == TextState::kBetween ? std::optional(n) : std::nullopt;
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
  text_.assign(kMostText + 1, std::vector<std::uint64_t>(n_mask_words()));
  n_text_.assign(kMostText + 1, 0);
  for (std::size_t id = 0; id < bytes_.size(); ++id) {
    const auto n_characters = characters_of(bytes_[id]);
    if (bytes_[id].empty() || !n_characters) continue;
    for (std::size_t n = *n_characters; n <= kMostText; ++n) {
      text_[n][id / 64] |= std::uint64_t{1} << (id % 64);
      ++n_text_[n];
    }
  }
}

std::string_view Vocabulary::bytes_of(TokenId token) const {
  const auto index = static_cast<std::size_t>(token);
  return token >= 0 && index < bytes_.size() ? std::string_view(bytes_[index]) : std::string_view();
}

}  // namespace concertina::grammar
