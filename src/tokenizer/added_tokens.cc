#include "tokenizer/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "tokenizer/utf8.h"

namespace concertina::tokenizer {

namespace {

std::size_t character_begin_before(std::string_view text, std::size_t end) {  // end > 0
  do --end;
  while (end > 0 && (static_cast<std::uint8_t>(text[end]) & 0xC0) == 0x80);
  return end;
}

bool is_white_space(char32_t c) {  // Unicode's White_Space
  if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D);
  if (c == 0x85) return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

bool is_word_character(char32_t c) {  // letters, marks, decimal digits, letter numbers, connectors, joiners
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return c == 0x200C || c == 0x200D;
  }
}

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0 &&
      is_word_character(next_utf8(text.substr(character_begin_before(text, begin))).code_point)) {
    return true;
  }
  return end < text.size() && is_word_character(next_utf8(text.substr(end)).code_point);
}

std::size_t skip_space_left(std::string_view text, std::size_t begin, std::size_t limit) {
  while (begin > limit) {
    const std::size_t before = character_begin_before(text, begin);
    if (!is_white_space(next_utf8(text.substr(before)).code_point)) break;
    begin = before;
  }
  return begin;
}

std::size_t skip_space_right(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    const Utf8Unit unit = next_utf8(text.substr(end));
    if (!is_white_space(unit.code_point)) break;
    end += unit.length;
  }
  return end;
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
    begins_[static_cast<std::uint8_t>(tokens_[i].content[0])] = true;
  }
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
    const bool may_begin = begins_[static_cast<std::uint8_t>(text[at])];
    const AddedToken* token = may_begin ? longest_at(text.substr(at)) : nullptr;
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
