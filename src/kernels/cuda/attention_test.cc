#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cuda/test_products.h"
#include "kernels/ref/reference.h"
#include "kernels/rope.h"

namespace concertina::kernels::cuda {
namespace {

struct Heads {
  std::size_t n_heads, n_kv_heads, head_dim, block_size;
  std::size_t width() const { return (n_heads + 2 * n_kv_heads) * head_dim; }
  std::size_t q_width() const { return n_heads * head_dim; }
};
constexpr Heads kHeads[] = {{32, 4, 128, 64}, {4, 2, 64, 16},  {4, 4, 16, 16},  {4, 2, 32, 5},
                            {6, 2, 80, 64},   {2, 1, 256, 16}, {4, 4, 128, 16}, {16, 1, 128, 128}};

// A sequence's KV in blocks that are neither adjacent nor ascending; everything that is not written is NaN.
class CudaAttention : public OnDevice {
 protected:
  static constexpr std::size_t kBlocks = 257, kMaxLength = 900;  // a prime

  struct Sequence {
    std::size_t start = 0;
    std::vector<std::uint32_t> blocks;
  };
  void begin(const Heads& heads) {
    arenas_.clear();
    heads_ = heads, next_block_ = 0;
    kv_ = {room<Bf16>(kBlocks * 2 * heads.n_kv_heads * heads.block_size * heads.head_dim),
           u32(heads.block_size), u32(heads.n_kv_heads), u32(heads.head_dim)};
    const RopeTable table(kMaxLength, heads.head_dim, 10000);
    std::vector<float> cosines, sines;
    for (std::size_t p = 0; p < kMaxLength; ++p) {
      cosines.insert(cosines.end(), table.cosines(p).begin(), table.cosines(p).end());
      sines.insert(sines.end(), table.sines(p).begin(), table.sines(p).end());
    }
    cosines_ = upload(cosines), sines_ = upload(sines);
  }
  Sequence sequence(std::size_t length, std::size_t step = 101) {
    Sequence made;
    for (std::size_t at = 0; at < length; at += heads_.block_size)
      made.blocks.push_back(u32(next_block_++ * step % kBlocks));
    return made;
  }

  struct Part {
    Sequence* sequence;
    std::vector<float> qkv;  // its next rows
  };
  // Prepares and attends for all parts in one step; [rows of all, n_heads * head_dim].
  Bits step(const std::vector<Part>& parts) {
    std::vector<float> qkv;
    std::vector<SequenceRows> sequences;
    std::vector<std::uint32_t> row_sequence, blocks;
    std::vector<AttentionItem> items;
    const std::uint32_t most = n_rows_of_item(u32(heads_.n_heads), u32(heads_.n_kv_heads));
    for (const Part& part : parts) {
      const std::uint32_t n = u32(part.qkv.size() / heads_.width()), row = u32(row_sequence.size());
      for (std::uint32_t at = 0; at < n; at += most)
        items.push_back({u32(sequences.size()), row + at, std::min(most, n - at)});
      row_sequence.insert(row_sequence.end(), n, u32(sequences.size()));
      sequences.push_back({row, n, u32(part.sequence->start), u32(blocks.size())});
      blocks.insert(blocks.end(), part.sequence->blocks.begin(), part.sequence->blocks.end());
      qkv.insert(qkv.end(), part.qkv.begin(), part.qkv.end());
      part.sequence->start += n;
    }
    const std::size_t n_rows = row_sequence.size();
    const AttentionStep on_device{upload(sequences), upload(row_sequence), upload(blocks),
                                  upload(items),     u32(n_rows),          u32(items.size())};
    Bf16* const q = room<Bf16>(n_rows * heads_.q_width());
    Bf16* const out = room<Bf16>(n_rows * heads_.q_width());
    prepare_heads({upload(qkv), norm_, q_norm_, k_norm_, 1e-6f, cosines_, sines_, u32(heads_.head_dim),
                   u32(heads_.n_heads), q},
                  on_device, kv_, stream());
    attend(q, on_device, kv_, 1.0f / std::sqrt(static_cast<float>(heads_.head_dim)), u32(heads_.n_heads), out,
           stream());
    last_q_ = download(q, n_rows * heads_.q_width());
    return download(out, n_rows * heads_.q_width());
  }
  std::vector<float> random_qkv(Random& random, std::size_t n_rows) {
    return random_floats(random, n_rows * heads_.width());
  }
  Part part(Sequence& sequence, const std::vector<float>& qkv, std::size_t first, std::size_t n) {
    return {&sequence, rows_of(qkv, first, n, heads_.width())};
  }

  Heads heads_{};
  PagedKv kv_{};
  std::size_t next_block_ = 0;
  HeadNorm norm_ = HeadNorm::kNone;
  const float *q_norm_ = nullptr, *k_norm_ = nullptr, *cosines_ = nullptr, *sines_ = nullptr;
  Bits last_q_;
};

// q, k and v of one row: normed, rotated and rounded, in double but for the last.
struct Reference {
  const Heads& heads;
  HeadNorm norm = HeadNorm::kNone;
  std::vector<float> q_norm, k_norm;

  std::vector<double> head(const float* row, std::size_t h, std::size_t position) const {
    const std::size_t d = heads.head_dim;
    const bool is_q = h < heads.n_heads, is_v = h >= heads.n_heads + heads.n_kv_heads;
    std::vector<double> x(row + h * d, row + (h + 1) * d);
    if (is_v) return x;
    const std::size_t first = is_q ? 0 : heads.n_heads, n = is_q ? heads.n_heads : heads.n_kv_heads;
    if (norm != HeadNorm::kNone) {
      const bool is_full = norm == HeadNorm::kFullWidth;
      const float* const from = is_full ? row + first * d : row + h * d;
      const std::size_t width = is_full ? n * d : d;
      double squares = 0;
      for (std::size_t i = 0; i < width; ++i) squares += double{from[i]} * from[i];
      const std::vector<float>& weight = is_q ? q_norm : k_norm;
      for (std::size_t i = 0; i < d; ++i)
        x[i] *= weight[(is_full ? (h - first) * d : 0) + i] /
                std::sqrt(squares / static_cast<double>(width) + 1e-6);
    }
    return ref::rope(x, position, 10000);
  }
};

TEST_F(CudaAttention, HeadsAreNormedRotatedAndRoundedOnce) {
  for (const HeadNorm norm : {HeadNorm::kNone, HeadNorm::kPerHead, HeadNorm::kFullWidth}) {
    for (const Heads& heads : kHeads) {
      begin(heads);
      Random random(heads.head_dim);
      const bool is_full = norm == HeadNorm::kFullWidth;
      Reference want{heads, norm, random_floats(random, heads.head_dim * (is_full ? heads.n_heads : 1)),
                     random_floats(random, heads.head_dim * (is_full ? heads.n_kv_heads : 1))};
      norm_ = norm, q_norm_ = upload(want.q_norm), k_norm_ = upload(want.k_norm);
      constexpr std::size_t kRows = 20;
      Sequence own = sequence(kRows + 300);
      own.start = 300;
      const auto qkv = random_qkv(random, kRows);
      step({{&own, qkv}});
      const Bits pool =
          download(kv_.data, kBlocks * 2 * heads.n_kv_heads * heads.block_size * heads.head_dim);
      for (std::size_t row = 0; row < kRows; ++row) {
        for (std::size_t h = 0; h < heads.n_heads + 2 * heads.n_kv_heads; ++h) {
          const std::size_t position = 300 + row, of_kv = h - std::min(h, heads.n_heads);
          const auto x = want.head(qkv.data() + row * heads.width(), h, position);
          double size = 0;
          for (const double value : x) size = std::max(size, std::abs(value));
          const std::size_t at =
              h < heads.n_heads ? (row * heads.n_heads + h) * heads.head_dim
                                : ((own.blocks[position / heads.block_size] * 2 * heads.n_kv_heads + of_kv) *
                                       heads.block_size +
                                   position % heads.block_size) *
                                      heads.head_dim;
          const Bits& found = h < heads.n_heads ? last_q_ : pool;
          for (std::size_t i = 0; i < heads.head_dim; ++i)
            ASSERT_NEAR(ref::widen(found[at + i]), x[i], std::abs(x[i]) * 0x1p-8 * 1.01 + size * 0x1p-19)
                << "head " << h << " of row " << row;
        }
      }
    }
  }
}

// What a sequence's positions have in the KV.
struct Stored {
  const Heads& heads;
  const std::vector<std::uint32_t>& blocks;
  const Bits& pool;

  // [n][head_dim] keys (part 0) or values (part 1)
  ref::Matrix rows(std::size_t n, std::size_t part, std::size_t kv_head) const {
    ref::Matrix out(n, std::vector<double>(heads.head_dim));
    for (std::size_t p = 0; p < n; ++p) {
      const std::size_t block = blocks[p / heads.block_size] * 2 + part;
      const std::size_t at =
          ((block * heads.n_kv_heads + kv_head) * heads.block_size + p % heads.block_size) * heads.head_dim;
      for (std::size_t i = 0; i < heads.head_dim; ++i) out[p][i] = ref::widen(pool[at + i]);
    }
    return out;
  }
};

// A weight is rounded to BF16 (2^-8) above and below the line, the result once more; scores and exponentials
// are good to 2^-17.
void expect_attended(const Heads& heads, const Bits& found, const Bits& q, const Stored& stored,
                     std::size_t row, std::size_t h) {
  const std::size_t kv_head = h / (heads.n_heads / heads.n_kv_heads),
                    at = (row * heads.n_heads + h) * heads.head_dim;
  const ref::Matrix values = stored.rows(row + 1, 1, kv_head);
  std::vector<double> query(heads.head_dim);
  for (std::size_t i = 0; i < query.size(); ++i) query[i] = ref::widen(q[at + i]);
  const auto want = ref::attention(query, stored.rows(row + 1, 0, kv_head), values,
                                   1 / std::sqrt(static_cast<double>(heads.head_dim)));
  double largest = 0;
  for (const auto& value : values)
    for (const double v : value) largest = std::max(largest, std::abs(v));
  for (std::size_t i = 0; i < heads.head_dim; ++i)
    ASSERT_NEAR(ref::widen(found[at + i]), want[i],
                largest * (2 * 0x1p-8 + 0x1p-15) + std::abs(want[i]) * 0x1p-8)
        << heads.head_dim << ": head " << h << " of row " << row;
}

TEST_F(CudaAttention, AttendsLikeTheReferenceWithinTheRoundingOfItsWeights) {
  for (const Heads& heads : kHeads) {
    begin(heads);
    Random random(heads.n_heads);
    for (const std::size_t length : {1u, 2u, 16u, 17u, 127u, 128u, 129u, 300u, 700u}) {
      next_block_ = 0;
      Sequence own = sequence(length);
      const Bits found = step({{&own, random_qkv(random, length)}});
      const Bits pool =
          download(kv_.data, kBlocks * 2 * heads.n_kv_heads * heads.block_size * heads.head_dim);
      const Stored stored{heads, own.blocks, pool};
      for (const std::size_t row : {std::size_t{0}, length / 2, length - 1})
        for (std::size_t h = 0; h < heads.n_heads; h += heads.n_heads - 1)
          expect_attended(heads, found, last_q_, stored, row, h);
    }
  }
}

// In one chunk, in chunks of any length, decoded one by one, beside others, in blocks of any order: one set
// of bits. What no sequence wrote is NaN.
TEST_F(CudaAttention, ARowHasTheSameBitsHoweverItsSequenceWasComputed) {
  for (const Heads& heads : {kHeads[0], kHeads[1], kHeads[3], kHeads[6], kHeads[7]}) {
    begin(heads);
    Random random(11);
    constexpr std::size_t kLength = 300;
    const auto qkv = random_qkv(random, kLength), other_qkv = random_qkv(random, kLength);
    Sequence whole = sequence(kLength);
    const Bits want = step({{&whole, qkv}});
    for (const std::size_t chunk : {1u, 7u, 64u, 128u, 129u}) {
      begin(heads);
      Sequence own = sequence(kLength, chunk + 2), other = sequence(kLength, chunk + 2);
      for (std::size_t first = 0; first < kLength; first += chunk) {
        const std::size_t n = std::min<std::size_t>(chunk, kLength - first);
        const bool is_beside = first % 2 == 1 && other.start + 2 < kLength;
        std::vector<Part> parts{part(own, qkv, first, n)};
        if (is_beside) parts.insert(parts.begin(), part(other, other_qkv, other.start, 2));
        const Bits found = step(parts);
        ASSERT_TRUE(same_bits(rows_of(found, is_beside ? 2 : 0, n, heads.q_width()),
                              rows_of(want, first, n, heads.q_width())))
            << "chunks of " << chunk << ", from " << first;
        arenas_.resize(3);  // the pool and the tables of rotations
      }
    }
  }
}

}  // namespace
}  // namespace concertina::kernels::cuda
