#pragma once

#include <span>
#include <vector>

#include "base/random.h"
#include "kvcache/sequence_records.h"
#include "scheduler/scheduler.h"
#include "sim/toy_model.h"

namespace concertina::sim {

// KV of one rank, and the stamps and records of it: written by it alone, read by its peers, also after its
// death.
class KvMemory {
 public:
  explicit KvMemory(const scheduler::Limits& limits);

  std::span<std::byte> records() { return std::as_writable_bytes(std::span(words_)); }
  std::vector<Row>& block(BlockId block) { return blocks_[block.value()]; }  // [block_size]
  Row& at(std::span<const BlockId> table, std::size_t position);

  // A rank that is about to crash writes anywhere.
  void write_garbage(Random& random);
  // A rank that is killed while it writes a record leaves any mix of what was there and what was to be: here
  // a record of one sequence by the name of another. False: it has no record.
  bool leave_odd_record(Random& random);

 private:
  const std::size_t block_size_;
  const kvcache::RecordsLayout layout_;
  std::vector<std::uint64_t> words_;
  std::vector<std::vector<Row>> blocks_;
};

}  // namespace concertina::sim
