#include "worker/kv_prefault.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace concertina::worker {
namespace {

class KvPrefaulting : public testing::Test {
 protected:
  static KvMemory make_memory(std::size_t n_blocks) {
    const auto config = model::read_config(CONCERTINA_SOURCE_DIR "/tests/fixtures/qwen3_moe").value();
    return KvMemory::create({RankId(0), Incarnation(1)},
                            {.blocks = model::kv_layout(config, n_blocks, 16).value(),
                             .records = {.n_blocks = n_blocks, .n_slots = 1, .max_sequence_blocks = 1}})
        .value();
  }
  // Of a block, whether the first page of its piece in every layer is there.
  static bool is_there(const KvMemory& memory, std::uint32_t block) {
    for (std::size_t layer = 0; layer < memory.layout().blocks.pools.size(); ++layer) {
      const std::size_t page = memory.layout().blocks.piece(layer, BlockId(block)) / 4096 * 4096;
      unsigned char there = 0;
      if (mincore(memory.pools().data() + page, 1, &there) != 0 || (there & 1) == 0) return false;
    }
    return true;
  }
};

TEST_F(KvPrefaulting, TheBlocksThatAreTakenFirstComeFirstAndInTheEndAllAreThere) {
  constexpr std::size_t kBlocks = 1000;
  const KvMemory memory = make_memory(kBlocks);
  ASSERT_GT(memory.layout().blocks.n_bytes(), std::size_t{8} << 20);
  KvPrefault prefault(memory);
  ASSERT_FALSE(is_there(memory, 0));
  ASSERT_EQ(prefault.next(), KvPrefault::More::kYes);
  EXPECT_TRUE(is_there(memory, 0));
  EXPECT_FALSE(is_there(memory, kBlocks - 1));
  while (prefault.next() == KvPrefault::More::kYes) continue;
  for (std::uint32_t block = 0; block < kBlocks; ++block) ASSERT_TRUE(is_there(memory, block)) << block;
  EXPECT_EQ(prefault.next(), KvPrefault::More::kNo);
}

TEST_F(KvPrefaulting, LeavesAQuarterOfTheMemoryToOthers) {
  const KvMemory memory = make_memory(20'000);
  const std::size_t n_bytes = memory.layout().blocks.n_bytes();
  ASSERT_GT(n_bytes, std::size_t{150} << 20);
  MemoryLimit limit{.name = "this machine", .bytes = 4 * n_bytes, .available_bytes = n_bytes + 1};
  std::size_t n_looks = 0;
  KvPrefault prefault(memory, [&] {
    if (n_looks++ == 1) limit.available_bytes = n_bytes;
    return std::optional(limit);
  });
  while (prefault.next() == KvPrefault::More::kYes) continue;
  EXPECT_EQ(n_looks, 2u);
  EXPECT_TRUE(is_there(memory, 0));
  EXPECT_FALSE(is_there(memory, 19'999));
}

}  // namespace
}  // namespace concertina::worker
