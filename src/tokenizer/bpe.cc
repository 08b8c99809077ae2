#include "tokenizer/bpe.h"

#include <queue>

namespace concertina::tokenizer {

void BytePairEncoder::add_token(std::string bytes, TokenId id) { ids_.emplace(std::move(bytes), id); }

bool BytePairEncoder::add_merge(const std::string& left, const std::string& right) {
  const auto a = ids_.find(left), b = ids_.find(right), both = ids_.find(left + right);
  if (a == ids_.end() || b == ids_.end() || both == ids_.end()) return false;
  merges_.try_emplace(pair_key(a->second, b->second),
                      Merge{static_cast<std::uint32_t>(merges_.size()), both->second});
  return true;
}

bool BytePairEncoder::covers_all_bytes() {
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const auto found = ids_.find(std::string(1, static_cast<char>(byte)));
    if (found == ids_.end()) return false;
    byte_ids_[byte] = found->second;
  }
  return true;
}

void BytePairEncoder::encode(std::string_view word, std::vector<TokenId>& out) const {
  if (whole_words_ == WholeWords::kLookedUpFirst) {
    const auto found = ids_.find(std::string(word));
    if (found != ids_.end()) return out.push_back(found->second);
  }
  // Symbols in a linked list, candidate merges in a heap: n log n also for a word of a million bytes.
  struct Symbol {
    TokenId id;
    std::int32_t previous, next;  // -1: none
  };
  struct Candidate {
    std::uint32_t rank;
    std::int32_t left;
    TokenId left_id, right_id, id;
    bool operator>(const Candidate& other) const {
      return std::pair(rank, left) > std::pair(other.rank, other.left);
    }
  };
  const auto n = static_cast<std::int32_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  std::vector<Candidate> heap_storage;
  heap_storage.reserve(word.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap({}, std::move(heap_storage));
  for (std::int32_t i = 0; i < n; ++i) {
    symbols[i] = {byte_ids_[static_cast<unsigned char>(word[i])], i - 1, i + 1 < n ? i + 1 : -1};
  }
  const auto consider = [&](std::int32_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const TokenId a = symbols[left].id, b = symbols[symbols[left].next].id;
    if (const auto merge = merges_.find(pair_key(a, b)); merge != merges_.end()) {
      heap.push({merge->second.rank, left, a, b, merge->second.id});
    }
  };
  for (std::int32_t i = 0; i < n; ++i) consider(i);
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    Symbol& left = symbols[top.left];
    if (left.id != top.left_id || left.next < 0 || symbols[left.next].id != top.right_id)
      continue;  // merged meanwhile
    Symbol& right = symbols[left.next];
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].previous = top.left;
    consider(left.previous);
    consider(top.left);
  }
  for (std::int32_t i = 0; i >= 0 && i < n; i = symbols[i].next) out.push_back(symbols[i].id);
}

}  // namespace concertina::tokenizer
