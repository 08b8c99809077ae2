#pragma once

#include <span>
#include <vector>

#include "kernels/experts.h"
#include "kernels/sampling.h"

// Slow, obvious versions of the ops in double: the oracles of their tests.
namespace concertina::kernels::ref {

using Matrix = std::vector<std::vector<double>>;  // [rows][columns]

double element(const tensor::Weight& weight, std::size_t index);  // widened

Matrix linear(const Matrix& x, const tensor::Weight& weight);
Matrix expert_mlp(const Matrix& x, const ExpertWeights& weights);
std::vector<double> rms_norm(const std::vector<double>& x, const tensor::Weight& weight, double epsilon);
std::vector<double> rope(const std::vector<double>& head, std::size_t position, double theta);
// One query against keys and values [n_positions][head_dim].
std::vector<double> attention(const std::vector<double>& q, const Matrix& keys, const Matrix& values,
                              double scale);
// What is left of the distribution after temperature, top_k, top_p and min_p; [vocab_size], adds up to 1.
std::vector<double> sampling_distribution(const std::vector<float>& logits, const request::Drawing& drawing);
std::vector<float> changed_logits(std::vector<float> logits, const request::Drawing& drawing);  // mask, edits
std::vector<double> log_softmax(const std::vector<float>& logits);

}  // namespace concertina::kernels::ref
