#pragma once

#include <cstring>
#include <span>

#include "base/check.h"
#include "device/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "model/cuda/device_model.h"
#include "model/step_inputs.h"

namespace concertina::model::cuda {

// What the kernels of a step read beside weights and KV, on the device; where the pointers lead is the
// step's.
struct DeviceStep {
  std::uint32_t n_rows = 0, n_drawn = 0;
  const std::int32_t* tokens = nullptr;                     // [n_rows]
  const std::uint32_t* logit_rows = nullptr;                // [n_drawn]
  const kernels::cuda::AttentionStep* attention = nullptr;  // [item_rows.size()] on the host
  const kernels::cuda::DrawRow* rows = nullptr;             // [n_drawn]
  const std::uint64_t* masks = nullptr;
  const kernels::cuda::Edit* edits = nullptr;
  std::uint32_t n_scored = 0;
  const std::uint32_t* scored_rows = nullptr;        // [n_scored]
  const kernels::cuda::ScoreRow* scoring = nullptr;  // [n_scored]
};

// Lays a step out in pinned memory and sends it in one copy.
class StepStaging {
 public:
  // So many bytes hold the largest step.
  static std::size_t bytes_for(const WorkspaceLimits& limits, std::size_t block_size, std::size_t vocab_size);
  StepStaging(device::cuda::Pinned pinned, std::byte* device, const WorkspaceLimits& limits,
              std::size_t block_size, std::size_t vocab_size);

  // `item_rows`: of each kind of layer, kMaxItemKinds at most. The copy before must have ended.
  Result<DeviceStep> send(const StepInputs& inputs, std::span<const std::uint32_t> item_rows,
                          device::cuda::Queue& on);

 private:
  // Appends; what it returns leads to the device.
  template <typename T>
  const T* put(std::span<const T> values) {
    n_used_ = (n_used_ + 15) / 16 * 16;
    CHECK(n_used_ + values.size_bytes() <= pinned_.n_bytes(), "a step of {} bytes or more, room for {}",
          n_used_ + values.size_bytes(), pinned_.n_bytes());
    std::memcpy(pinned_.data() + n_used_, values.data(), values.size_bytes());
    const auto* const at = reinterpret_cast<const T*>(device_ + n_used_);
    n_used_ += values.size_bytes();
    return at;
  }
  void put_attention(const StepInputs& inputs, std::span<const std::uint32_t> item_rows, DeviceStep& step);
  void lay_out_items(std::uint32_t item_rows);
  void put_sampling(const StepInputs& inputs, DeviceStep& step);
  void put_scoring(const StepInputs& inputs, DeviceStep& step);

  device::cuda::Pinned pinned_;
  std::byte* device_;
  const std::size_t block_size_;
  std::size_t n_used_ = 0;
  // With room for the largest step, from the start.
  std::vector<kernels::cuda::SequenceRows> sequences_;
  std::vector<kernels::cuda::AttentionItem> items_;
  std::vector<kernels::cuda::AttentionStep> attention_;
  std::vector<std::uint32_t> row_sequence_, blocks_, logit_rows_, scored_rows_;
  std::vector<kernels::cuda::DrawRow> rows_;
  std::vector<std::uint64_t> masks_;
  std::vector<kernels::cuda::Edit> edits_;
  std::vector<kernels::cuda::ScoreRow> scoring_;
};

}  // namespace concertina::model::cuda
