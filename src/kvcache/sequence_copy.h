#pragma once

#include <optional>

#include "kvcache/sequence_records.h"

namespace concertina::kvcache {

// A copy of one sequence's KV out of a peer's memory, block by block: what the source's record says of its
// blocks is read first, their stamps last; a block that has been given to another content since, and all
// after it, does not count (rule 21 of docs/epoch_protocol.md). Its host moves the blocks. The source may be
// at work or gone meanwhile; it is never told. One thread.
class SequenceCopy {
 public:
  struct Wanted {
    RequestId request;
    WeightsVersion weights = {};  // with which it must have been computed
    std::size_t n_tokens = 0;
    std::size_t block_size = 0;
  };
  explicit SequenceCopy(const Wanted& wanted, BrokenCopyRule broken = BrokenCopyRule::kNone)
      : wanted_(wanted), broken_(broken) {}

  void begin(const RecordsView& source);
  bool has_begun() const { return record_.has_value(); }
  bool has_found() const { return !record_->blocks.empty(); }  // once begun: there was a record of it
  std::size_t n_tokens() const { return record_->n_tokens; }   // once begun: that may come

  // The block that comes next, into that place of the taker's; none: all were copied.
  struct Block {
    BlockId from;
    std::size_t place = 0;
  };
  std::optional<Block> next() const;
  void copied() { ++n_copied_; }  // that one
  // Once all were: tokens that count.
  std::size_t n_good(const RecordsView& source) const;

 private:
  const Wanted wanted_;
  const BrokenCopyRule broken_;
  std::optional<SequenceRecord> record_;  // as it was at the begin; of no tokens where there was none
  std::size_t n_copied_ = 0;              // blocks
};

}  // namespace concertina::kvcache
