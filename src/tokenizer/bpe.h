#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "tokenizer/join_table.h"
#include "tokenizer/merge_table.h"
#include "tokenizer/min_heap.h"
#include "tokenizer/symbol_table.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/word_cache.h"

namespace concertina::tokenizer {

// How the model treats what the merges alone do not settle.
struct BpeOptions {
  SymbolUnit unit = SymbolUnit::kByte;
  bool ignore_merges = false;      // a piece that is a token is that token, whatever the merges say
  bool byte_fallback = false;      // a character without a token becomes the tokens of its bytes, <0x..>
  bool fuse_unknown = false;       // neighbouring unknown symbols make one unknown token
  std::optional<TokenId> unknown;  // for a symbol without a token; none: such are left out
};

// Byte-pair encoding of one piece (Sennrich et al. 2016), over bytes or characters. n log n in the piece's
// length. Immutable: any thread may encode, each with a Scratch of its own.
class BpeModel {
 public:
  // `vocabulary` must outlive this.
  BpeModel(const Vocabulary& vocabulary, MergeTable merges, JoinTable joins, SymbolTable symbols,
           BpeOptions options);

  class Scratch {
   public:
    explicit Scratch(std::size_t text_bytes) { cache.resize_for(text_bytes); }

   private:
    friend class BpeModel;
    static constexpr std::uint32_t kNoMerge = ~0u;
    struct Node {  // of a linked list; what the merge with `next` is
      TokenId id, merged;
      std::int32_t previous, next;  // -1: none
      std::uint32_t rank;           // kNoMerge also for a node that is gone
    };
    std::vector<TokenId> word;     // symbols since the last place where none are joined
    std::vector<Merge> merges;     // [word.size()]: of each with the next
    std::vector<Node> nodes;       // for long words
    MinHeap<std::uint64_t> queue;  // rank << 32 | index of the left node: lowest rank, then leftmost
    bool unknown_pending = false;
    WordCache cache;
  };

  // Appends the ids of `piece` to `out`: any bytes, or valid UTF-8 where the unit is a character.
  void encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& out) const;

  SymbolUnit unit() const { return symbols_.unit(); }
  bool merges_or_drops_unknown() const;  // some text of any length is one token, or none

 private:
  bool append_whole(std::string_view piece, std::vector<TokenId>& out) const;
  void add_character(std::string_view character, char32_t c, Scratch& scratch,
                     std::vector<TokenId>& out) const;
  bool has_fallback(std::string_view character) const;
  void add_unknown(Scratch& scratch, std::vector<TokenId>& out) const;
  void flush_unknown(Scratch& scratch, std::vector<TokenId>& out) const;
  void add_symbol(TokenId id, Scratch& scratch, std::vector<TokenId>& out) const;
  void finish_word(Scratch& scratch, std::vector<TokenId>& out) const;
  void merge_few(Scratch& scratch) const;
  void merge_many(Scratch& scratch) const;
  Merge merge_of(TokenId left, TokenId right) const;
  void fill_nodes(Scratch& scratch) const;
  void update_merge(std::int32_t left, Scratch& scratch) const;

  const Vocabulary* vocabulary_;
  MergeTable merges_;
  JoinTable joins_;
  SymbolTable symbols_;
  BpeOptions options_;
};

}  // namespace concertina::tokenizer
