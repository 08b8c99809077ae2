#include <cmath>

#include "kernels/elementwise.h"
#include "kernels/paged_attention.h"
#include "kernels/rms_norm.h"
#include "kernels/test_support.h"
#include "kernels/unfused.h"

namespace concertina::kernels {
namespace {

class Attention : public EveryInstructionSet {};
CONCERTINA_EVERY_SET(Attention);

constexpr std::size_t kHeads = 6, kKvHeads = 2;
// Spans are 256 positions long and queries are packed in pieces of 128 dimensions: both are crossed.
constexpr std::size_t kLength = 600;

// One sequence's q, k and v, and what attention makes of them when it is computed in the given chunks.
struct Sequence {
  Sequence(Random& random, std::size_t head_dim)
      : head_dim(head_dim),
        q(random_rows(random, kLength * kHeads * head_dim)),
        k(random_rows(random, kLength * kKvHeads * head_dim)),
        v(random_rows(random, kLength * kKvHeads * head_dim)) {}

  std::vector<float> attend(std::size_t chunk, std::size_t block_size, std::size_t n_threads,
                            std::uint32_t shuffle, device::InstructionSet set) const {
    const std::size_t n_blocks = 601;  // a prime number: steps of any size reach all
    std::vector<float> pool_memory(paged_kv_floats(n_blocks, block_size, kKvHeads, head_dim),
                                   NAN);  // what is not written shows
    const PagedKv kv{pool_memory.data(), n_blocks, block_size, kKvHeads, head_dim};
    std::vector<BlockId> table;
    for (std::uint32_t i = 0; i * block_size < kLength; ++i) table.emplace_back((i * shuffle + 5) % n_blocks);
    device::Stream on(n_threads, {}, set);
    std::vector<float> scratch(attention_scratch_floats(head_dim, n_threads)), out(q.size());
    for (std::size_t begin = 0; begin < kLength; begin += chunk) {
      const std::size_t n = std::min(chunk, kLength - begin);
      const AttentionSequence part{
          .row_begin = 0, .n_rows = n, .start_position = begin, .block_table = table};
      const auto rows = [&](const std::vector<float>& of, std::size_t n_heads) {
        return std::span(of).subspan(begin * n_heads * head_dim, n * n_heads * head_dim);
      };
      write_kv(rows(k, kKvHeads), rows(v, kKvHeads), {&part, 1}, kv);
      paged_attention(rows(q, kHeads), {&part, 1}, kv, 0.2f, kHeads, scratch,
                      std::span(out).subspan(begin * kHeads * head_dim, n * kHeads * head_dim), on);
    }
    return out;
  }

  std::size_t head_dim;
  std::vector<float> q, k, v;
};

TEST_P(Attention, EveryHeadSeesItsPastThroughItsKvHead) {
  constexpr std::size_t kHeadDim = 40;
  Random random(1);
  Sequence sequence(random, kHeadDim);
  // Later keys fit better: the highest score rises from span to span.
  for (std::size_t i = 0; i < sequence.k.size(); ++i)
    sequence.k[i] *= static_cast<float>(i) / static_cast<float>(sequence.k.size());
  const auto out = sequence.attend(kLength, 16, 1, 31, GetParam());
  const auto head_of = [](const std::vector<float>& of, std::size_t row, std::size_t n_heads,
                          std::size_t head) {
    const auto begin = of.begin() + static_cast<std::ptrdiff_t>((row * n_heads + head) * kHeadDim);
    return std::vector<double>(begin, begin + kHeadDim);
  };
  for (const std::size_t row : {0, 1, 15, 16, 76, 255, 256, 511, 512, 599}) {
    for (std::size_t head = 0; head < kHeads; ++head) {
      ref::Matrix keys, values;
      for (std::size_t j = 0; j <= row; ++j) {
        keys.push_back(head_of(sequence.k, j, kKvHeads, head / (kHeads / kKvHeads)));
        values.push_back(head_of(sequence.v, j, kKvHeads, head / (kHeads / kKvHeads)));
      }
      const auto expected = ref::attention(head_of(sequence.q, row, kHeads, head), keys, values, 0.2f);
      for (std::size_t d = 0; d < kHeadDim; ++d) {
        // A score is wrong by at most head_dim * epsilon * |q||k| * scale (about 40 * 40 * 0.2 here), which
        // is the relative error of its weight, and so is what scales an earlier span; the weighted sum of
        // values below 5 adds one rounding a position.
        ASSERT_NEAR(out[(row * kHeads + head) * kHeadDim + d], expected[d],
                    (4 * 320 + 2.0 * static_cast<double>(row + 8)) * kEpsilon * 5)
            << "row " << row << " head " << head;
      }
    }
  }
}

TEST_P(Attention, IsTheSameBitsInAnyChunkingBlockOrderBlockSizeAndThreads) {
  for (const std::size_t head_dim : {40, 144}) {
    Random random(2);
    const Sequence sequence(random, head_dim);
    const auto reference = sequence.attend(1, 16, 1, 1, GetParam());
    const auto expect_same = [&](std::size_t chunk, std::size_t block_size, std::size_t n_threads,
                                 std::uint32_t shuffle) {
      const auto out = sequence.attend(chunk, block_size, n_threads, shuffle, GetParam());
      ASSERT_EQ(std::memcmp(out.data(), reference.data(), out.size() * sizeof(float)), 0)
          << "head_dim " << head_dim << " chunk " << chunk << " block " << block_size << " threads "
          << n_threads << " shuffle " << shuffle;
    };
    for (const std::size_t chunk : {7, 32, 256, 600}) {
      for (const std::size_t block_size : {1, 5, 16, 24, 64}) expect_same(chunk, block_size, 1, 60);
    }
    expect_same(32, 16, 3, 1);
    expect_same(600, 5, 3, 60);
  }
}

class RowOps : public EveryInstructionSet {};
CONCERTINA_EVERY_SET(RowOps);

TEST_P(RowOps, RmsNormMatchesForEveryWidthAndInPlace) {
  for (const std::size_t width : {1, 2, 15, 16, 17, 64, 100}) {
    Random random(width);
    const auto weight = random_weight(random, {static_cast<std::int64_t>(width)}, tensor::DType::kBF16);
    const auto x = random_rows(random, 3 * width);
    std::vector<float> y(x.size()), in_place = x;
    device::Stream on(2, {}, GetParam());
    rms_norm(x, weight, 1e-6f, y, 3, on);
    rms_norm(in_place, weight, 1e-6f, in_place, 3, on);
    EXPECT_EQ(y, in_place);
    for (std::size_t m = 0; m < 3; ++m) {
      const auto expected = ref::rms_norm(to_matrix(x, width)[m], weight, 1e-6);
      for (std::size_t i = 0; i < width; ++i) {
        // The squares' sum has only positive terms: its relative error is at most (width + 5) epsilon, halved
        // by the root.
        ASSERT_NEAR(y[m * width + i], expected[i],
                    (static_cast<double>(width) + 12) * kEpsilon * std::abs(expected[i]) + 1e-30);
      }
    }
  }
}

TEST_P(RowOps, ASumThatIsNormedIsTheSumAndThenTheNorm) {
  Random random(9);
  const std::size_t width = 100, n_rows = 300;
  const auto weight = random_weight(random, {static_cast<std::int64_t>(width)}, tensor::DType::kF32);
  const auto hidden = random_rows(random, n_rows * width), delta = random_rows(random, n_rows * width);
  auto sum = hidden, expected = hidden;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += delta[i];
  device::Stream one(1, {}, GetParam()), four(4, {}, GetParam());
  rms_norm(sum, weight, 1e-6f, expected, n_rows, one);
  auto got_hidden = hidden, got = hidden;
  add_rms_norm(got_hidden, delta, weight, 1e-6f, got, n_rows, four);
  EXPECT_EQ(got_hidden, sum);
  EXPECT_EQ(got, expected);
}

TEST_P(RowOps, RopeTurnsHalvesAgainstEachOther) {
  const std::size_t head_dim = 34, n_heads = 2;
  const RopeTable table(500, head_dim, 10000.0);
  Random random(4);
  const std::vector<std::uint32_t> positions{0, 1, 499};
  const auto x = random_rows(random, positions.size() * n_heads * head_dim);
  auto turned = x;
  rope(turned, positions, table, n_heads, head_dim, GetParam());
  const auto heads = to_matrix(x, head_dim);
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const auto expected = ref::rope(heads[i], positions[i / n_heads], 10000.0);
    for (std::size_t d = 0; d < head_dim; ++d)
      ASSERT_NEAR(turned[i * head_dim + d], expected[d], 4 * kEpsilon * 8);
  }
}

// silu goes through the vector exponential: its whole range, the ends included.
TEST_P(RowOps, SiluIsAccurateOverTheWholeRange) {
  std::vector<float> gate, up;
  for (double x = -120; x <= 120; x += 0.0137) gate.push_back(static_cast<float>(x)), up.push_back(1.0f);
  std::vector<float> out(gate.size());
  device::Stream on(3, {}, GetParam());
  silu_multiply(gate, up, out, on);
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double x = gate[i], expected = x / (1 + std::exp(-x));
    // The polynomial's remainder is 1.2e-7 of exp, and the quotient rounds a few times. Below -87 exp(-x)
    // nears the largest float, and the result is below 1e-35.
    ASSERT_NEAR(out[i], expected, 8 * kEpsilon * std::abs(expected) + 1e-35) << x;
  }
}

}  // namespace
}  // namespace concertina::kernels
