#include "model/cuda/device_step.h"

#include <algorithm>

namespace concertina::model::cuda {

namespace {

using kernels::cuda::AttentionItem;
using kernels::cuda::DrawRow;
using kernels::cuda::Edit;
using kernels::cuda::SequenceRows;

std::uint32_t u32(std::size_t n) { return static_cast<std::uint32_t>(n); }

}  // namespace

std::size_t StepStaging::bytes_for(const WorkspaceLimits& limits, std::size_t block_size,
                                   std::size_t vocab_size) {
  const std::size_t blocks = (limits.max_model_len + block_size - 1) / block_size;
  const std::size_t a_token =
      3 * sizeof(std::uint32_t) + kMaxItemKinds * sizeof(AttentionItem) + sizeof(kernels::cuda::ScoreRow);
  const std::size_t a_sequence = sizeof(SequenceRows) + sizeof(std::uint32_t) * (blocks + 1) +
                                 sizeof(DrawRow) + sizeof(std::uint64_t) * (vocab_size / 64 + 1);
  const std::size_t edits = sizeof(Edit) * request::LogitsRules::max_edits(rule_limits(limits, vocab_size));
  constexpr std::size_t kGaps = 16 * 16;  // between arrays
  return limits.max_tokens * a_token + limits.max_sequences * a_sequence + edits + kGaps;
}

StepStaging::StepStaging(device::cuda::Pinned pinned, std::byte* device, const WorkspaceLimits& limits,
                         std::size_t block_size, std::size_t vocab_size)
    : pinned_(std::move(pinned)), device_(device), block_size_(block_size) {
  const std::size_t n = limits.max_tokens, n_sequences = limits.max_sequences;
  sequences_.reserve(n_sequences), items_.reserve(n), row_sequence_.reserve(n);
  attention_.reserve(kMaxItemKinds);
  blocks_.reserve(n_sequences * ((limits.max_model_len + block_size - 1) / block_size));
  logit_rows_.reserve(n_sequences), rows_.reserve(n_sequences);
  masks_.reserve(n_sequences * (vocab_size / 64 + 1));
  edits_.reserve(request::LogitsRules::max_edits(rule_limits(limits, vocab_size)));
  scored_rows_.reserve(n), scoring_.reserve(n);
}

Result<DeviceStep> StepStaging::send(const StepInputs& inputs, std::span<const std::uint32_t> item_rows,
                                     device::cuda::Queue& on) {
  n_used_ = 0;
  DeviceStep step{.n_rows = u32(inputs.tokens.size()), .n_drawn = u32(inputs.logit_rows.size())};
  step.tokens = put<std::int32_t>(inputs.tokens);
  put_attention(inputs, item_rows, step);
  logit_rows_.assign(inputs.logit_rows.begin(), inputs.logit_rows.end());
  step.logit_rows = put<std::uint32_t>(logit_rows_);
  put_sampling(inputs, step);
  put_scoring(inputs, step);
  // Last: there are more of them from time to time, and what is before stays where it was
  // (CudaPass::recorded_).
  const auto* const blocks = put<std::uint32_t>(blocks_);
  for (kernels::cuda::AttentionStep& attention : attention_) attention.blocks = blocks;
  RETURN_IF_ERROR(on.copy(device_, pinned_.data(), n_used_));
  return step;
}

void StepStaging::put_attention(const StepInputs& inputs, std::span<const std::uint32_t> item_rows,
                                DeviceStep& step) {
  sequences_.clear(), row_sequence_.clear(), blocks_.clear(), attention_.clear();
  for (const kernels::AttentionSequence& sequence : inputs.sequences) {
    const std::uint32_t n = u32(sequence.n_rows);
    row_sequence_.insert(row_sequence_.end(), n, u32(sequences_.size()));
    sequences_.push_back({u32(sequence.row_begin), n, u32(sequence.start_position), u32(blocks_.size())});
    const std::size_t n_blocks = (sequence.start_position + sequence.n_rows + block_size_ - 1) / block_size_;
    for (const BlockId block : sequence.block_table.first(n_blocks)) blocks_.push_back(block.value());
  }
  const kernels::cuda::AttentionStep all{
      put<SequenceRows>(sequences_), put<std::uint32_t>(row_sequence_), nullptr, nullptr, step.n_rows, 0};
  for (const std::uint32_t rows : item_rows) {
    lay_out_items(rows);
    attention_.push_back(all);
    attention_.back().items = put<AttentionItem>(items_);
    attention_.back().n_items = u32(items_.size());
  }
  step.attention = attention_.data();
}

void StepStaging::lay_out_items(std::uint32_t item_rows) {
  items_.clear();
  for (std::uint32_t s = 0; s < sequences_.size(); ++s)
    for (std::uint32_t at = 0; at < sequences_[s].n_rows; at += item_rows)
      items_.push_back({s, sequences_[s].row_begin + at, std::min(item_rows, sequences_[s].n_rows - at)});
}

void StepStaging::put_sampling(const StepInputs& inputs, DeviceStep& step) {
  rows_.clear(), masks_.clear(), edits_.clear();
  for (const kernels::SamplingRow& row : inputs.sampling) {
    const request::Drawing& drawing = row.drawing;
    rows_.push_back({.mask_begin = u32(masks_.size()),
                     .has_mask = drawing.allowed.empty() ? 0u : 1u,
                     .edit_begin = u32(edits_.size()),
                     .n_edits = u32(drawing.edits.size()),
                     .temperature = drawing.temperature,
                     .top_p = drawing.top_p,
                     .min_p = drawing.min_p,
                     .uniform = row.uniform,
                     .top_k = drawing.top_k,
                     .n_logprobs = row.n_logprobs ? static_cast<std::int32_t>(*row.n_logprobs) : -1});
    masks_.insert(masks_.end(), drawing.allowed.begin(), drawing.allowed.end());
    for (const request::LogitEdit& edit : drawing.edits)
      edits_.push_back({edit.token, edit.divisor, edit.bias});
  }
  step.rows = put<DrawRow>(rows_);
  step.masks = put<std::uint64_t>(masks_);
  step.edits = put<Edit>(edits_);
}

void StepStaging::put_scoring(const StepInputs& inputs, DeviceStep& step) {
  scored_rows_.assign(inputs.scored_rows.begin(), inputs.scored_rows.end());
  scoring_.clear();
  for (const kernels::ScoringRow& row : inputs.scoring) scoring_.push_back({row.token, row.n_top});
  step.n_scored = u32(scoring_.size());
  step.scored_rows = put<std::uint32_t>(scored_rows_);
  step.scoring = put<kernels::cuda::ScoreRow>(scoring_);
}

}  // namespace concertina::model::cuda
