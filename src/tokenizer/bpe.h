#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "tokenizer/merge_table.h"
#include "tokenizer/vocabulary.h"

namespace concertina::tokenizer {

// How the model treats what the merges alone do not settle.
struct BpeOptions {
  bool ignore_merges = false;      // a piece that is a token is that token, whatever the merges say
  bool fuse_unknown = false;       // neighbouring unknown bytes make one unknown token
  std::optional<TokenId> unknown;  // for a byte without a token; none: such bytes are left out
};

// Byte-pair encoding of one piece (Sennrich et al. 2016), over bytes. n log n in the piece's length.
// Immutable: any thread may encode, each with a Scratch of its own.
class BpeModel {
 public:
  // `vocabulary` must outlive this.
  BpeModel(const Vocabulary& vocabulary, MergeTable merges, BpeOptions options);

  class Scratch {
    friend class BpeModel;
    struct Symbol {
      TokenId id;
      std::int32_t previous, next;  // -1: none
      bool alive;
    };
    struct Candidate {
      std::uint32_t rank;
      std::int32_t left;  // index of the left symbol
      TokenId merged;
      bool operator<(
          const Candidate& other) const {  // the queue's top is the greatest: lowest rank, leftmost
        return rank != other.rank ? rank > other.rank : left > other.left;
      }
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> queue;  // a heap
  };

  // Appends the ids of `piece` (any bytes) to `out`.
  void encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& out) const;

  bool merges_or_drops_unknown_bytes() const;  // some text of any length is one token, or none

 private:
  bool append_whole(std::string_view piece, std::vector<TokenId>& out) const;
  void fill_symbols(std::string_view piece, Scratch& scratch) const;
  void add_candidate(std::int32_t left, Scratch& scratch) const;
  void merge_all(Scratch& scratch) const;

  const Vocabulary* vocabulary_;
  MergeTable merges_;
  BpeOptions options_;
  std::array<std::optional<TokenId>, 256> byte_ids_;
};

}  // namespace concertina::tokenizer
