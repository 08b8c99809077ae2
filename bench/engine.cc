#include "bench/engine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <barrier>
#include <chrono>

#include "base/check.h"
#include "base/random.h"
#include "bench/forms.h"
#include "cluster/placement.h"
#include "model/kv_spec.h"
#include "worker/epoch_loader.h"

namespace concertina::bench {

namespace {

constexpr std::size_t kBlockSize = 16;
const request::Request kGreedy{.sampling = {.temperature = 0}};
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

struct Engine::Rank {
  Rank(worker::RankParts the_parts, std::size_t max_sequences, std::size_t max_model_len)
      : parts(std::move(the_parts)) {
    const std::size_t n_blocks = (max_model_len + kBlockSize - 1) / kBlockSize;
    for (std::size_t i = 0; i < max_sequences; ++i) {
      auto& table = block_tables.emplace_back();
      for (std::size_t b = 0; b < n_blocks; ++b)
        table.push_back(BlockId(static_cast<std::uint32_t>(i * n_blocks + b)));
    }
  }

  // Tokens of n_sequences at positions [start, start + n_tokens) -> logits of the last ones, and the next
  // tokens, chosen greedily, which takes the time that it takes.
  model::StepOutput step(std::size_t n_sequences, std::size_t start, std::size_t n_tokens,
                         const std::vector<std::vector<TokenId>>& tokens) {
    slices.clear();
    for (std::size_t i = 0; i < n_sequences; ++i) {
      slices.push_back({.tokens = std::span(tokens[i]).first(n_tokens),
                        .start_position = start,
                        .block_table = block_tables[i],
                        .request = &kGreedy});
    }
    parts.steps->begin_step(parts.steps->next_step(), Epoch{});
    const auto output = model::forward(*parts.model, slices, *parts.kv_cache, *parts.experts,
                                       *parts.workspace, *parts.stream);
    CHECK(output.has_value(), "{}", output.error().message());
    return *output;
  }

  worker::RankParts parts;
  std::vector<std::vector<BlockId>> block_tables;
  std::vector<model::SequenceSlice> slices;
};

Engine::Engine(const EngineOptions& options) : options_(options) {}
Engine::~Engine() = default;

namespace {
std::size_t sequences_of_a_rank(const EngineOptions& options) {
  return (options.n_sequences + options.n_ranks - 1) / options.n_ranks;
}

cluster::Member member_at(std::uint32_t index) { return {RankId(index), Incarnation(index + 1)}; }

worker::RankOptions rank_options(const EngineOptions& options, const model::ModelConfig& config) {
  const std::size_t rank_sequences = sequences_of_a_rank(options);
  worker::RankOptions rank{.model_path = options.model_path, .load_format = "auto"};
  rank.limits = {.max_num_seqs = rank_sequences,
                 .max_num_batched_tokens = options.max_num_batched_tokens,
                 .max_model_len = options.max_model_len,
                 .block_size = kBlockSize,
                 .n_blocks = 0,
                 .replay_chunk_tokens = 8};
  rank.kv_cache_bytes = rank_sequences * (options.max_model_len / kBlockSize + 1) *
                        model::kv_spec(config).bytes_per_block(kBlockSize);
  rank.max_ranks = options.n_ranks;
  rank.peer_timeout = std::chrono::seconds(60);
  rank.n_threads = options.n_threads;
  rank.instruction_set = options.instruction_set;
  rank.quantization = quantization_of(options.form);
  rank.activations = activations_of(options.form);
  return rank;
}
}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(const EngineOptions& options) {
  std::unique_ptr<Engine> engine(new Engine(options));
  ASSIGN_OR_RETURN(const model::ModelConfig config, model::read_config(options.model_path));
  for (std::uint32_t i = 0; i < options.n_ranks; ++i) {
    worker::RankOptions rank = rank_options(options, config);
    rank.rank = member_at(i).rank;
    rank.incarnation = member_at(i).incarnation;
    ASSIGN_OR_RETURN(auto parts, worker::make_rank_parts(rank, [](const exchange::Suspicion& suspicion) {
                       CHECK(false, "rank {} does not answer: {}", suspicion.rank, suspicion.what);
                     }));
    engine->ranks_.push_back(
        std::make_unique<Rank>(std::move(parts), sequences_of_a_rank(options), options.max_model_len));
  }
  for (std::uint32_t i = 0; i < options.n_ranks; ++i) {
    ASSIGN_OR_RETURN(auto view, engine->prepare(i, Epoch(1)));
    engine->ranks_[i]->parts.steps->enter_epoch(std::move(view));
  }
  return engine;
}

Result<std::shared_ptr<const exchange::EpochView>> Engine::prepare(std::uint32_t rank, Epoch epoch) {
  cluster::EpochPlan plan{.epoch = epoch};
  std::vector<exchange::MemberAddress> addresses;
  for (std::uint32_t i = 0; i < ranks_.size(); ++i) {
    plan.members.push_back(member_at(i));
    addresses.push_back({member_at(i), ranks_[i]->parts.link->address()});
  }
  worker::RankParts& parts = ranks_[rank]->parts;
  const model::ModelConfig& config = parts.model->config();
  plan.placement =
      cluster::plan_placement({}, {}, plan.members, {config.moe_layers.size(), config.experts().n_experts});
  ASSIGN_OR_RETURN(auto prepared, worker::EpochLoader(parts, member_at(rank).rank).prepare(plan, addresses));
  return std::move(prepared.view);
}

template <typename Work>
void Engine::on_every_rank(const Work& work) {
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < ranks_.size(); ++i)
    threads.emplace_back([this, i, &work] { work(i, *ranks_[i]); });
  work(0, *ranks_[0]);
  for (std::thread& thread : threads) thread.join();
}

double Engine::prefill_s(std::size_t n_tokens, std::uint64_t seed) {
  std::barrier start(static_cast<std::ptrdiff_t>(ranks_.size()));
  double seconds = 0;
  on_every_rank([&](std::size_t index, Rank& rank) {
    Random random(seed * 1000 + index);
    std::vector<std::vector<TokenId>> tokens(1);
    const auto step = [&](std::size_t position, std::size_t n) {
      tokens[0].clear();
      for (std::size_t i = 0; i < n; ++i)
        tokens[0].push_back(static_cast<TokenId>(random.below(rank.parts.model->config().vocab_size)));
      rank.step(1, position, n, tokens);
    };
    const std::size_t most = options_.max_num_batched_tokens;
    start.arrive_and_wait();
    const auto begin = Clock::now();
    for (std::size_t at = 0; at < n_tokens; at += most) step(at, std::min(most, n_tokens - at));
    start.arrive_and_wait();
    if (index == 0) seconds = seconds_since(begin);
  });
  return seconds;
}

double Engine::decode_s(std::size_t n_sequences, std::size_t n_prompt, std::size_t n_steps,
                        std::uint64_t seed) {
  std::barrier start(static_cast<std::ptrdiff_t>(ranks_.size()));
  double seconds = 0;
  on_every_rank([&](std::size_t index, Rank& rank) {
    const std::size_t n = n_sequences / ranks_.size() + (index < n_sequences % ranks_.size() ? 1 : 0);
    Random random(seed * 1000 + index);
    std::vector<std::vector<TokenId>> tokens(n, std::vector<TokenId>(1));
    const auto step = [&](std::size_t position) {
      for (auto& one : tokens)
        one[0] = static_cast<TokenId>(random.below(rank.parts.model->config().vocab_size));
      rank.step(n, position, 1, tokens);
    };
    for (std::size_t position = 0; position < n_prompt; ++position) step(position);
    start.arrive_and_wait();
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < n_steps; ++i) step(n_prompt + i);
    start.arrive_and_wait();
    if (index == 0) seconds = seconds_since(begin);
  });
  return seconds;
}

worker::RankParts& Engine::parts_of_only_rank() {
  CHECK(ranks_.size() == 1, "{} ranks", ranks_.size());
  return ranks_[0]->parts;
}

std::span<const float> Engine::next_logits(std::size_t position, std::span<const TokenId> tokens) {
  CHECK(ranks_.size() == 1, "{} ranks", ranks_.size());
  std::vector<std::vector<TokenId>> each;
  for (const TokenId token : tokens) each.push_back({token});
  return ranks_[0]->step(tokens.size(), position, 1, each).logits;
}

std::vector<exchange::ExchangeCounters> Engine::counters() const {
  std::vector<exchange::ExchangeCounters> all;
  for (const auto& rank : ranks_) all.push_back(rank->parts.steps->counters());
  return all;
}

}  // namespace concertina::bench
