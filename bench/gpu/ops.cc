#include "bench/gpu/ops.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/check.h"
#include "base/random.h"
#include "device/cuda/graph.h"
#include "kernels/rope.h"

namespace concertina::bench::gpu {

namespace {

using device::cuda::Arena;
using device::cuda::Device;
using device::cuda::Event;
using device::cuda::Graph;
using device::cuda::Queue;
using kernels::cuda::Bf16;
using kernels::cuda::SlotLists;
using model::cuda::Cutter;
namespace ops = kernels::cuda;

constexpr std::size_t kBlockSize = 64;
std::uint32_t u32(std::size_t n) { return static_cast<std::uint32_t>(n); }
void expect(const Status& status) { CHECK(status.has_value(), "{}", status.error().message()); }

// Gumbel's top-k: experts drawn without replacement, some more likely than others.
std::vector<std::uint32_t> draw_experts(std::size_t n_rows, std::size_t n_experts, std::size_t top_k,
                                        float skew, Random& random) {
  std::vector<float> likely(n_experts), score(n_experts);
  for (float& x : likely) x = 3 * skew * random.normal();
  std::vector<std::uint32_t> ids(n_rows * top_k), order(n_experts);
  for (std::size_t row = 0; row < n_rows; ++row) {
    for (std::size_t e = 0; e < n_experts; ++e)
      score[e] = likely[e] - std::log(-std::log(random.uniform() + 1e-9f));
    std::iota(order.begin(), order.end(), 0u);
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(top_k), order.end(),
                      [&](std::uint32_t a, std::uint32_t b) { return score[a] > score[b]; });
    std::copy_n(order.begin(), top_k, ids.begin() + static_cast<std::ptrdiff_t>(row * top_k));
  }
  return ids;
}

}  // namespace

struct Ops::Parts {
  struct Layer {
    std::uint32_t* ids;
    SlotLists lists;
    Bf16* kv;
  };
  struct Buffers {
    Buffers(const model::ModelConfig& config, const OpsOptions& options, Cutter& memory);
    float *hidden, *qkv, *delta, *router_logits, *weights, *logits, *changed;
    Bf16 *normed, *q, *attended, *middle, *rows;
    std::uint32_t* scratch_ids;
    std::byte* step;
    ops::DrawRow* draws;
    ops::Drawn* drawn;
    ops::TopLogprob* top;
    std::vector<Layer> layers;
  };
  static constexpr std::size_t kStepBytes = std::size_t{1} << 20;

  Parts(const OpsOptions& options, const model::ModelConfig& config, Device device, Queue queue, Arena arena,
        Cutter memory)
      : options(options),
        config(config),
        spec(std::get<model::GqaSpec>(this->config.layers.front().attention)),
        moe(this->config.experts()),
        device(std::move(device)),
        queue(std::move(queue)),
        arena(std::move(arena)),
        cutter(memory),
        weights(this->config, kMaxLength, cutter),
        buffers(this->config, options, cutter) {}

  static constexpr std::size_t kMaxLength = 8192;
  const OpsOptions options;
  const model::ModelConfig config;
  const model::GqaSpec spec;
  const model::MoeSpec moe;
  Device device;
  Queue queue;
  Arena arena;
  Cutter cutter;
  model::cuda::DeviceModel weights;
  Buffers buffers;
  model::cuda::RandomWeights random;
  ops::AttentionStep step{};
  std::uint32_t n_rows = 0, n_drawn = 0;
  double n_distinct = 0;  // experts, of a layer on average

  ops::PagedKv kv(std::size_t layer) const {
    return {buffers.layers[layer].kv, kBlockSize, u32(spec.n_kv_heads), u32(spec.head_dim)};
  }

  void lay_out(const Load& load);
  void lay_out_attention(const Load& load);
  void lay_out_experts();
  double graph_us(const std::function<void()>& enqueue, std::size_t n_calls);

  // ---- the page's ops
  void qkv(std::size_t i) {
    ops::linear({buffers.normed, weights.layers[i].qkv, buffers.qkv, n_rows, u32(config.hidden_size),
                 u32(spec.q_width() + 2 * spec.kv_width())},
                queue.handle());
  }
  void prepare(std::size_t i) {
    ops::prepare_heads(
        {buffers.qkv, ops::HeadNorm::kPerHead, weights.layers[i].q_norm, weights.layers[i].k_norm, 1e-6f,
         weights.cosines, weights.sines, u32(config.rope.rotary_dim), u32(spec.n_heads), buffers.q},
        step, kv(i), queue.handle());
  }
  void attend(std::size_t i) {
    ops::attend(buffers.q, step, kv(i), 1 / std::sqrt(static_cast<float>(spec.head_dim)), u32(spec.n_heads),
                buffers.attended, queue.handle());
  }
  void o(std::size_t i) {
    ops::linear({buffers.attended, weights.layers[i].o, buffers.delta, n_rows, u32(spec.q_width()),
                 u32(config.hidden_size)},
                queue.handle());
  }
  ops::AddRmsNorm norm(const float* delta, const float* weight) const {
    return {buffers.hidden, delta, weight, 1e-6f, buffers.normed, n_rows, u32(config.hidden_size)};
  }
  void add_norm(std::size_t i) {
    ops::add_rms_norm(norm(buffers.delta, weights.layers[i].post_attention_norm), queue.handle());
  }
  void router(std::size_t i) {
    ops::linear({buffers.normed, weights.layers[i].router, buffers.router_logits, n_rows,
                 u32(config.hidden_size), u32(moe.n_experts)},
                queue.handle());
  }
  void route(std::size_t) {
    ops::route({buffers.router_logits, n_rows, u32(moe.n_experts), u32(moe.top_k), true, buffers.scratch_ids,
                buffers.weights},
               queue.handle());
  }
  void group(std::size_t i) {
    ops::group_by_slot(buffers.layers[i].ids, n_rows * u32(moe.top_k), u32(moe.n_experts),
                       buffers.layers[i].lists, queue.handle());
  }
  void experts(std::size_t i) {
    ops::expert_mlp(
        {weights.layers[i].experts, u32(moe.n_experts), u32(config.hidden_size), u32(moe.intermediate_size),
         buffers.normed, n_rows, u32(moe.top_k), buffers.layers[i].lists, buffers.middle, buffers.rows},
        queue.handle());
  }
  void combine(std::size_t i) {
    ops::combine_norm({buffers.rows, buffers.weights, u32(moe.top_k), norm(nullptr, weights.norm_after(i))},
                      queue.handle());
  }
  void head() {
    ops::linear({buffers.normed, weights.head, buffers.logits, n_drawn, u32(config.hidden_size),
                 u32(config.vocab_size)},
                queue.handle());
  }
  void sample() {
    ops::sample({buffers.logits, n_drawn, u32(config.vocab_size), buffers.draws, nullptr, nullptr,
                 buffers.changed, buffers.drawn, buffers.top},
                queue.handle());
  }
  using Op = void (Parts::*)(std::size_t);
  static constexpr Op kLayer[] = {&Parts::qkv,      &Parts::prepare, &Parts::attend, &Parts::o,
                                  &Parts::add_norm, &Parts::router,  &Parts::route,  &Parts::group,
                                  &Parts::experts,  &Parts::combine};
};

Ops::Parts::Buffers::Buffers(const model::ModelConfig& config, const OpsOptions& options, Cutter& memory) {
  const auto& spec = std::get<model::GqaSpec>(config.layers.front().attention);
  const model::MoeSpec moe = config.experts();
  const std::size_t n = options.max_rows, hidden_size = config.hidden_size, n_entries = n * moe.top_k;
  hidden = memory.cut<float>(n * hidden_size), delta = memory.cut<float>(n * hidden_size);
  qkv = memory.cut<float>(n * (spec.q_width() + 2 * spec.kv_width()));
  router_logits = memory.cut<float>(n * moe.n_experts), weights = memory.cut<float>(n_entries);
  logits = memory.cut<float>(options.max_sequences * config.vocab_size);
  changed = memory.cut<float>(options.max_sequences * config.vocab_size);
  normed = memory.cut<Bf16>(n * hidden_size);
  q = memory.cut<Bf16>(n * spec.q_width()), attended = memory.cut<Bf16>(n * spec.q_width());
  middle = memory.cut<Bf16>(n_entries * moe.intermediate_size),
  rows = memory.cut<Bf16>(n_entries * hidden_size);
  scratch_ids = memory.cut<std::uint32_t>(n_entries);
  step = memory.cut<std::byte>(kStepBytes);
  draws = memory.cut<ops::DrawRow>(options.max_sequences),
  drawn = memory.cut<ops::Drawn>(options.max_sequences);
  top = memory.cut<ops::TopLogprob>(options.max_sequences * ops::kMaxTopLogprobs);
  for (std::size_t i = 0; i < config.layers.size(); ++i)
    layers.push_back(
        {memory.cut<std::uint32_t>(n_entries),
         {memory.cut<std::uint32_t>(moe.n_experts + 1), memory.cut<std::uint32_t>(n_entries),
          memory.cut<std::uint32_t>(3 * (n_entries + moe.n_experts)), memory.cut<std::uint32_t>(1)},
         memory.cut<Bf16>(options.max_kv_tokens * 2 * spec.kv_width())});
}

Ops::Ops(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Ops::~Ops() = default;

Result<std::unique_ptr<Ops>> Ops::create(const OpsOptions& options) {
  const model::ModelConfig config = qwen3_30b(options.n_layers);
  ASSIGN_OR_RETURN(Device device, Device::open(0));
  Cutter count;
  (void)model::cuda::DeviceModel(config, Parts::kMaxLength, count);
  (void)Parts::Buffers(config, options, count);
  ASSIGN_OR_RETURN(Arena arena, Arena::create(device, count.n_bytes(), "weights and buffers"));
  ASSIGN_OR_RETURN(std::byte* const memory, arena.take(count.n_bytes(), "weights and buffers"));
  ASSIGN_OR_RETURN(Queue queue, Queue::create(device));
  auto parts = std::make_unique<Parts>(options, config, std::move(device), std::move(queue), std::move(arena),
                                       Cutter(memory));
  const kernels::RopeTable rope(Parts::kMaxLength, config.rope.rotary_dim, config.rope.theta);
  parts->random.router_skew = options.router_skew;
  RETURN_IF_ERROR(parts->weights.fill_rope(rope, parts->queue));
  RETURN_IF_ERROR(parts->weights.fill_random(parts->config, parts->random, parts->queue));
  const auto fill = [&](Bf16* to, std::size_t n) {
    ops::fill_random(to, n, 1, parts->random.seed++, parts->queue.handle());
  };
  fill(parts->buffers.normed, options.max_rows * config.hidden_size);
  fill(parts->buffers.attended, options.max_rows * parts->spec.q_width());
  for (const auto& layer : parts->buffers.layers)
    fill(layer.kv, options.max_kv_tokens * 2 * parts->spec.kv_width());
  RETURN_IF_ERROR(
      parts->queue.fill(parts->buffers.hidden, 0x3c, options.max_rows * config.hidden_size * sizeof(float)));
  RETURN_IF_ERROR(parts->queue.wait());
  return std::unique_ptr<Ops>(new Ops(std::move(parts)));
}

void Ops::Parts::lay_out(const Load& load) {
  n_rows = u32(load.n_rows()), n_drawn = u32(load.n_sequences);
  CHECK(n_rows <= options.max_rows && load.n_sequences * load.n_seen <= options.max_kv_tokens);
  lay_out_attention(load);
  lay_out_experts();
  std::vector<ops::DrawRow> rows(n_drawn, ops::DrawRow{.temperature = 0, .top_p = 1, .n_logprobs = -1});
  expect(queue.copy(buffers.draws, rows.data(), rows.size() * sizeof(rows[0])));
  expect(queue.wait());
}

void Ops::Parts::lay_out_attention(const Load& load) {
  std::vector<ops::SequenceRows> sequences;
  std::vector<std::uint32_t> row_sequence, blocks;
  std::vector<ops::AttentionItem> items;
  const std::size_t n_blocks = (load.n_seen + kBlockSize - 1) / kBlockSize;
  const std::size_t item_rows = ops::n_rows_of_item(u32(spec.n_heads), u32(spec.n_kv_heads));
  for (std::size_t s = 0; s < load.n_sequences; ++s) {
    sequences.push_back(
        {u32(s * load.n_new), u32(load.n_new), u32(load.n_seen - load.n_new), u32(blocks.size())});
    row_sequence.insert(row_sequence.end(), load.n_new, u32(s));
    for (std::size_t at = 0; at < load.n_new; at += item_rows)
      items.push_back({u32(s), u32(s * load.n_new + at), u32(std::min(item_rows, load.n_new - at))});
    for (std::size_t b = 0; b < n_blocks; ++b) blocks.push_back(u32(s * n_blocks + b));
  }
  Random random(7);
  for (std::size_t i = blocks.size(); i > 1; --i) std::swap(blocks[i - 1], blocks[random.below(i)]);
  std::size_t n_used = 0;
  const auto put = [&](const auto& values) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    std::byte* const at = buffers.step + n_used;
    n_used += (values.size() * sizeof(T) + 255) / 256 * 256;
    CHECK(n_used <= kStepBytes);
    expect(queue.copy(at, values.data(), values.size() * sizeof(T)));
    return reinterpret_cast<const T*>(at);
  };
  step = {put(sequences), put(row_sequence), put(blocks), put(items), n_rows, u32(items.size())};
  expect(queue.wait());
}

void Ops::Parts::lay_out_experts() {
  Random draw(11);
  n_distinct = 0;
  for (std::size_t i = 0; i < buffers.layers.size(); ++i) {
    const auto ids = draw_experts(n_rows, moe.n_experts, moe.top_k, options.router_skew, draw);
    n_distinct += static_cast<double>(std::set(ids.begin(), ids.end()).size()) /
                  static_cast<double>(buffers.layers.size());
    expect(queue.copy(buffers.layers[i].ids, ids.data(), ids.size() * sizeof(ids[0])));
    expect(queue.wait());
    group(i);
  }
  expect(queue.check());
}

// Of one call, the least of three rounds of a few replays.
double Ops::Parts::graph_us(const std::function<void()>& enqueue, std::size_t n_calls) {
  Graph graph = Graph::capture(queue, enqueue).value();
  auto begin = Event::create().value(), end = Event::create().value();
  double best = INFINITY;
  std::size_t n_replays = 1;
  for (int round = 0; round < 4; ++round) {
    expect(begin.record(queue));
    for (std::size_t i = 0; i < n_replays; ++i) expect(graph.launch(queue));
    expect(end.record(queue));
    const double ms = end.ms_since(begin).value();
    if (round > 0) best = std::min(best, ms * 1e3 / static_cast<double>(n_replays * n_calls));
    n_replays =
        std::clamp<std::size_t>(static_cast<std::size_t>(20 * static_cast<double>(n_replays) / ms), 1, 50);
  }
  return best;
}

void Ops::measure(const Load& load, Report& report) {
  Parts& p = *parts_;
  p.lay_out(load);
  const std::size_t n = load.n_rows(), n_layers = p.config.layers.size(), hidden = p.config.hidden_size;
  const auto row = [&](const char* what, Parts::Op op, const Work& work) {
    const double us = p.graph_us(
        [&] {
          for (std::size_t i = 0; i < n_layers; ++i) (p.*op)(i);
        },
        n_layers);
    report.add(load.name(), what, us, work);
  };
  const Work experts = experts_work(p.config, n, p.n_distinct);
  row("qkv", &Parts::qkv, linear_work(n, p.spec.q_width() + 2 * p.spec.kv_width(), hidden));
  row("prepare_heads", &Parts::prepare, {});
  row("attend", &Parts::attend, attention_work(p.spec, load));
  row("o", &Parts::o, linear_work(n, hidden, p.spec.q_width()));
  row("add_rms_norm", &Parts::add_norm, {});
  row("router", &Parts::router, linear_work(n, p.moe.n_experts, hidden));
  row("route", &Parts::route, {});
  row("group_by_slot", &Parts::group, {});
  row("expert_mlp", &Parts::experts, experts);
  row("combine_norm", &Parts::combine, {});
  const double head_us = p.graph_us([&] { p.head(); }, 1);
  report.add(load.name(), "head", head_us, linear_work(load.n_sequences, p.config.vocab_size, hidden));
  report.add(load.name(), "sample, greedy", p.graph_us([&] { p.sample(); }, 1), {});
  const double us = p.graph_us(
      [&] {
        for (std::size_t i = 0; i < n_layers; ++i)
          for (const Parts::Op op : Parts::kLayer) (p.*op)(i);
        p.head(), p.sample();
      },
      1);
  report.add(load.name(), fmt::format("{} layers in a graph", n_layers), us,
             step_work(p.config, load, p.n_distinct), {{"distinct_experts", p.n_distinct}});
}

}  // namespace concertina::bench::gpu
