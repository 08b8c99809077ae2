#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "base/random.h"
#include "worker/kv_memory.h"

namespace concertina::worker {

// For tests: the KV memory of a rank without the rank. Blocks are taken, filled and committed as a scheduler
// and a model would.
class TestKv {
 public:
  static constexpr std::size_t kBlockSize = 16;

  explicit TestKv(std::uint32_t rank, std::size_t n_blocks = 64)
      : member{RankId(rank), Incarnation(100 + rank)},
        layout{.blocks = model::kv_layout(config(), n_blocks, kBlockSize).value(),
               .records = {.n_blocks = n_blocks, .n_slots = 4, .max_sequence_blocks = n_blocks}},
        memory(KvMemory::create(member, layout).value()),
        records(layout.records, memory.records()),
        pool(n_blocks, 0, records.stamps()) {
    records.set_weights(WeightsVersion(1));
  }
  static model::ModelConfig config() {
    return model::read_config(CONCERTINA_SOURCE_DIR "/tests/fixtures/qwen3_moe").value();
  }

  std::vector<BlockId> take(const kvcache::Holder& holder, std::size_t n) {
    std::vector<BlockId> table;
    CHECK(pool.take(holder, n, table));
    return table;
  }
  // A sequence of n_tokens whose KV is there: its content follows from the request.
  std::vector<BlockId> compute(std::uint64_t request, std::size_t n_tokens) {
    std::vector<BlockId> table = take(RequestId(request), kvcache::blocks_for(n_tokens, kBlockSize));
    slot = records.open(RequestId(request));
    for (const BlockId block : table) records.append(*slot, block, pool.generation(block));
    for (std::size_t i = 0; i < table.size(); ++i) fill(table[i], request, i);
    records.commit(*slot, n_tokens);
    return table;
  }
  // The numbers of the i-th block of a request, in every layer.
  void fill(BlockId block, std::uint64_t request, std::size_t i) const {
    for_each_word(block, request, i, [](std::byte* at, std::uint64_t word) { std::memcpy(at, &word, 8); });
  }
  bool holds(BlockId block, std::uint64_t request, std::size_t i) const {
    bool is_equal = true;
    for_each_word(block, request, i, [&](const std::byte* at, std::uint64_t word) {
      is_equal = is_equal && std::memcmp(at, &word, 8) == 0;
    });
    return is_equal;
  }
  std::shared_ptr<const PeerKv> peer() const {
    return PeerKv::open({member, memory.address()}, layout).value();
  }

  const cluster::Member member;
  const KvMemoryLayout layout;
  const KvMemory memory;
  kvcache::SequenceRecords records;
  kvcache::BlockPool pool;
  std::optional<kvcache::RecordSlot> slot;  // of what was computed last

 private:
  template <typename F>
  void for_each_word(BlockId block, std::uint64_t request, std::size_t i, const F& f) const {
    for (std::size_t layer = 0; layer < layout.blocks.pools.size(); ++layer) {
      Random random(request * 1000 + i * 100 + layer);
      std::byte* const piece = memory.pools().data() + layout.blocks.piece(layer, block);
      for (std::size_t at = 0; at < layout.blocks.pools[layer].block_bytes; at += 8)
        f(piece + at, random.next());
    }
  }
};

}  // namespace concertina::worker
