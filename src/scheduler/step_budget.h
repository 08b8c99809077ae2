#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/time.h"
#include "scheduler/prefill_limit.h"
#include "scheduler/step_load.h"
#include "scheduler/step_time_model.h"

namespace concertina::scheduler {

// What a rank's next step would hold of its own, before it is planned.
struct Demand {
  std::size_t n_streams = 0;           // sequences that decode, and replays
  std::size_t n_decodes = 0;           // sequences that decode
  std::size_t n_decode_positions = 0;  // that these attend to, all together
  std::size_t n_wanted = 0;            // prefill tokens, at most a step's worth
  std::size_t wanted_at = 0;           // their mean position
};

// How much prefill a rank takes in a step, so that whoever decodes anywhere waits no longer than the
// budget (docs/scheduling.md). Ranks run in lock step, so the time to share is that of the sum over ranks.
// Pure: a function of the steps told.
//
// Nobody decodes anywhere: as many as fit a step. Else, of the time that the decoding leaves (0.4 of its own
// time at least), each rank gets
// what it said it wanted, the largest wishes cut to one level until their sum fits; what nobody asked for is
// shared evenly among those who have something new. So ranks that know the same times never take more time
// together than is left, but for kMinTokens each, with which every prompt gets on.
class StepBudget {
 public:
  static constexpr std::size_t kMinTokens = 4;
  static constexpr std::size_t kFirstTokens = 32;  // while no time is known, or nothing of the others

  struct Sizes {
    std::size_t max_tokens;  // of this rank's step
    std::size_t max_ranks;
  };
  StepBudget(Duration budget, Sizes sizes) : budget_(budget), max_tokens_(sizes.max_tokens) {  // 0: none
    others_.reserve(sizes.max_ranks);
    wishes_.reserve(sizes.max_ranks);
  }

  // A step was committed: what each rank did in it, which of them is this one, and how long it took; nullopt
  // if that says nothing, as in the first step of an epoch.
  void on_step(std::span<const StepLoad> loads, std::size_t self, std::optional<Duration> time);

  PrefillLimit prefill_limit(const Demand& demand);
  const StepTimeModel& model() const { return model_; }

 private:
  double time_left_s(const Demand& demand) const;
  double share_s(double left_s);

  const Duration budget_;
  const std::size_t max_tokens_;
  StepTimeModel model_;
  std::vector<StepLoad> others_;  // in the last step
  StepLoad own_;                  // in the last step
  std::vector<double> wishes_;    // scratch
  enum class Others : std::uint8_t { kUnknown, kKnown } known_ = Others::kUnknown;
  std::size_t most_prefill_ = 0;  // of all ranks together in one step, of those measured
};

// The level at which `wishes`, cut to it, add up to `total`; infinite if they need not be cut. Sorts them.
double fair_level(std::span<double> wishes, double total);

}  // namespace concertina::scheduler
