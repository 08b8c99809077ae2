#include <cstddef>
#include <cstdint>

namespace concertina::kernels::cpu {
namespace {

// One sum; a step of sixteen bytes.
struct Lanes {
  static constexpr std::size_t kStep = 16;
  struct Row {
    const std::uint8_t* at;
    std::size_t n;
  };
  struct Weights {
    const std::int8_t* at;
  };
  std::int32_t total;

  static Lanes zero() { return {0}; }
  static Row load(const std::uint8_t* from) { return {from, kStep}; }
  static Row load_first(const std::uint8_t* from, std::size_t n) { return {from, n}; }
  static Weights load(const std::int8_t* from) { return {from}; }
  static Weights load_first(const std::int8_t* from, std::size_t) { return {from}; }
  std::int32_t sum() const { return total; }
};
inline void add_product(Lanes& sum, const Lanes::Row& row, const Lanes::Weights& weights) {
  for (std::size_t i = 0; i < row.n; ++i) sum.total += std::int32_t{row.at[i]} * weights.at[i];
}
constexpr std::size_t kTileRows = 2, kTileOutputs = 2;

}  // namespace
}  // namespace concertina::kernels::cpu

#include "kernels/cpu/int8_impl.h"

namespace concertina::kernels::cpu {
const Int8Ops kPortableInt8Ops = make_int8_ops();
}
