#include "scheduler/step_time_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace concertina::scheduler {

namespace {

constexpr double kTokens = 128;      // what a feature of 1 stands for
constexpr double kPositions = 4096;  // of each of those tokens
constexpr double kLeast = 1e-7;      // seconds: of any weight, so that tokens never seem free
constexpr double kNoise = 0.1;       // of a measured time, as a share of it
constexpr double kFloor = 0.9;       // of a step's time without prefill that is base at least
constexpr double kForget = 1.02;     // how fast the shortest of these gives way to longer ones
constexpr double kDrift = 0.03;      // of a weight from step to step, as a share of it

}  // namespace

StepTimeModel::Vector StepTimeModel::features_of(double n_tokens, double n_positions) {
  return {1.0, n_tokens / kTokens, n_positions / (kTokens * kPositions)};
}

double StepTimeModel::step_s(double n_tokens, double n_positions) const {
  const Vector features = features_of(n_tokens, n_positions);
  return std::inner_product(features.begin(), features.end(), weights_.begin(), 0.0);
}

double StepTimeModel::token_s(double position) const {
  return (weights_[1] + weights_[2] * position / kPositions) / kTokens;
}

// What a step that only decodes took is base, and the rest of the first step tokens' time: too dear, so that
// the next steps are short, not long. A token at position 4096 is taken for twice as dear as the first.
void StepTimeModel::begin(const Vector& features, double seconds) {
  const double base = std::min(kFloor * seconds, least_base_s_);
  const double each = std::max(kLeast, (seconds - base) / (features[1] + features[2]));
  weights_ = {std::max(kLeast, base), each, each};
  const double uncertain[kN] = {seconds / 2, each / 2, 2 * each};
  for (std::size_t i = 0; i < kN; ++i) covariance_[i][i] = uncertain[i] * uncertain[i];
}

// No more is learnt of these: they read the weights of fewer experts than a step with a prompt. The shortest
// of the last counts, since any may have been made slow by something else.
void StepTimeModel::learn_decoding(std::size_t n_tokens, double seconds) {
  least_s_ = least_s_ > 0 ? std::min(seconds, kForget * least_s_) : seconds;
  const double tokens_s = knows() ? static_cast<double>(n_tokens) / kTokens * weights_[1] : 0.0;
  least_base_s_ = std::max(0.0, kFloor * least_s_ - tokens_s);
}

void StepTimeModel::learn(std::size_t n_tokens, std::size_t n_positions, double seconds) {
  if (n_tokens == 0 || !std::isfinite(seconds) || seconds <= 0) return;
  const Vector features = features_of(static_cast<double>(n_tokens), static_cast<double>(n_positions));
  if (n_learnt_++ == 0) return begin(features, seconds);
  const double foretold = std::inner_product(features.begin(), features.end(), weights_.begin(), 0.0);
  const double error = std::clamp(seconds - foretold, -foretold / 2, foretold);
  Vector spread{};  // covariance * features
  for (std::size_t i = 0; i < kN; ++i)
    spread[i] = std::inner_product(features.begin(), features.end(), covariance_[i].begin(), 0.0);
  const double noise = kNoise * foretold;
  const double total = std::inner_product(features.begin(), features.end(), spread.begin(), noise * noise);
  for (std::size_t i = 0; i < kN; ++i) {
    weights_[i] = std::max(kLeast, weights_[i] + error * spread[i] / total);
    for (std::size_t j = 0; j < kN; ++j) covariance_[i][j] -= spread[i] * spread[j] / total;
  }
  weights_[0] = std::max(weights_[0], least_base_s_);
  drift(foretold);
}

// No weight is more uncertain than a step's time; one that is near nothing may still come to be something.
void StepTimeModel::drift(double foretold) {
  for (std::size_t i = 0; i < kN; ++i) {
    const double step = kDrift * std::max(weights_[i], 0.1 * foretold);
    covariance_[i][i] += step * step;
    const double most = foretold * foretold;
    if (covariance_[i][i] <= most) continue;
    const double scale = std::sqrt(most / covariance_[i][i]);
    for (std::size_t j = 0; j < kN; ++j) covariance_[i][j] *= scale, covariance_[j][i] *= scale;
  }
}

}  // namespace concertina::scheduler
