#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "kvcache/block_pool.h"

namespace concertina::kvcache {

// One sequence's KV as it lies in a rank's blocks: positions [0, n_tokens) in `blocks`, in order.
struct SequenceRecord {
  struct Block {
    BlockId block;
    Generation generation;
    bool operator==(const Block&) const = default;
  };
  RequestId request;
  WeightsVersion weights;
  std::size_t n_tokens = 0;   // whose KV is there and will not change
  std::vector<Block> blocks;  // of this sequence; may reach further than n_tokens
  bool operator==(const SequenceRecord&) const = default;
};

// Tokens, at most `n_wanted`, of which what was copied is what the record says: those before the first block
// whose stamp, read after the copy, is not the record's (rule 21). A last block that is not full counts as
// far as the record goes.
std::size_t n_good_tokens(const SequenceRecord& record, FunctionRef<Generation(BlockId)> stamp_after,
                          std::size_t block_size, std::size_t n_wanted,
                          BrokenCopyRule broken = BrokenCopyRule::kNone);

// Where stamps and records lie in memory that its writer and its readers agree on: u64 words, first the
// stamps, [n_blocks], then n_slots slots of five words and two for each block. All zero at first.
struct RecordsLayout {
  std::size_t n_blocks = 0;             // of the rank
  std::size_t n_slots = 0;              // sequences that can have a record at a time
  std::size_t max_sequence_blocks = 0;  // of one sequence
  constexpr std::size_t slot_words() const { return 5 + 2 * max_sequence_blocks; }
  constexpr std::size_t bytes() const { return 8 * (n_blocks + n_slots * slot_words()); }
  bool operator==(const RecordsLayout&) const = default;
};

using RecordSlot = Id<struct RecordSlotTag, std::uint32_t>;

// The records of a rank's sequences, as their writer has them. One thread; nothing waits for readers, and
// writing takes no memory. A slot is a seqlock (Boehm, "Can Seqlocks Get Along With Programming Language
// Memory Models?", 2012): its version is odd while the record changes in another way than by further tokens.
class SequenceRecords {
 public:
  // `memory`: layout.bytes() at a multiple of 8, zero, outlives it; empty: its own.
  explicit SequenceRecords(const RecordsLayout& layout, std::span<std::byte> memory = {});

  std::span<Stamp> stamps() const;  // [n_blocks], for the pool that writes them
  // Of the weights that KV is computed with from now on: for records that are opened later.
  void set_weights(WeightsVersion version) { weights_ = version; }

  // A record without blocks; none if all slots are taken.
  std::optional<RecordSlot> open(RequestId request);
  void append(RecordSlot slot, BlockId block, Generation generation);
  // KV of positions [0, n_tokens) is there for good: it never falls while the record is open.
  void commit(RecordSlot slot, std::size_t n_tokens);
  void close(RecordSlot slot);

 private:
  std::span<Stamp> words(RecordSlot slot) const;

  const RecordsLayout layout_;
  std::vector<Stamp> own_;        // if it was given none
  std::span<Stamp> words_;        // all
  std::vector<RecordSlot> free_;  // a stack
  WeightsVersion weights_;
};

// What readers do, on memory that another process writes or has written: it may hold anything, and is
// checked. Any thread.
class RecordsView {
 public:
  RecordsView(const RecordsLayout& layout, std::span<const std::byte> memory,
              BrokenCopyRule broken = BrokenCopyRule::kNone);

  // The record of a request; none: there is none, or it was being written all the while, for ever if its
  // writer was killed then (rule 27). Takes memory.
  std::optional<SequenceRecord> find(RequestId request) const;
  // After a copy of the block: fences, so that a content that was read is not older than the stamp.
  Generation stamp_after(BlockId block) const;

 private:
  std::optional<SequenceRecord> read(std::size_t slot) const;

  const RecordsLayout layout_;
  const BrokenCopyRule broken_;
  std::span<const Stamp> words_;
};

}  // namespace concertina::kvcache
