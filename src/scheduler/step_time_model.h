#pragma once

#include <array>
#include <cstddef>

namespace concertina::scheduler {

// The time of a step of all ranks together, learnt from those measured:
//   base + a token's time * tokens + a position's time * positions attended to.
// A Kalman filter (R. Kalman, "A new approach to linear filtering and prediction problems", 1960) over these
// three, which drift: each measured step moves them as far as they are uncertain in its direction. Chosen
// over a plain step along the error (least mean squares), which did not tell tokens from positions within a
// prompt and took a fresh prompt's first step 40% too long. The uncertainty is bounded, so that steps that
// are all alike cannot make it grow without end. An error counts as no more than half or twice the time
// foretold: one step that another program, a scale or a page fault made slow moves little, and a machine that
// became slow is believed within a few steps.
class StepTimeModel {
 public:
  void learn(std::size_t n_tokens, std::size_t n_positions, double seconds);
  void learn_decoding(std::size_t n_tokens, double seconds);  // without prefill: base takes about so long
  double decoding_s() const { return least_s_; }  // of the shortest of late without prefill; 0: none yet
  bool knows() const { return n_learnt_ > 0; }
  double step_s(double n_tokens, double n_positions) const;
  double token_s(double position) const;  // of one prefill token more

 private:
  static constexpr std::size_t kN = 3;
  using Vector = std::array<double, kN>;
  static Vector features_of(double n_tokens, double n_positions);
  void begin(const Vector& features, double seconds);
  void drift(double foretold);

  Vector weights_{};
  std::array<Vector, kN> covariance_{};
  std::size_t n_learnt_ = 0;
  double least_s_ = 0, least_base_s_ = 0;  // of steps without prefill
};

}  // namespace concertina::scheduler
