#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cuda/test_products.h"

namespace concertina::kernels::cuda {
namespace {

class CudaExperts : public OnDevice {
 protected:
  struct Routed {
    std::vector<std::uint32_t> ids;
    std::vector<float> weights;
  };
  Routed routed(const std::vector<float>& logits, std::size_t n_experts, std::size_t top_k, bool over_all) {
    const std::size_t n_rows = logits.size() / n_experts;
    auto* const ids = room<std::uint32_t>(n_rows * top_k);
    auto* const weights = room<float>(n_rows * top_k);
    route({upload(logits), u32(n_rows), u32(n_experts), u32(top_k), over_all, ids, weights}, stream());
    return {download(ids, n_rows * top_k), download(weights, n_rows * top_k)};
  }

  SlotLists lists_for(std::size_t n_entries, std::size_t n_slots) {
    return {room<std::uint32_t>(n_slots + 1), room<std::uint32_t>(n_entries),
            room<std::uint32_t>(3 * max_items(u32(n_entries), u32(n_slots))), room<std::uint32_t>(1)};
  }
};

TEST_F(CudaExperts, RouteTakesTheHighestTiesToTheLowerIdAndWeighsThem) {
  for (const bool over_all : {false, true}) {
    for (const std::size_t n_experts : {8u, 16u, 100u, 128u, 256u}) {
      Random random(n_experts);
      constexpr std::size_t kRows = 40, kTopK = 8;
      auto logits = random_floats(random, kRows * n_experts, 2);
      for (std::size_t row = 0; row < kRows; row += 3)
        logits[row * n_experts + 5] = logits[row * n_experts + 2] = 9;
      const Routed found = routed(logits, n_experts, kTopK, over_all);
      for (std::size_t row = 0; row < kRows; ++row) {
        const float* const own = logits.data() + row * n_experts;
        std::vector<std::uint32_t> order(n_experts);
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return own[a] > own[b]; });
        double sum = 0;
        for (std::size_t j = 0; j < (over_all ? n_experts : kTopK); ++j)
          sum += std::exp(double{own[order[j]]} - own[order[0]]);
        for (std::size_t j = 0; j < kTopK; ++j) {
          ASSERT_EQ(found.ids[row * kTopK + j], order[j]);
          // expf is good to 2 units, a sum of so many adds half of one each.
          const double want = std::exp(double{own[order[j]]} - own[order[0]]) / sum;
          ASSERT_NEAR(found.weights[row * kTopK + j], want,
                      want * static_cast<double>(n_experts + 4) * 0x1p-23);
        }
      }
    }
  }
}

TEST_F(CudaExperts, RouteOfNansStillNamesDifferentExperts) {
  const Routed found = routed(std::vector<float>(8, std::nanf("")), 8, 4, false);
  EXPECT_EQ(found.ids, (std::vector<std::uint32_t>{0, 1, 2, 3}));
}

TEST_F(CudaExperts, EveryEntryIsListedOnceInItsSlot) {
  for (const std::size_t n_entries : {1u, 8u, 77u, 4096u, 65536u}) {
    constexpr std::size_t kSlots = 128;
    Random random(n_entries);
    std::vector<std::uint32_t> slots(n_entries);
    for (auto& slot : slots) slot = u32(random.below(3) == 0 ? 5 : random.below(kSlots));
    const SlotLists lists = lists_for(n_entries, kSlots);
    group_by_slot(upload(slots), u32(n_entries), kSlots, lists, stream());
    const auto entries = download(lists.entries, n_entries);
    const auto begin = download(lists.begin, kSlots + 1);
    const auto n_items = download(lists.n_items, 1)[0];
    ASSERT_LE(n_items, max_items(u32(n_entries), kSlots));
    const auto items = download(lists.items, 3 * n_items);
    std::vector<int> seen(n_entries);
    for (std::size_t i = 0; i < n_items; ++i) {
      const std::uint32_t slot = items[3 * i], first = items[3 * i + 1], count = items[3 * i + 2];
      ASSERT_TRUE(count >= 1 && count <= kItemRows);
      ASSERT_TRUE(first >= begin[slot] && first + count <= begin[slot + 1]);
      for (std::uint32_t at = first; at < first + count; ++at) {
        ASSERT_EQ(slots[entries[at]], slot);
        ++seen[entries[at]];
      }
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<std::ptrdiff_t>(n_entries));
  }
}

struct Experts {
  std::size_t n_slots, hidden, inner, top_k;
  std::size_t matrix() const { return hidden * inner; }
};

class CudaExpertMlp : public CudaExperts {
 protected:
  // [n_rows, top_k, hidden]
  Bits run(const Experts& e, const Bf16* slots, const Bits& x, const std::vector<std::uint32_t>& ids) {
    const std::size_t n_rows = x.size() / e.hidden, n_entries = ids.size();
    const SlotLists lists = lists_for(n_entries, e.n_slots);
    Bf16* const out = room<Bf16>(n_entries * e.hidden);
    group_by_slot(upload(ids), u32(n_entries), u32(e.n_slots), lists, stream());
    expert_mlp({slots, u32(e.n_slots), u32(e.hidden), u32(e.inner), upload(x), u32(n_rows), u32(e.top_k),
                lists, room<Bf16>(n_entries * e.inner), out},
               stream());
    return download(out, n_entries * e.hidden);
  }
};

// gate, up and down are equal to the oracle; between them stand silu and a rounding, which are checked by
// what the second product makes of them: within one unit of BF16 in each of its terms.
TEST_F(CudaExpertMlp, IsTheOraclesProductsWithSiluBetween) {
  for (const Experts& e :
       {Experts{8, 64, 32, 2}, Experts{16, 256, 160, 2}, Experts{5, 512, 96, 3}, Experts{4, 2048, 768, 2}}) {
    for (const std::size_t n_rows : {1u, 3u, 60u}) {
      Random random(n_rows + e.inner);
      const float scale = 1.0f / std::sqrt(static_cast<float>(e.hidden));
      const Bits slots = random_bits(random, e.n_slots * 3 * e.matrix(), scale),
                 x = random_bits(random, n_rows * e.hidden);
      std::vector<std::uint32_t> ids(n_rows * e.top_k);
      for (auto& id : ids) id = u32(random.below(e.n_slots));
      const Bits found = run(e, upload(slots), x, ids);
      for (std::size_t entry = 0; entry < ids.size(); entry += 1 + ids.size() / 16) {
        const Bits own = rows_of(x, entry / e.top_k, 1, e.hidden);
        const auto matrix = [&](std::size_t which) {
          return rows_of(slots, ids[entry] * 3 + which, 1, e.matrix());
        };
        const Bits gate = matrix(0), up = matrix(1), down = matrix(2);
        std::vector<double> middle(e.inner);
        for (std::size_t i = 0; i < e.inner; ++i) {
          const double g = ref::chain(row_of(gate, i, e.hidden), own),
                       u = ref::chain(row_of(up, i, e.hidden), own);
          middle[i] = g / (1 + std::exp(-g)) * u;
        }
        for (std::size_t o = 0; o < e.hidden; ++o) {
          double want = 0, size = 0;
          for (std::size_t i = 0; i < e.inner; ++i) {
            const double term = middle[i] * ref::widen(down[o * e.inner + i]);
            want += term, size += std::abs(term);
          }
          // Of each term half a unit (2^-8), of the result another; float32 within.
          ASSERT_NEAR(ref::widen(found[entry * e.hidden + o]), want, (size + std::abs(want)) * 0x1p-8 * 1.01);
        }
      }
      arenas_.clear();
    }
  }
}

TEST_F(CudaExpertMlp, ARowHasTheSameBitsInAnyCompany) {
  const Experts e{16, 256, 160, 2};
  Random random(6);
  const Bf16* const slots = upload(random_bits(random, e.n_slots * 3 * e.matrix(), 0.06f));
  constexpr std::size_t kRows = 700;
  const Bits x = random_bits(random, kRows * e.hidden);
  std::vector<std::uint32_t> ids(kRows * e.top_k);
  for (auto& id : ids) id = u32(random.below(2) == 0 ? 3 : random.below(e.n_slots));  // half of all go to one
  const Bits all = run(e, slots, x, ids);
  for (const std::size_t n : {1u, 2u, 7u, 64u, 300u}) {
    for (const std::size_t first : {std::size_t{0}, std::size_t{123}, kRows - n}) {
      const Bits some = run(e, slots, rows_of(x, first, n, e.hidden), rows_of(ids, first, n, e.top_k));
      EXPECT_TRUE(same_bits(some, rows_of(all, first, n, e.top_k * e.hidden))) << n << " from " << first;
    }
  }
}

}  // namespace
}  // namespace concertina::kernels::cuda
