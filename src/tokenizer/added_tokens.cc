#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "base/utf8.h"
#include "tokenizer/unicode.h"

namespace concertina::tokenizer {

namespace {

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0 &&
      is_word_character(next_utf8(text.substr(character_begin_before(text, begin))).code_point)) {
    return true;
  }
  return end < text.size() && is_word_character(next_utf8(text.substr(end)).code_point);
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::uint32_t n_nodes = 1;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].content.empty()) continue;
    std::uint32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto byte = static_cast<std::uint8_t>(c);
      const auto [edge, is_new] = edges_.try_emplace(std::uint64_t{node} << 8 | byte, n_nodes);
      if (is_new) ++n_nodes;
      node = edge->second;
    }
    ends_.try_emplace(node, i);
    note_beginning(tokens_[i].content);
  }
}

void AddedTokenMatcher::note_beginning(std::string_view content) {
  const std::size_t first = static_cast<std::uint8_t>(content[0]);
  if (content.size() > 1) {
    begins_.set(first << 8 | static_cast<std::uint8_t>(content[1]));
    return;
  }
  for (std::size_t second = 0; second < 256; ++second) begins_.set(first << 8 | second);
}

bool AddedTokenMatcher::may_begin(std::string_view text) const {
  const std::size_t second = text.size() > 1 ? static_cast<std::uint8_t>(text[1]) : 0;
  return begins_.test(std::size_t{static_cast<std::uint8_t>(text[0])} << 8 | second);
}

// Walks a trie from each place: the cost is bounded by the longest token, so an Aho-Corasick automaton buys
// nothing.
const AddedToken* AddedTokenMatcher::longest_at(std::string_view text) const {
  const AddedToken* longest = nullptr;
  std::uint32_t node = 0;
  for (const char c : text) {
    const auto edge = edges_.find(std::uint64_t{node} << 8 | static_cast<std::uint8_t>(c));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (const auto end = ends_.find(node); end != ends_.end()) longest = &tokens_[end->second];
  }
  return longest;
}

void AddedTokenMatcher::split(std::string_view text, const Visitor& visit) const {
  std::size_t done = 0;  // everything before it has been visited
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const AddedToken* token = may_begin(rest) ? longest_at(rest) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + token->content.size();
    at = end;
    if (token->single_word && touches_word(text, begin, end))
      continue;  // as Hugging Face: nothing shorter is tried
    if (token->lstrip) begin = skip_space_left(text, begin, done);
    if (token->rstrip) at = end = skip_space_right(text, end);
    if (begin > done) visit(text.substr(done, begin - done), std::nullopt);
    visit(text.substr(begin, end - begin), token->id);
    done = end;
  }
  if (done < text.size()) visit(text.substr(done), std::nullopt);
}

}  // namespace concertina::tokenizer
