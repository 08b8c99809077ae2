#include "tokenizer/bpe.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"

namespace concertina::tokenizer {

namespace {

std::uint64_t queue_key(std::uint32_t rank, std::int32_t left) {
  return std::uint64_t{rank} << 32 | static_cast<std::uint32_t>(left);
}

}  // namespace

BpeModel::BpeModel(const Vocabulary& vocabulary, MergeTable merges, JoinTable joins, SymbolTable symbols,
                   BpeOptions options)
    : vocabulary_(&vocabulary),
      merges_(std::move(merges)),
      joins_(std::move(joins)),
      symbols_(std::move(symbols)),
      options_(options) {}

void BpeModel::encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& out) const {
  if (options_.ignore_merges && append_whole(piece, out)) return;
  if (symbols_.unit() == SymbolUnit::kByte) {
    for (const char byte : piece) {
      const TokenId id = symbols_.of_byte(static_cast<std::uint8_t>(byte));
      if (id == SymbolTable::kNone) {
        add_unknown(scratch, out);
      } else {
        flush_unknown(scratch, out);
        add_symbol(id, scratch, out);
      }
    }
  } else {
    for (std::size_t at = 0; at < piece.size();) {
      const Utf8Unit unit = next_utf8(piece.substr(at));
      add_character(piece.substr(at, unit.length), unit.code_point, scratch, out);
      at += unit.length;
    }
  }
  flush_unknown(scratch, out);
  finish_word(scratch, out);
}

bool BpeModel::append_whole(std::string_view piece, std::vector<TokenId>& out) const {
  std::string text;
  if (symbols_.unit() == SymbolUnit::kByte) {
    for (const char byte : piece) text += byte_to_character(static_cast<std::uint8_t>(byte));
    piece = text;
  }
  const auto id = vocabulary_->model_id_of(piece);
  if (id) out.push_back(*id);
  return id.has_value();
}

void BpeModel::add_character(std::string_view character, char32_t c, Scratch& scratch,
                             std::vector<TokenId>& out) const {
  const TokenId id = symbols_.of_character(c);
  if (id != SymbolTable::kNone) {
    flush_unknown(scratch, out);
    add_symbol(id, scratch, out);
  } else if (options_.byte_fallback && has_fallback(character)) {
    // An unknown token that is pending comes after these: so does Hugging Face's, where some byte has no
    // token.
    for (const char byte : character) {
      add_symbol(symbols_.fallback_of(static_cast<std::uint8_t>(byte)), scratch, out);
    }
  } else {
    add_unknown(scratch, out);
  }
}

bool BpeModel::has_fallback(std::string_view character) const {
  return std::ranges::all_of(character, [&](char byte) {
    return symbols_.fallback_of(static_cast<std::uint8_t>(byte)) != SymbolTable::kNone;
  });
}

void BpeModel::add_unknown(Scratch& scratch, std::vector<TokenId>& out) const {
  if (!options_.unknown) return;
  if (!options_.fuse_unknown) flush_unknown(scratch, out);
  scratch.unknown_pending = true;
}

void BpeModel::flush_unknown(Scratch& scratch, std::vector<TokenId>& out) const {
  if (std::exchange(scratch.unknown_pending, false)) add_symbol(*options_.unknown, scratch, out);
}

void BpeModel::add_symbol(TokenId id, Scratch& scratch, std::vector<TokenId>& out) const {
  if (!scratch.word.empty() && !joins_.may_join(scratch.word.back(), id)) finish_word(scratch, out);
  scratch.word.push_back(id);
}

void BpeModel::finish_word(Scratch& scratch, std::vector<TokenId>& out) const {
  std::vector<TokenId>& word = scratch.word;
  const std::size_t n_symbols = word.size();
  if (n_symbols <= 1) {
    out.insert(out.end(), word.begin(), word.end());
  } else if (n_symbols <= WordCache::kMaxSymbols) {
    const auto known = scratch.cache.find(word);
    if (known.empty()) {
      std::array<TokenId, WordCache::kMaxSymbols> before;
      std::ranges::copy(word, before.begin());
      merge_few(scratch);
      scratch.cache.keep(std::span(before.data(), n_symbols), word);
      out.insert(out.end(), word.begin(), word.end());
    } else {
      out.insert(out.end(), known.begin(), known.end());
    }
  } else {
    constexpr std::size_t kFew = 48;  // from here on the heap is faster
    n_symbols <= kFew ? merge_few(scratch) : merge_many(scratch);
    out.insert(out.end(), word.begin(), word.end());
  }
  word.clear();
}

Merge BpeModel::merge_of(TokenId left, TokenId right) const {
  const Merge* merge = merges_.find(left, right);
  return merge == nullptr ? Merge{Scratch::kNoMerge, 0} : *merge;
}

// Applies the lowest-ranked merge, leftmost first, until none is left: quadratic, for short words.
void BpeModel::merge_few(Scratch& scratch) const {
  auto& word = scratch.word;
  auto& merges = scratch.merges;
  merges.resize(word.size());
  for (std::size_t i = 0; i + 1 < word.size(); ++i) merges[i] = merge_of(word[i], word[i + 1]);
  merges.back().rank = Scratch::kNoMerge;
  for (;;) {
    const auto lowest = std::ranges::min_element(merges, {}, &Merge::rank);
    if (lowest->rank == Scratch::kNoMerge) return;
    const auto at = lowest - merges.begin();
    word[at] = lowest->merged;
    word.erase(word.begin() + at + 1);
    merges.erase(lowest);
    const bool is_last = static_cast<std::size_t>(at) + 1 == word.size();
    merges[at] = is_last ? Merge{Scratch::kNoMerge, 0} : merge_of(word[at], word[at + 1]);
    if (at > 0) merges[at - 1] = merge_of(word[at - 1], word[at]);
  }
}

void BpeModel::fill_nodes(Scratch& scratch) const {
  const auto n = static_cast<std::int32_t>(scratch.word.size());
  scratch.nodes.resize(scratch.word.size());
  scratch.queue.clear();
  for (std::int32_t i = 0; i < n; ++i) {
    const bool is_last = i + 1 == n;
    const Merge merge =
        is_last ? Merge{Scratch::kNoMerge, 0} : merge_of(scratch.word[i], scratch.word[i + 1]);
    scratch.nodes[i] = {scratch.word[i], merge.merged, i - 1, is_last ? -1 : i + 1, merge.rank};
    if (merge.rank != Scratch::kNoMerge) scratch.queue.append(queue_key(merge.rank, i));
  }
  scratch.queue.make();
}

// The same for long words. A candidate whose nodes have changed since it was queued is recognised when it
// comes up: its node then has another merge, or none.
void BpeModel::merge_many(Scratch& scratch) const {
  fill_nodes(scratch);
  auto& nodes = scratch.nodes;
  while (!scratch.queue.empty()) {
    const std::uint64_t key = scratch.queue.pop();
    const auto at = static_cast<std::int32_t>(key & 0xFFFFFFFF);
    Scratch::Node& left = nodes[at];
    if (left.rank != key >> 32) continue;
    Scratch::Node& right = nodes[left.next];
    left.id = left.merged;
    left.next = right.next;
    right.rank = Scratch::kNoMerge;
    right.id = SymbolTable::kNone;
    if (left.next >= 0) nodes[left.next].previous = at;
    update_merge(at, scratch);
    if (left.previous >= 0) update_merge(left.previous, scratch);
  }
  scratch.word.clear();
  for (const Scratch::Node& node : nodes) {
    if (node.id != SymbolTable::kNone) scratch.word.push_back(node.id);
  }
}

void BpeModel::update_merge(std::int32_t at, Scratch& scratch) const {
  Scratch::Node& node = scratch.nodes[at];
  const Merge merge =
      node.next < 0 ? Merge{Scratch::kNoMerge, 0} : merge_of(node.id, scratch.nodes[node.next].id);
  node.rank = merge.rank;
  node.merged = merge.merged;
  if (merge.rank != Scratch::kNoMerge) scratch.queue.push(queue_key(merge.rank, at));
}

bool BpeModel::merges_or_drops_unknown() const {
  if (options_.unknown && !options_.fuse_unknown) return false;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<std::uint8_t>(byte);
    const bool falls_back = options_.byte_fallback && symbols_.fallback_of(value) != SymbolTable::kNone;
    const bool known = symbols_.unit() == SymbolUnit::kByte && symbols_.of_byte(value) != SymbolTable::kNone;
    if (!falls_back && !known) return true;
  }
  return false;
}

}  // namespace concertina::tokenizer
