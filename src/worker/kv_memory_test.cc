#include "worker/kv_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>

#include "base/check.h"
#include "base/random.h"
#include "model/kv_cache.h"
#include "transport/error.h"

namespace concertina::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using transport::TransportError;
constexpr cluster::Member kSelf{RankId(2), Incarnation(7)};

model::ModelConfig config() {
  return model::read_config(CONCERTINA_SOURCE_DIR "/tests/fixtures/qwen3_moe").value();
}
KvMemoryLayout layout_with(std::size_t n_blocks, std::size_t n_slots = 4) {
  return {.blocks = model::kv_layout(config(), n_blocks, 16).value(),
          .records = {.n_blocks = n_blocks, .n_slots = n_slots, .max_sequence_blocks = 8}};
}
void fill(std::span<std::byte> memory) {
  Random random(memory.size());
  for (std::size_t i = 0; i + 8 <= memory.size(); i += 8) {
    const std::uint64_t word = random.next();
    std::memcpy(&memory[i], &word, 8);
  }
}

TEST(KvMemory, APeerFindsRecordsAndBlocksWhereTheirOwnerWritesThem) {
  const KvMemoryLayout layout = layout_with(8);
  const auto own = KvMemory::create(kSelf, layout);
  ASSERT_TRUE(own) << own.error().message();
  const model::KvCache cache(config(), layout.blocks, own->pools());
  kvcache::SequenceRecords records(layout.records, own->records());
  const auto slot = records.open(RequestId(31)).value();
  records.append(slot, BlockId(5), kvcache::Generation(1));
  records.commit(slot, 3);
  const std::size_t last = config().layers.size() - 1;
  using Part = kernels::PagedKv::Part;
  cache.layer(last).at(BlockId(5), Part::kKey, 0)[0] = 2.5f;

  const auto peer = PeerKv::open({kSelf, own->address()}, layout);
  ASSERT_TRUE(peer) << peer.error().message();
  EXPECT_EQ((*peer)->member(), kSelf);
  const auto record = (*peer)->records().find(RequestId(31));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->n_tokens, 3u);
  EXPECT_THAT(record->blocks,
              ElementsAre(kvcache::SequenceRecord::Block{BlockId(5), kvcache::Generation(1)}));
  float found = 0;
  std::memcpy(&found, &(*peer)->pools()[layout.blocks.piece(last, BlockId(5))], sizeof(found));
  EXPECT_EQ(found, 2.5f);
}

// Whatever kinds of attention there are: the pieces of all blocks fill the memory, and none meets another.
TEST(KvMemory, EveryByteOfThePoolsIsOfOneBlockAndLayer) {
  const model::KvLayout layout = model::kv_layout(config(), 3, 4).value();
  std::vector<int> n_owners(layout.n_bytes());
  for (std::size_t layer = 0; layer < layout.pools.size(); ++layer)
    for (std::uint32_t block = 0; block < 3; ++block)
      for (std::size_t i = 0; i < layout.pools[layer].block_bytes; ++i)
        ++n_owners[layout.piece(layer, BlockId(block)) + i];
  EXPECT_THAT(n_owners, testing::Each(1));
}

TEST(KvMemory, PopulatedBlocksTakeMemoryAndKeepWhatTheyHold) {
  const KvMemoryLayout layout = layout_with(4096);
  const auto own = KvMemory::create(kSelf, layout);
  ASSERT_TRUE(own);
  own->pools()[layout.blocks.piece(0, BlockId(17))] = std::byte{9};
  own->populate(BlockId(16), 32);
  EXPECT_EQ(own->pools()[layout.blocks.piece(0, BlockId(17))], std::byte{9});
  const auto is_there = [&](BlockId block) {
    const std::size_t page = layout.blocks.piece(1, block) / 4096 * 4096;
    unsigned char there = 0;
    EXPECT_EQ(mincore(own->pools().data() + page, 1, &there), 0);
    return (there & 1) != 0;
  };
  EXPECT_TRUE(is_there(BlockId(16)));
  EXPECT_TRUE(is_there(BlockId(47)));
  EXPECT_FALSE(is_there(BlockId(1000)));
}

std::size_t n_mapped_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssShmem:")) return std::stoul(line.substr(9));
  return 0;
}

// So that the end of the process, if it is killed, does not take longer the more KV memory it has.
TEST(KvMemory, BeyondItsFirstBlocksWhatIsAllocatedIsThereAndNotMapped) {
  const std::size_t block_bytes = layout_with(1).blocks.block_bytes();
  const std::size_t n_blocks = (KvMemory::kMappedBytes + (64 << 20)) / block_bytes;
  const KvMemoryLayout layout = layout_with(n_blocks);
  const auto own = KvMemory::create(kSelf, layout);
  ASSERT_TRUE(own);
  const auto last = static_cast<std::uint32_t>(n_blocks - 1);
  EXPECT_TRUE(own->stays_mapped(BlockId(0)));
  EXPECT_FALSE(own->stays_mapped(BlockId(last)));
  own->pools()[layout.blocks.piece(1, BlockId(last))] = std::byte{9};
  const std::size_t before = n_mapped_kib();
  const BlockId late(static_cast<std::uint32_t>(n_blocks - (32 << 20) / block_bytes));
  own->allocate(late, n_blocks - late.value());
  EXPECT_LE(n_mapped_kib(), before + 1024);
  const std::size_t page = layout.blocks.piece(1, late) / 4096 * 4096;
  unsigned char there = 0;
  ASSERT_EQ(mincore(own->pools().data() + page, 1, &there), 0);
  EXPECT_EQ(there & 1, 1);
  EXPECT_EQ(own->pools()[layout.blocks.piece(1, BlockId(last))], std::byte{9});
  own->allocate(BlockId(0), (32 << 20) / block_bytes);
  EXPECT_GE(n_mapped_kib(), before + (30 << 10));
}

TEST(KvMemory, APeerOfAnotherShapeOrProcessIsRefusedAndSaysWhatDiffers) {
  const KvMemoryLayout layout = layout_with(8);
  const auto own = KvMemory::create(kSelf, layout);
  ASSERT_TRUE(own);
  const auto refusal = [&](const cluster::Member& member, const KvMemoryLayout& expected) {
    const auto peer = PeerKv::open({member, own->address()}, expected);
    CHECK(!peer.has_value(), "it was mapped");
    EXPECT_TRUE(peer.error().is(TransportError::kWrongRegion));
    return peer.error().message();
  };
  EXPECT_THAT(refusal(kSelf, layout_with(9)), HasSubstr("the KV memory of rank 2 (incarnation 7)"));
  EXPECT_THAT(refusal(kSelf, layout_with(9)), HasSubstr("layout is [8, 16, "));
  EXPECT_THAT(refusal(kSelf, layout_with(8, 5)), HasSubstr("layout is [8, 16, "));
  EXPECT_THAT(refusal({RankId(2), Incarnation(8)}, layout), HasSubstr("incarnation is 7, expected 8"));
  const auto nowhere = PeerKv::open({kSelf, {}}, layout);
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().message(), HasSubstr("rank 2 says no address of its KV memory"));
}

TEST(KvMemory, OfAKilledRankIsReadOn) {
  const KvMemoryLayout layout = layout_with(64);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const transport::FileDescriptor reading(fds[0]), writing(fds[1]);
  const pid_t owner = fork();
  if (owner == 0) {
    const auto own = KvMemory::create(kSelf, layout);
    if (!own) _exit(1);
    fill(own->pools());
    kvcache::SequenceRecords records(layout.records, own->records());
    const auto slot = records.open(RequestId(31)).value();
    records.append(slot, BlockId(63), kvcache::Generation(9));
    records.commit(slot, 16);
    const std::string place = own->address().bytes;
    if (write(writing.get(), place.data(), place.size()) != static_cast<ssize_t>(place.size())) _exit(1);
    for (;;) pause();
  }
  cluster::LinkAddress address{cluster::LinkKind::kSharedMemory, std::string(8, '\0')};
  ASSERT_EQ(read(reading.get(), address.bytes.data(), 8), 8);
  const auto peer = PeerKv::open({kSelf, address}, layout);
  ASSERT_TRUE(peer) << peer.error().message();
  ASSERT_EQ(kill(owner, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(owner, &status, 0), owner);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

  std::vector<std::byte> pools(layout.blocks.n_bytes());
  fill(pools);
  const auto record = (*peer)->records().find(RequestId(31));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->n_tokens, 16u);
  EXPECT_TRUE(std::equal(pools.begin(), pools.end(), (*peer)->pools().begin()));
  const auto late = PeerKv::open({kSelf, address}, layout);
  ASSERT_FALSE(late);
  EXPECT_TRUE(late.error().is(TransportError::kPeerUnreachable));
}

TEST(KvMemory, MoreThanThereIsIsAnError) {
  const auto own = KvMemory::create(kSelf, layout_with(std::size_t{1} << 46));
  ASSERT_FALSE(own);
  EXPECT_THAT(own.error().message(), HasSubstr("the KV memory of rank 2"));
}

}  // namespace
}  // namespace concertina::worker
