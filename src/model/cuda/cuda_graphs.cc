// Steps of few rows, recorded at the start.
#include <algorithm>

#include "model/cuda/cuda_pass.h"

namespace concertina::model::cuda {

namespace {

bool is_same(const kernels::cuda::AttentionStep& a, const kernels::cuda::AttentionStep& b) {
  return a.sequences == b.sequences && a.row_sequence == b.row_sequence && a.blocks == b.blocks &&
         a.items == b.items && a.n_rows == b.n_rows && a.n_items == b.n_items;
}

// Everything that a launch is given; what lies there differs from step to step.
bool is_same(const DeviceStep& a, const DeviceStep& b) {
  return a.n_rows == b.n_rows && a.n_drawn == b.n_drawn && a.n_scored == b.n_scored && a.tokens == b.tokens &&
         a.logit_rows == b.logit_rows && a.rows == b.rows && a.masks == b.masks && a.edits == b.edits;
}

}  // namespace

Status CudaPass::record_decoding() {
  constexpr std::size_t kMost = 8;  // at more sequences a kernel takes longer than its launch
  const request::Request request;
  const TokenId token = 0;
  const BlockId block(0);
  std::vector<SequenceSlice> batch;
  while (batch.size() < std::min(kMost, options_.limits.max_sequences)) {
    batch.push_back({std::span(&token, 1), 0, std::span(&block, 1), &request});
    lay_out(batch, options_.block_size, inputs_);
    ASSIGN_OR_RETURN(DeviceStep step, staging_.send(inputs_, pools_.item_rows(), queue_));
    RETURN_IF_ERROR(queue_.wait());
    ASSIGN_OR_RETURN(device::cuda::Graph graph, device::cuda::Graph::capture(queue_, [&] { enqueue(step); }));
    recorded_.push_back(
        {step, {step.attention, step.attention + pools_.item_rows().size()}, std::move(graph)});
  }
  return {};
}

Status CudaPass::enqueue_or_replay(const DeviceStep& step) {
  if (step.n_rows <= recorded_.size()) {
    Recorded& recorded = recorded_[step.n_rows - 1];
    const auto same = [](const auto& a, const auto& b) { return is_same(a, b); };
    if (is_same(step, recorded.step) &&
        std::equal(recorded.attention.begin(), recorded.attention.end(), step.attention, same))
      return recorded.graph.launch(queue_);
  }
  enqueue(step);
  return {};
}

}  // namespace concertina::model::cuda
