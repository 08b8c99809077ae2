#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>
#include <functional>

namespace concertina {

// A number that names a thing. Ids of different things do not mix, and none converts from or to an integer by
// itself.
template <typename Tag, typename Rep>
class Id {
 public:
  using Number = Rep;
  constexpr Id() = default;
  constexpr explicit Id(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const Id&) const = default;
  constexpr Id next() const { return Id(static_cast<Rep>(value_ + 1)); }

 private:
  Rep value_ = 0;
};

using RankId =
    Id<struct RankTag, std::uint32_t>;  // a worker, for its life; the lowest free number is used again
using Incarnation =
    Id<struct IncarnationTag, std::uint64_t>;          // one start of one worker process; never used twice
using ExpertId = Id<struct ExpertTag, std::uint32_t>;  // within its layer
using MoeLayerId =
    Id<struct MoeLayerTag, std::uint32_t>;  // counts MoE layers alone, 0-based: dense ones have no number
using WeightsVersion = Id<struct WeightsVersionTag, std::uint64_t>;  // of a model's weights; 0: none
using Epoch = Id<struct EpochTag, std::uint64_t>;                    // 0: none yet; never used twice
using Ballot =
    Id<struct BallotTag, std::uint64_t>;  // one try of a recovery; 0: none. A higher one replaces a lower
using StepId = Id<struct StepTag, std::uint64_t>;        // counted from 0 in each epoch
using BlockId = Id<struct BlockTag, std::uint32_t>;      // a KV block of one rank
using RequestId = Id<struct RequestTag, std::uint64_t>;  // one choice of one client request; never used twice
using Attempt = Id<struct AttemptTag, std::uint32_t>;    // which assignment of a request to a rank

using TokenId = std::int32_t;  // vocabulary entry: data, not a name of ours; kept as the checkpoint's integer

}  // namespace concertina

template <typename Tag, typename Rep>
struct std::hash<concertina::Id<Tag, Rep>> {
  std::size_t operator()(const concertina::Id<Tag, Rep>& id) const noexcept {
    return std::hash<Rep>()(id.value());
  }
};

template <typename Tag, typename Rep>
struct fmt::formatter<concertina::Id<Tag, Rep>> : fmt::formatter<Rep> {
  template <typename Context>
  auto format(const concertina::Id<Tag, Rep>& id, Context& context) const {
    return fmt::formatter<Rep>::format(id.value(), context);
  }
};
