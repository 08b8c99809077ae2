#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "scheduler/scheduler.h"

// For tests of the scheduler.
namespace concertina::scheduler {

// A toy model: the next token is a hash of the whole history, so any lost, doubled or misplaced token changes
// the rest.
inline TokenId next_token(std::span<const TokenId> history) {
  std::uint64_t hash = 1469598103934665603ull;
  for (const TokenId token : history)
    hash = (hash ^ static_cast<std::uint64_t>(token + 1)) * 1099511628211ull;
  return static_cast<TokenId>(hash >> 40) & 0xffff;
}

// The KV of a rank as content: which token of which history stands at each (block, offset). Reading it back
// proves that the plan's blocks hold exactly the sequence's past.
class ToyRank {
 public:
  explicit ToyRank(const Limits& limits, kvcache::BrokenCopyRule broken = kvcache::BrokenCopyRule::kNone)
      : limits_(limits),
        shared_(new std::byte[records_layout(limits).bytes()]()),
        scheduler(limits, {shared_.get(), records_layout(limits).bytes()}, broken),
        kv_(limits.n_blocks * limits.block_size, -1) {}

  // Computes the plan's entries and samples; commits unless the step is void, which may have written
  // anything.
  enum class Outcome { kCommitted, kVoid };
  CommitResult step(Outcome outcome = Outcome::kCommitted) {
    const StepPlan& plan = scheduler.plan();
    check(plan);
    std::vector<TokenId> sampled;
    for (const PlanEntry& entry : plan.entries) {
      std::vector<TokenId> history;
      for (std::size_t i = 0; i < entry.n_tokens; ++i) at(entry, entry.start_position + i) = entry.tokens[i];
      for (std::size_t i = 0; i < entry.start_position + entry.n_tokens; ++i) history.push_back(at(entry, i));
      if (entry.sample == PlanEntry::Sample::kYes)
        sampled.push_back(entry.request == broken ? request::kNoToken : next_token(history));
    }
    if (outcome == Outcome::kVoid) {
      for (const PlanEntry& entry : plan.entries)
        for (std::size_t i = 0; i < entry.n_tokens; ++i) at(entry, entry.start_position + i) = -1;
      return {};
    }
    return scheduler.commit(sampled);
  }

  // What another rank reads of this one: the records, and the content of blocks.
  kvcache::RecordsView records() const {
    return {records_layout(limits_), {shared_.get(), records_layout(limits_).bytes()}};
  }
  void copy_block(BlockId to, const ToyRank& source, BlockId from) {
    for (std::size_t i = 0; i < limits_.block_size; ++i)
      kv_[to.value() * limits_.block_size + i] = source.kv_[from.value() * limits_.block_size + i];
  }

  Limits limits_;
  std::unique_ptr<std::byte[]> shared_;
  Scheduler scheduler;
  PrefillLimit limit{.max_tokens = limits_.max_num_batched_tokens};
  void limit_prefill(std::size_t n_tokens) { limit_prefill(PrefillLimit{.max_tokens = n_tokens}); }
  void limit_prefill(const PrefillLimit& new_limit) { scheduler.limit_prefill(limit = new_limit); }
  std::optional<RequestId> broken;  // its logits are no numbers

 private:
  TokenId& at(const PlanEntry& entry, std::size_t position) {
    return kv_[entry.block_table[position / limits_.block_size].value() * limits_.block_size +
               position % limits_.block_size];
  }
  void check(const StepPlan& plan) {
    std::set<BlockId> used;
    std::set<RequestId> seen;
    std::size_t n_tokens = 0, n_sampling = 0;
    for (const PlanEntry& entry : plan.entries) {
      EXPECT_GT(entry.n_tokens, 0u);
      EXPECT_TRUE(seen.insert(entry.request).second) << "one share a step";
      EXPECT_GE(entry.block_table.size() * limits_.block_size, entry.start_position + entry.n_tokens);
      for (const BlockId block : entry.block_table) {
        EXPECT_TRUE(used.insert(block).second) << "a block of two sequences";
        check_block(block, entry.request);
      }
      n_tokens += entry.n_tokens;
      n_sampling += entry.sample == PlanEntry::Sample::kYes ? 1 : 0;
    }
    EXPECT_EQ(n_tokens, plan.n_tokens);
    EXPECT_LE(n_tokens, limits_.max_num_batched_tokens);
    EXPECT_LE(plan.n_prefill_tokens, std::min(std::max<std::size_t>(1, limit.max_tokens), n_tokens));
    check_time(plan);
    EXPECT_LE(n_sampling, limits_.max_num_seqs);
    EXPECT_LE(plan.entries.size(), limits_.max_num_seqs + limits_.max_num_replays);
  }
  // A block of one generation is one sequence's for good, whatever steps were void and whoever gave way.
  void check_block(BlockId block, RequestId request) {
    EXPECT_TRUE(scheduler.blocks().is_held_by(block, request));
    const std::pair of(block, scheduler.blocks().generation(block));
    EXPECT_EQ(owners_.try_emplace(of, request).first->second, request)
        << "block " << of.first.value() << ", generation " << of.second.value();
  }
  static bool decodes(const PlanEntry& entry) {
    const request::Request& of = *entry.request_now;
    const std::size_t n_last = of.mode == request::Mode::kReplay ? 1 : 0;  // of which a replay needs no KV
    return of.tokens.size() > of.n_prompt_tokens &&
           of.tokens.size() - n_last - entry.start_position <= kFewTokens;
  }
  // All the time of its prefill, but for one token alone that may be a decode, and the least that is taken in
  // any case.
  void check_time(const StepPlan& plan) const {
    double time_s = 0, most_s = std::max(0.0, limit.max_s), token_s = 0;
    for (const PlanEntry& entry : plan.entries) {
      if (entry.n_tokens > 1 && !decodes(entry)) time_s += limit.time_s(entry.start_position, entry.n_tokens);
      token_s = std::max(token_s, limit.time_s(limits_.max_model_len, 1));
    }
    most_s += static_cast<double>(std::max<std::size_t>(1, limit.least_tokens)) * token_s;
    EXPECT_LE(time_s, most_s + 1e-9);
  }
  std::vector<TokenId> kv_;
  std::map<std::pair<BlockId, kvcache::Generation>, RequestId> owners_;
};

inline request::Request request(std::uint64_t id, std::size_t n_prompt, std::size_t max_tokens,
                                request::Mode mode = request::Mode::kLive) {
  request::Request made;
  made.id = RequestId(id);
  made.attempt = Attempt(1);
  for (std::size_t i = 0; i < n_prompt; ++i)
    made.tokens.push_back(static_cast<TokenId>(id * 31 + i * 7) & 0xffff);
  made.n_prompt_tokens = n_prompt;
  made.stop.max_tokens = max_tokens;
  made.mode = mode;
  return made;
}

inline std::vector<TokenId> undisturbed(const request::Request& request) {
  std::vector<TokenId> tokens = request.tokens, generated;
  for (std::size_t i = request.tokens.size() - request.n_prompt_tokens; i < request.stop.max_tokens; ++i) {
    tokens.push_back(next_token(tokens));
  }
  return {tokens.begin() + static_cast<std::ptrdiff_t>(request.n_prompt_tokens), tokens.end()};
}

inline Limits limits(std::size_t n_blocks, std::size_t batched = 16, std::size_t seqs = 4) {
  return {.max_num_seqs = seqs,
          .max_num_batched_tokens = batched,
          .max_model_len = 100,
          .block_size = 4,
          .n_blocks = n_blocks,
          .replay_chunk_tokens = 6};
}

}  // namespace concertina::scheduler
