#include "kernels/prepare_heads.h"

#include "kernels/rms_norm.h"
#include "kernels/test_support.h"
#include "kernels/unfused.h"

namespace concertina::kernels {
namespace {

constexpr std::size_t kHeads = 4, kKvHeads = 2, kHeadDim = 20, kBlockSize = 4, kBlocks = 24, kRows = 33;

class PreparedHeads : public EveryInstructionSet {
 protected:
  // Three sequences in one batch, of which one decodes, one begins and one goes on in the middle of a block.
  std::vector<AttentionSequence> sequences() const {
    return {{0, 1, 9, table_},
            {1, 25, 0, std::span(table_).subspan(8)},
            {26, 7, 6, std::span(table_).subspan(16)}};
  }
  std::vector<float> empty_kv() const {
    return std::vector<float>(paged_kv_floats(kBlocks, kBlockSize, kKvHeads, kHeadDim), 7.0f);
  }
  PagedKv kv_of(std::vector<float>& memory) const {
    return {memory.data(), kBlocks, kBlockSize, kKvHeads, kHeadDim};
  }
  void SetUp() override {
    EveryInstructionSet::SetUp();
    for (std::uint32_t i = 0; i < kBlocks; ++i) table_.emplace_back(i * 7 % kBlocks);
  }
  std::vector<BlockId> table_;
};
CONCERTINA_EVERY_SET(PreparedHeads);

// The oracle: the three ops one after the other, by one thread.
TEST_P(PreparedHeads, AreNormedRotatedAndStoredAsByThreeOpsWhoeverSharesTheWork) {
  Random random(21);
  const RopeTable table(64, kHeadDim, 10000.0);
  for (const QkNorm norm : {QkNorm::kNone, QkNorm::kPerHead, QkNorm::kFullWidth}) {
    const bool is_per_head = norm == QkNorm::kPerHead;
    const auto weight_of = [&](std::size_t n_heads) {
      const std::size_t width = is_per_head ? kHeadDim : n_heads * kHeadDim;
      return random_weight(random, {static_cast<std::int64_t>(width)}, tensor::DType::kBF16);
    };
    const tensor::Weight q_norm = weight_of(kHeads), k_norm = weight_of(kKvHeads);
    const auto q = random_rows(random, kRows * kHeads * kHeadDim),
               k = random_rows(random, kRows * kKvHeads * kHeadDim), v = random_rows(random, k.size());
    const auto batch = sequences();

    device::Stream one(1, {}, GetParam());
    auto expected_q = q, expected_k = k, expected_kv = empty_kv();
    std::vector<std::uint32_t> positions;
    for (const AttentionSequence& sequence : batch)
      for (std::size_t i = 0; i < sequence.n_rows; ++i)
        positions.push_back(static_cast<std::uint32_t>(sequence.start_position + i));
    if (norm != QkNorm::kNone) {
      rms_norm(expected_q, q_norm, 1e-6f, expected_q, is_per_head ? kRows * kHeads : kRows, one);
      rms_norm(expected_k, k_norm, 1e-6f, expected_k, is_per_head ? kRows * kKvHeads : kRows, one);
    }
    rope(expected_q, positions, table, kHeads, kHeadDim, GetParam());
    rope(expected_k, positions, table, kKvHeads, kHeadDim, GetParam());
    write_kv(expected_k, v, batch, kv_of(expected_kv));

    for (const std::size_t n_threads : {1, 2, 5}) {
      device::Stream on(n_threads, {}, GetParam());
      auto got_q = q, got_k = k, got_kv = empty_kv();
      prepare_heads(got_q, got_k, v, batch,
                    {.norm = norm, .q_norm = &q_norm, .k_norm = &k_norm, .epsilon = 1e-6f, .rope = &table},
                    kHeads, kv_of(got_kv), on);
      EXPECT_EQ(got_q, expected_q) << n_threads << " threads";
      EXPECT_EQ(got_k, expected_k) << n_threads << " threads";
      EXPECT_EQ(got_kv, expected_kv) << n_threads << " threads";
    }
  }
}

}  // namespace
}  // namespace concertina::kernels
