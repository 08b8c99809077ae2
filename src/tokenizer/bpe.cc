#include "tokenizer/bpe.h"

#include <algorithm>

#include "tokenizer/byte_level.h"

namespace concertina::tokenizer {

BpeModel::BpeModel(const Vocabulary& vocabulary, MergeTable merges, BpeOptions options)
    : vocabulary_(&vocabulary), merges_(std::move(merges)), options_(options) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = vocabulary.id_of(byte_to_character(static_cast<std::uint8_t>(byte)));
  }
}

void BpeModel::encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& out) const {
  if (options_.ignore_merges && append_whole(piece, out)) return;
  fill_symbols(piece, scratch);
  merge_all(scratch);
  for (const Scratch::Symbol& symbol : scratch.symbols) {
    if (symbol.alive) out.push_back(symbol.id);
  }
}

bool BpeModel::append_whole(std::string_view piece, std::vector<TokenId>& out) const {
  std::string text;
  for (const char byte : piece) text += byte_to_character(static_cast<std::uint8_t>(byte));
  const auto id = vocabulary_->id_of(text);
  if (id) out.push_back(*id);
  return id.has_value();
}

bool BpeModel::merges_or_drops_unknown_bytes() const {
  if (options_.unknown && !options_.fuse_unknown) return false;
  return std::any_of(byte_ids_.begin(), byte_ids_.end(), [](const auto& id) { return !id; });
}

void BpeModel::fill_symbols(std::string_view piece, Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  symbols.clear();
  bool after_unknown = false;
  for (const char byte : piece) {
    const auto& id = byte_ids_[static_cast<std::uint8_t>(byte)];
    const bool fused = !id && after_unknown && options_.fuse_unknown;
    after_unknown = !id;
    if (fused || (!id && !options_.unknown)) continue;
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id ? *id : *options_.unknown, index - 1, index + 1, true});
  }
  if (!symbols.empty()) symbols.back().next = -1;
}

void BpeModel::add_candidate(std::int32_t left, Scratch& scratch) const {
  if (left < 0 || scratch.symbols[left].next < 0) return;
  const Scratch::Symbol& symbol = scratch.symbols[left];
  const Merge* merge = merges_.find(symbol.id, scratch.symbols[symbol.next].id);
  if (merge == nullptr) return;
  scratch.queue.push_back({merge->rank, left, merge->merged});
  std::push_heap(scratch.queue.begin(), scratch.queue.end());
}

// Applies the lowest-ranked merge, leftmost first, until none is left. A candidate whose symbols have changed
// since it was queued is recognised when it comes up: its pair then has another merge, or none.
void BpeModel::merge_all(Scratch& scratch) const {
  auto& [symbols, queue] = scratch;
  queue.clear();
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(symbols.size()); ++i) add_candidate(i, scratch);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end());
    const Scratch::Candidate top = queue.back();
    queue.pop_back();
    Scratch::Symbol& left = symbols[top.left];
    if (!left.alive || left.next < 0) continue;
    Scratch::Symbol& right = symbols[left.next];
    const Merge* merge = merges_.find(left.id, right.id);
    if (merge == nullptr || merge->rank != top.rank) continue;
    left.id = top.merged;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0) symbols[left.next].previous = top.left;
    add_candidate(left.previous, scratch);
    add_candidate(top.left, scratch);
  }
}

}  // namespace concertina::tokenizer
