#include "model/cuda/cuda_pass.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "model/error.h"

namespace concertina::model::cuda {

namespace {

using device::cuda::Arena;
using device::cuda::CudaError;
using device::cuda::Device;
using device::cuda::Pinned;
using device::cuda::Queue;
using kernels::cuda::Drawn;
using kernels::cuda::kMaxTopLogprobs;
using kernels::cuda::Score;
using kernels::cuda::TopLogprob;

std::uint32_t u32(std::size_t n) { return static_cast<std::uint32_t>(n); }
const GqaSpec& gqa(const ModelConfig& config, std::size_t layer) {
  return std::get<GqaSpec>(config.layers[layer].attention);
}
double gib(std::size_t n_bytes) { return static_cast<double>(n_bytes) / (1 << 30); }

std::size_t outcome_bytes(const WorkspaceLimits& limits) {
  return limits.max_sequences * (sizeof(Drawn) + kMaxTopLogprobs * sizeof(TopLogprob));
}

std::size_t scored_bytes(const WorkspaceLimits& limits) {
  return limits.max_tokens * (sizeof(Score) + kMaxTopLogprobs * sizeof(TopLogprob));
}

// What the process takes beside the arena: context, modules, the launch buffers. Seen: 0.5 GiB.
constexpr std::size_t kContextBytes = std::size_t{600} << 20;

// Blocks that fit beside what is needed anyway; more than all sequences can fill are not taken.
Result<std::size_t> count_blocks(const ModelConfig& config, const CudaOptions& options, const Device& device,
                                 std::size_t fixed_bytes) {
  const std::size_t a_block = KvPools::block_bytes(config, options.block_size);
  const auto allowed = static_cast<std::size_t>(options.memory_utilization *
                                                static_cast<double>(device.properties().total_bytes));
  const std::size_t others = fixed_bytes + kContextBytes;
  const std::size_t n_of_sequence =
      (options.limits.max_model_len + options.block_size - 1) / options.block_size;
  const std::size_t left = allowed > others ? allowed - others : 0;
  const std::size_t wanted = options.kv_bytes > 0 ? options.kv_bytes : left;
  if (wanted > left || wanted < n_of_sequence * a_block)
    return fail(
        CudaError::kOutOfMemory,
        fmt::format("of {} {:.2f} GiB may be used (--gpu-memory-utilization {:g}): {:.2f} GiB for weights "
                    "and buffers, {:.2f} for the driver, {:.2f} left for KV; {:.2f} GiB are needed{}",
                    device.properties().name, gib(allowed), options.memory_utilization, gib(fixed_bytes),
                    gib(kContextBytes), gib(left), gib(std::max(options.kv_bytes, n_of_sequence * a_block)),
                    options.kv_bytes > 0 ? " (--kv-cache-memory)" : " for one sequence of --max-model-len"));
  return std::min(wanted / a_block, options.limits.max_sequences * n_of_sequence);
}

}  // namespace

CudaPass::Buffers::Buffers(const ModelConfig& config, const CudaOptions& options, Cutter& memory) {
  const std::size_t n = options.limits.max_tokens, n_sequences = options.limits.max_sequences;
  const std::size_t hidden_size = config.hidden_size,
                    top_k = std::max<std::size_t>(1, config.experts().top_k);
  const LargestLayer largest = largest_layer(config);
  begin = memory.cut<std::byte>(0);
  const std::size_t n_slots = std::max<std::size_t>(1, config.experts().n_experts);
  hidden = memory.cut<float>(n * hidden_size), delta = memory.cut<float>(n * hidden_size);
  qkv = memory.cut<float>(n * (largest.q_width + 2 * largest.kv_width));
  router_logits = memory.cut<float>(n * n_slots);
  weights = memory.cut<float>(n * top_k), ones = memory.cut<float>(n);
  logits = memory.cut<float>(n_sequences * config.vocab_size);
  changed = memory.cut<float>(n_sequences * config.vocab_size);
  normed = memory.cut<Bf16>(n * hidden_size), last = memory.cut<Bf16>(n_sequences * hidden_size);
  q = memory.cut<Bf16>(n * largest.q_width), attended = memory.cut<Bf16>(n * largest.q_width);
  middle =
      memory.cut<Bf16>(n * std::max(top_k * config.experts().intermediate_size, largest.intermediate_size));
  rows = memory.cut<Bf16>(n * top_k * hidden_size);
  const bool keeps = options.keep_choices == CudaOptions::KeepChoices::kYes;
  ids = memory.cut<std::uint32_t>(n * top_k * (keeps ? config.layers.size() : 1));
  zeros = memory.cut<std::uint32_t>(n);
  const std::size_t most_items = n_slots + n * top_k;
  lists = {memory.cut<std::uint32_t>(n_slots + 1), memory.cut<std::uint32_t>(n * top_k),
           memory.cut<std::uint32_t>(3 * most_items), memory.cut<std::uint32_t>(1)};
  inputs =
      memory.cut<std::byte>(StepStaging::bytes_for(options.limits, options.block_size, config.vocab_size));
  outcome = memory.cut<std::byte>(outcome_bytes(options.limits));
  scored = memory.cut<std::byte>(scored_bytes(options.limits));
  end = memory.cut<std::byte>(0);
}

CudaPass::CudaPass(const ModelConfig& config, const CudaOptions& options, Device device, Queue queue,
                   Arena arena, std::byte* memory, StepStaging staging, Pinned outcome, Pinned scored,
                   std::size_t n_blocks)
    : config_(config),
      options_(options),
      device_(std::move(device)),
      queue_(std::move(queue)),
      arena_(std::move(arena)),
      cutter_(memory),
      model_(config, options.limits.max_model_len, cutter_),
      buffers_(config, options, cutter_),
      pools_(config, options.block_size, n_blocks),
      kv_(cutter_.cut<Bf16>(pools_.n_elements())),
      staging_(std::move(staging)),
      outcome_(std::move(outcome)),
      scored_there_(std::move(scored)),
      n_blocks_(n_blocks),
      inputs_(options.limits, config.vocab_size),
      sampled_(options.limits.max_sequences),
      scored_(options.limits.max_tokens) {}

Result<std::unique_ptr<CudaPass>> CudaPass::create(const Model& model, const CudaOptions& options,
                                                   const std::function<void()>& on_weight) {
  ASSIGN_OR_RETURN(auto pass, create_empty(model.config(), options));
  RETURN_IF_ERROR(pass->model_.fill(model, pass->queue_, on_weight));
  RETURN_IF_ERROR(pass->record_decoding());
  return pass;
}

Result<std::unique_ptr<CudaPass>> CudaPass::create_random(const ModelConfig& config,
                                                          const CudaOptions& options, RandomWeights random) {
  ASSIGN_OR_RETURN(auto pass, create_empty(config, options));
  const kernels::RopeTable rope(options.limits.max_model_len, config.rope.rotary_dim, config.rope.theta);
  RETURN_IF_ERROR(pass->model_.fill_rope(rope, pass->queue_));
  RETURN_IF_ERROR(pass->model_.fill_random(config, random, pass->queue_));
  RETURN_IF_ERROR(pass->queue_.wait());
  RETURN_IF_ERROR(pass->record_decoding());
  return pass;
}

Result<std::unique_ptr<CudaPass>> CudaPass::create_empty(const ModelConfig& config,
                                                         const CudaOptions& options) {
  RETURN_IF_ERROR(check_shape(config));
  ASSIGN_OR_RETURN(Device device, Device::open(options.device));
  Cutter count;
  const DeviceModel counted(config, options.limits.max_model_len, count);
  (void)Buffers(config, options, count);
  ASSIGN_OR_RETURN(const std::size_t n_blocks, count_blocks(config, options, device, count.n_bytes()));
  (void)count.cut<std::byte>(n_blocks * KvPools::block_bytes(config, options.block_size));
  ASSIGN_OR_RETURN(Arena arena,
                   Arena::create(device, count.n_bytes(),
                                 fmt::format("weights, buffers and KV (--gpu-memory-utilization {:g})",
                                             options.memory_utilization)));
  ASSIGN_OR_RETURN(std::byte* const memory, arena.take(count.n_bytes(), "weights, buffers and KV"));
  ASSIGN_OR_RETURN(Queue queue, Queue::create(device));
  const std::size_t n_staged = StepStaging::bytes_for(options.limits, options.block_size, config.vocab_size);
  ASSIGN_OR_RETURN(Pinned staged, Pinned::create(n_staged, "a step's inputs"));
  ASSIGN_OR_RETURN(Pinned outcome, Pinned::create(outcome_bytes(options.limits), "a step's tokens"));
  ASSIGN_OR_RETURN(Pinned scored, Pinned::create(scored_bytes(options.limits), "a step's scores of prompts"));
  Cutter measure(memory);
  (void)DeviceModel(config, options.limits.max_model_len, measure);
  const Buffers buffers(config, options, measure);
  StepStaging staging(std::move(staged), buffers.inputs, options.limits, options.block_size,
                      config.vocab_size);
  std::unique_ptr<CudaPass> pass(new CudaPass(config, options, std::move(device), std::move(queue),
                                              std::move(arena), memory, std::move(staging),
                                              std::move(outcome), std::move(scored), n_blocks));
  RETURN_IF_ERROR(pass->fill_constants());
  return pass;
}

// What every row of a dense layer has: expert 0, with weight 1.
Status CudaPass::fill_constants() {
  const std::vector<float> ones(options_.limits.max_tokens, 1.0f);
  RETURN_IF_ERROR(queue_.copy(buffers_.ones, ones.data(), ones.size() * sizeof(float)));
  RETURN_IF_ERROR(queue_.fill(buffers_.zeros, 0, ones.size() * sizeof(std::uint32_t)));
  return queue_.wait();
}

std::uint32_t* CudaPass::ids_of(std::size_t layer) const {
  const std::size_t n_choices =
      options_.limits.max_tokens * std::max<std::size_t>(1, config_.experts().top_k);
  return buffers_.ids + (options_.keep_choices == CudaOptions::KeepChoices::kYes ? layer * n_choices : 0);
}

Result<StepOutput> CudaPass::run(Batch batch) {
  lay_out(batch, options_.block_size, inputs_);
  n_drawn_ = inputs_.sampling.size();
  if (inputs_.tokens.empty()) return StepOutput{.inputs = &inputs_, .sampled = &sampled_, .scored = &scored_};
  RETURN_IF_ERROR(device_.use());
  ASSIGN_OR_RETURN(const DeviceStep step, staging_.send(inputs_, pools_.item_rows(), queue_));
  RETURN_IF_ERROR(enqueue_or_replay(step));
  RETURN_IF_ERROR(queue_.check());
  RETURN_IF_ERROR(fetch_outcome(step));
  read_outcome(n_drawn_);
  read_scored(step.n_scored);
  return StepOutput{.tokens = std::span(sampled_.tokens).first(n_drawn_),
                    .outcomes = std::span(sampled_.outcomes).first(n_drawn_),
                    .inputs = &inputs_,
                    .sampled = &sampled_,
                    .scored = &scored_};
}

// The page: model::forward, op by op.
void CudaPass::enqueue(const DeviceStep& step) {
  const kernels::cuda::Stream on = queue_.handle();
  const std::uint32_t width = u32(config_.hidden_size);
  kernels::cuda::embedding(step.tokens, step.n_rows, model_.embedding, width, buffers_.hidden, on);
  kernels::cuda::add_rms_norm({buffers_.hidden, nullptr, model_.layers[0].input_norm, config_.rms_norm_eps,
                               buffers_.normed, step.n_rows, width},
                              on);
  for (std::size_t i = 0; i < model_.layers.size(); ++i) {
    enqueue_attention(step, i);
    kernels::cuda::add_rms_norm({buffers_.hidden, buffers_.delta, model_.layers[i].post_attention_norm,
                                 config_.rms_norm_eps, buffers_.normed, step.n_rows, width},
                                on);
    enqueue_mlp(step, i);
  }
  enqueue_scoring(step);
  enqueue_sampling(step);
}

// normed -> delta
void CudaPass::enqueue_attention(const DeviceStep& step, std::size_t i) {
  const kernels::cuda::Stream on = queue_.handle();
  const DeviceLayer& layer = model_.layers[i];
  const GqaSpec& spec = gqa(config_, i);
  const std::uint32_t width = u32(config_.hidden_size), n_heads = u32(spec.n_heads);
  const kernels::cuda::PagedKv kv = pools_.layer(i, kv_);
  const kernels::cuda::AttentionStep& attention = step.attention[pools_.items_of(i)];
  kernels::cuda::linear({buffers_.normed, layer.qkv, buffers_.qkv, step.n_rows, width,
                         u32(spec.q_width() + 2 * spec.kv_width())},
                        on);
  const auto norm = spec.qk_norm == QkNorm::kNone      ? kernels::cuda::HeadNorm::kNone
                    : spec.qk_norm == QkNorm::kPerHead ? kernels::cuda::HeadNorm::kPerHead
                                                       : kernels::cuda::HeadNorm::kFullWidth;
  kernels::cuda::prepare_heads(
      {buffers_.qkv, norm, layer.q_norm, layer.k_norm, config_.rms_norm_eps, model_.cosines, model_.sines,
       u32(config_.rope.rotary_dim), n_heads, buffers_.q},
      attention, kv, on);
  const float scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  kernels::cuda::attend(buffers_.q, attention, kv, scale, n_heads, buffers_.attended, on);
  kernels::cuda::linear({buffers_.attended, layer.o, buffers_.delta, step.n_rows, u32(spec.q_width()), width},
                        on);
}

// normed -> hidden and normed of the next layer
void CudaPass::enqueue_mlp(const DeviceStep& step, std::size_t i) {
  const kernels::cuda::Stream on = queue_.handle();
  const DeviceLayer& layer = model_.layers[i];
  const MoeSpec* const moe = config_.layers[i].moe();
  const std::uint32_t width = u32(config_.hidden_size), n_slots = u32(layer.n_slots);
  const std::uint32_t top_k = moe != nullptr ? u32(moe->top_k) : 1;
  if (moe != nullptr) {
    kernels::cuda::linear(
        {buffers_.normed, layer.router, buffers_.router_logits, step.n_rows, width, n_slots}, on);
    kernels::cuda::route(
        {buffers_.router_logits, step.n_rows, n_slots, top_k,
         moe->router_weights == kernels::RouterWeights::kSoftmax, ids_of(i), buffers_.weights},
        on);
  }
  kernels::cuda::group_by_slot(moe != nullptr ? ids_of(i) : buffers_.zeros, step.n_rows * top_k, n_slots,
                               buffers_.lists, on);
  kernels::cuda::expert_mlp({layer.experts, n_slots, width, u32(layer.intermediate_size), buffers_.normed,
                             step.n_rows, top_k, buffers_.lists, buffers_.middle, buffers_.rows},
                            on);
  kernels::cuda::combine_norm({buffers_.rows,
                               moe != nullptr ? buffers_.weights : buffers_.ones,
                               top_k,
                               {buffers_.hidden, nullptr, model_.norm_after(i), config_.rms_norm_eps,
                                buffers_.normed, step.n_rows, width}},
                              on);
}

// normed -> logits of some of its rows, as many as there are sequences at most.
void CudaPass::enqueue_logits(const std::uint32_t* of, std::uint32_t n) {
  const kernels::cuda::Stream on = queue_.handle();
  const std::uint32_t width = u32(config_.hidden_size);
  kernels::cuda::gather_rows(buffers_.normed, of, n, width, buffers_.last, on);
  kernels::cuda::linear({buffers_.last, model_.head, buffers_.logits, n, width, u32(config_.vocab_size)}, on);
}

// Before tokens are drawn, whose logits stay where they are. As model::forward, in pieces; a row's scores are
// of its logits alone.
void CudaPass::enqueue_scoring(const DeviceStep& step) {
  auto* const scores = reinterpret_cast<Score*>(buffers_.scored);
  auto* const top = reinterpret_cast<TopLogprob*>(scores + options_.limits.max_tokens);
  const std::uint32_t piece = u32(options_.limits.max_sequences);
  for (std::uint32_t first = 0; first < step.n_scored; first += piece) {
    const std::uint32_t n = std::min(piece, step.n_scored - first);
    enqueue_logits(step.scored_rows + first, n);
    kernels::cuda::score({buffers_.logits, n, u32(config_.vocab_size), step.scoring + first, scores + first,
                          top + first * kMaxTopLogprobs},
                         queue_.handle());
  }
}

void CudaPass::enqueue_sampling(const DeviceStep& step) {
  const kernels::cuda::Stream on = queue_.handle();
  const std::uint32_t vocab_size = u32(config_.vocab_size);
  enqueue_logits(step.logit_rows, step.n_drawn);
  auto* const drawn = reinterpret_cast<Drawn*>(buffers_.outcome);
  kernels::cuda::sample(
      {buffers_.logits, step.n_drawn, vocab_size, step.rows, step.masks, step.edits, buffers_.changed, drawn,
       reinterpret_cast<TopLogprob*>(drawn + options_.limits.max_sequences)},
      on);
}

Status CudaPass::poison_kv(std::uint8_t value) {
  RETURN_IF_ERROR(queue_.fill(kv_, value, pools_.n_elements() * sizeof(Bf16)));
  return queue_.wait();
}

}  // namespace concertina::model::cuda
