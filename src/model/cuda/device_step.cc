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
  const std::size_t a_token = 2 * sizeof(std::uint32_t) + sizeof(AttentionItem);
  const std::size_t a_sequence = sizeof(SequenceRows) + sizeof(std::uint32_t) * (blocks + 1) +
                                 sizeof(DrawRow) + sizeof(std::uint64_t) * (vocab_size / 64 + 1);
  const std::size_t edits = sizeof(Edit) * request::LogitsRules::max_edits(rule_limits(limits, vocab_size));
  constexpr std::size_t kGaps = 16 * 16;  // between arrays
  return limits.max_tokens * a_token + limits.max_sequences * a_sequence + edits + kGaps;
}

Result<DeviceStep> StepStaging::send(const StepInputs& inputs, const GqaSpec& heads,
                                     device::cuda::Queue& on) {
  n_used_ = 0;
  DeviceStep step{.n_rows = u32(inputs.tokens.size()), .n_drawn = u32(inputs.logit_rows.size())};
  step.tokens = put<std::int32_t>(inputs.tokens);
  put_attention(inputs, kernels::cuda::n_rows_of_item(u32(heads.n_heads), u32(heads.n_kv_heads)), step);
  logit_rows_.assign(inputs.logit_rows.begin(), inputs.logit_rows.end());
  step.logit_rows = put<std::uint32_t>(logit_rows_);
  put_sampling(inputs, step);
  RETURN_IF_ERROR(on.copy(device_, pinned_.data(), n_used_));
  return step;
}

void StepStaging::put_attention(const StepInputs& inputs, std::uint32_t item_rows, DeviceStep& step) {
  sequences_.clear(), items_.clear(), row_sequence_.clear(), blocks_.clear();
  for (const kernels::AttentionSequence& sequence : inputs.sequences) {
    const std::uint32_t index = u32(sequences_.size()), begin = u32(sequence.row_begin),
                        n = u32(sequence.n_rows);
    sequences_.push_back({begin, n, u32(sequence.start_position), u32(blocks_.size())});
    row_sequence_.insert(row_sequence_.end(), n, index);
    for (std::uint32_t at = 0; at < n; at += item_rows)
      items_.push_back({index, begin + at, std::min(item_rows, n - at)});
    for (const BlockId block : sequence.block_table) blocks_.push_back(block.value());
  }
  step.attention = {put<SequenceRows>(sequences_),
                    put<std::uint32_t>(row_sequence_),
                    put<std::uint32_t>(blocks_),
                    put<AttentionItem>(items_),
                    step.n_rows,
                    u32(items_.size())};
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

}  // namespace concertina::model::cuda
