#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "worker/rank_parts.h"

namespace concertina::bench {

struct EngineOptions {
  std::string model_path;
  std::size_t n_ranks = 1, n_threads = 2;  // threads of each rank
  std::size_t n_sequences = 32;            // of all ranks together, at most
  std::size_t max_model_len = 1024, max_num_batched_tokens = 512;
  kernels::RowForm form = kernels::RowForm::kFloat32;
  device::InstructionSet instruction_set = device::best_instruction_set();
};

// A deployment without its front: the ranks' own parts, exchange and forward pass, ranks as threads of this
// process. What it does not have: the coordinator, the scheduler, the journal, HTTP.
class Engine {
 public:
  static Result<std::unique_ptr<Engine>> create(const EngineOptions& options);
  ~Engine();

  // Seconds for one prompt of n_tokens random tokens on every rank, max_num_batched_tokens a step.
  double prefill_s(std::size_t n_tokens, std::uint64_t seed);

  // Seconds for n_steps of decoding with n_sequences (spread over the ranks evenly), each after a prompt of
  // its own of n_prompt random tokens, which is not counted. A token is chosen greedily in every step, but
  // the next one is random: greedy sequences of random weights fall into the same loops, and then share
  // experts.
  double decode_s(std::size_t n_sequences, std::size_t n_prompt, std::size_t n_steps, std::uint64_t seed);

  // Feeds each sequence's token at `position`, whose earlier ones were fed before; one rank only. Returns the
  // logits [tokens.size(), vocab_size], valid until the next call.
  std::span<const float> next_logits(std::size_t position, std::span<const TokenId> tokens);

  std::vector<exchange::ExchangeCounters> counters() const;  // of each rank
  worker::RankParts& parts_of_only_rank();                   // in its first epoch
  // All ranks' experts in a later epoch, as `rank` sees it.
  Result<std::shared_ptr<const exchange::EpochView>> prepare(std::uint32_t rank, Epoch epoch);

 private:
  struct Rank;
  explicit Engine(const EngineOptions& options);
  // Runs work(index, rank) on a thread for each rank at once; returns when all are done.
  template <typename Work>
  void on_every_rank(const Work& work);

  EngineOptions options_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace concertina::bench
