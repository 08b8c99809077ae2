#include "kernels/ref/reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace concertina::kernels::ref {

double element(const tensor::Weight& weight, std::size_t index) {
  if (weight.dtype == tensor::DType::kF32) return static_cast<const float*>(weight.data)[index];
  const std::uint32_t bits = static_cast<const std::uint16_t*>(weight.data)[index];
  return std::bit_cast<float>(bits << 16);
}

Matrix linear(const Matrix& x, const tensor::Weight& weight) {
  const auto n_out = static_cast<std::size_t>(weight.shape[0]),
             n_in = static_cast<std::size_t>(weight.shape[1]);
  Matrix y(x.size(), std::vector<double>(n_out, 0));
  for (std::size_t m = 0; m < x.size(); ++m) {
    for (std::size_t n = 0; n < n_out; ++n) {
      for (std::size_t k = 0; k < n_in; ++k) y[m][n] += x[m][k] * element(weight, n * n_in + k);
    }
  }
  return y;
}

Matrix expert_mlp(const Matrix& x, const ExpertWeights& weights) {
  Matrix gate = linear(x, weights.gate);
  const Matrix up = linear(x, weights.up);
  for (std::size_t m = 0; m < gate.size(); ++m) {
    for (std::size_t i = 0; i < gate[m].size(); ++i)
      gate[m][i] = gate[m][i] / (1 + std::exp(-gate[m][i])) * up[m][i];
  }
  return linear(gate, weights.down);
}

std::vector<double> rms_norm(const std::vector<double>& x, const tensor::Weight& weight, double epsilon) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  std::vector<double> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = x[i] / std::sqrt(squares / static_cast<double>(x.size()) + epsilon) * element(weight, i);
  }
  return y;
}

std::vector<double> rope(const std::vector<double>& head, std::size_t position, double theta) {
  const std::size_t half = head.size() / 2;
  std::vector<double> out(head.size());
  for (std::size_t i = 0; i < half; ++i) {
    const double angle =
        static_cast<double>(position) * std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
    out[i] = head[i] * std::cos(angle) - head[i + half] * std::sin(angle);
    out[i + half] = head[i + half] * std::cos(angle) + head[i] * std::sin(angle);
  }
  return out;
}

std::vector<double> attention(const std::vector<double>& q, const Matrix& keys, const Matrix& values,
                              double scale) {
  std::vector<double> scores;
  for (const auto& key : keys)
    scores.push_back(scale * std::inner_product(q.begin(), q.end(), key.begin(), 0.0));
  const double highest = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - highest);
  std::vector<double> out(values[0].size(), 0);
  for (std::size_t j = 0; j < values.size(); ++j) {
    for (std::size_t d = 0; d < out.size(); ++d) out[d] += scores[j] / total * values[j][d];
  }
  return out;
}

std::vector<double> sampling_distribution(const std::vector<float>& logits, const request::Drawing& drawing) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (drawing.top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(drawing.top_k)));
  std::vector<double> masses;
  for (const std::size_t i : order)
    masses.push_back(std::exp((logits[i] - static_cast<double>(logits[order[0]])) / drawing.temperature));
  const double total = std::accumulate(masses.begin(), masses.end(), 0.0);
  std::vector<double> out(logits.size(), 0);
  double before = 0, kept = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && (before >= drawing.top_p * total || masses[i] < drawing.min_p * masses[0])) break;
    before += masses[i];
    kept += out[order[i]] = masses[i];
  }
  for (double& p : out) p /= kept;
  return out;
}

std::vector<float> changed_logits(std::vector<float> logits, const request::Drawing& drawing) {
  for (std::size_t t = 0; t < logits.size() && !drawing.allowed.empty(); ++t)
    if ((drawing.allowed[t / 64] >> (t % 64)) % 2 == 0) logits[t] = -std::numeric_limits<float>::infinity();
  for (const request::LogitEdit& edit : drawing.edits) {
    float& logit = logits[static_cast<std::size_t>(edit.token)];
    logit = logit > 0 ? logit / edit.divisor : logit * edit.divisor;
    logit += edit.bias;
  }
  return logits;
}

std::vector<double> log_softmax(const std::vector<float>& logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const double logit : logits) total += std::exp(logit - highest);
  std::vector<double> out;
  for (const double logit : logits) out.push_back(logit - highest - std::log(total));
  return out;
}

}  // namespace concertina::kernels::ref
