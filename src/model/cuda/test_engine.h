#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/check.h"
#include "checkpoint/safetensors.h"
#include "device/cuda/test_device.h"
#include "model/cuda/cuda_pass.h"

namespace concertina::model::cuda {

inline const request::Request kGreedy{.sampling = {.temperature = 0}};

// Tests also run where the sources are not (./dev gpu-package).
inline std::filesystem::path source_dir() {
  const char* const elsewhere = std::getenv("CONCERTINA_SOURCE_DIR");
  return elsewhere != nullptr ? elsewhere : CONCERTINA_SOURCE_DIR;
}

inline TokenId argmax(const std::vector<float>& row) {
  return static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin());
}

// How far BF16 may lead from float32. Each value that a product reads is off by up to u = 2^-8 of itself,
// evenly spread: u / sqrt(3) as a deviation; so are weights rounded at load. On its way to a logit a row
// passes four products a layer and the head's, with two such factors each, whose errors add as squares. Five
// deviations, for the hundred thousand logits looked at. It knows nothing of an error that a norm makes
// larger.
inline double tolerance_of(std::size_t n_products, double rms) {
  return 5 * rms * 0x1p-8 * std::sqrt(2 * static_cast<double>(n_products) / 3);
}
inline double rms_of(std::span<const float> values) {
  double squares = 0;
  for (const float value : values) squares += double{value} * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

// For tests: a checkpoint on the GPU, and sequences in blocks that are neither adjacent nor ascending. What
// nobody wrote is NaN.
class Engine {
 public:
  explicit Engine(const std::filesystem::path& folder, std::size_t block_size = 16)
      : block_size_(block_size) {
    config_ = read_config(folder).value();
    source_ = checkpoint::SafetensorsFolder::open(folder).value();
    model_ = Model::load(config_, *source_, kMaxLength).value();
    auto pass = CudaPass::create(
        *model_,
        {.limits = {.max_tokens = kMaxTokens, .max_sequences = kMaxSequences, .max_model_len = kMaxLength},
         .block_size = block_size,
         .memory_utilization = 0.5,
         .kv_bytes = std::uint64_t{256} << 20,
         .keep_choices = CudaOptions::KeepChoices::kYes});
    CHECK(pass.has_value(), "{}", pass.error().message());
    pass_ = std::move(*pass);
    CHECK(pass_->poison_kv(0xff).has_value() && pass_->poison_buffers(0xff).has_value());
  }

  struct Sequence {
    std::vector<TokenId> tokens;
    std::vector<BlockId> blocks;
    std::size_t n_computed = 0;
  };
  // Of a sequence; a block comes again when all others were given.
  std::vector<BlockId> blocks() {
    std::vector<BlockId> made;
    CHECK(pass_->n_blocks() % 7919 != 0, "{} blocks", pass_->n_blocks());
    for (std::size_t i = 0; i * block_size_ < kMaxLength; ++i, ++n_taken_) {
      made.push_back(BlockId(static_cast<std::uint32_t>(n_taken_ * 7919 % pass_->n_blocks())));
    }
    return made;
  }
  Sequence sequence(std::vector<TokenId> tokens) { return {std::move(tokens), blocks(), 0}; }

  StepOutput run(Batch batch) {
    const auto output = pass_->run(batch);
    CHECK(output.has_value(), "{}", output.error().message());
    return *output;
  }
  // Computes the next n tokens of each in one step; the logits of each one's last.
  std::vector<std::vector<float>> step(const std::vector<std::pair<Sequence*, std::size_t>>& parts,
                                       const request::Request& request = kGreedy) {
    std::vector<SequenceSlice> slices;
    for (const auto& [sequence, n] : parts) {
      slices.push_back({std::span(sequence->tokens).subspan(sequence->n_computed, n), sequence->n_computed,
                        sequence->blocks, &request});
      sequence->n_computed += n;
    }
    const StepOutput output = run(slices);
    tokens.assign(output.tokens.begin(), output.tokens.end());
    const auto logits = pass_->last_logits().value();
    std::vector<std::vector<float>> rows;
    for (auto at = logits.begin(); at != logits.end(); at += static_cast<std::ptrdiff_t>(config_.vocab_size))
      rows.emplace_back(at, at + static_cast<std::ptrdiff_t>(config_.vocab_size));
    return rows;
  }
  const ModelConfig& config() const { return config_; }
  const Model& model() const { return *model_; }
  CudaPass& pass() { return *pass_; }
  std::vector<TokenId> tokens;  // of the last step
  static constexpr std::size_t kMaxLength = 1024, kMaxTokens = 600, kMaxSequences = 64;

 private:
  std::size_t block_size_, n_taken_ = 0;
  ModelConfig config_;
  std::unique_ptr<checkpoint::WeightSource> source_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<CudaPass> pass_;
};

class CudaModel : public device::cuda::OnDevice {};

}  // namespace concertina::model::cuda
