#include "sim/kv_memory.h"

namespace concertina::sim {

KvMemory::KvMemory(const scheduler::Limits& limits)
    : block_size_(limits.block_size),
      layout_(scheduler::records_layout(limits)),
      words_(layout_.bytes() / 8),
      blocks_(limits.n_blocks, std::vector<Row>(limits.block_size)) {}

Row& KvMemory::at(std::span<const BlockId> table, std::size_t position) {
  return block(table[position / block_size_])[position % block_size_];
}

void KvMemory::write_garbage(Random& random) {
  for (std::vector<Row>& rows : blocks_)
    if (random.below(2) == 0)
      for (Row& row : rows) row = mix(row, 0xbad);
}

// Words of a slot: its version, which is odd meanwhile, and the request come first.
bool KvMemory::leave_odd_record(Random& random) {
  std::vector<std::span<std::uint64_t>> written;
  for (std::size_t i = 0; i < layout_.n_slots; ++i) {
    const auto slot = std::span(words_).subspan(layout_.n_blocks + i * layout_.slot_words());
    if (slot[1] != 0) written.push_back(slot);
  }
  if (written.empty()) return false;
  const auto slot = written[random.below(written.size())];
  const std::uint64_t other = written[random.below(written.size())][1];
  slot[0] |= 1;
  slot[1] = other;
  return true;
}

}  // namespace concertina::sim
