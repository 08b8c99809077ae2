#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "request/logprobs.h"
#include "request/structure.h"
#include "request/token_rules.h"

// What a client asked for and what it gets, in the one form that every part of a deployment uses.
namespace concertina::request {

// Who sent a request, as far as turns go: a key, or a connection without one.
using ClientId = Id<struct ClientTag, std::uint64_t>;

// How a token is drawn; greedy when temperature is 0.
struct SamplingParams {
  float temperature = 1.0f;
  std::int32_t top_k = 0;  // 0 or below: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  std::uint64_t seed = 0;
  std::uint32_t choice_index = 0;
  float repetition_penalty = 1.0f;  // above 0; of tokens of the prompt and of the answer
  float frequency_penalty = 0.0f, presence_penalty = 0.0f;  // of tokens of the answer
  bool has_penalties() const {
    return repetition_penalty != 1.0f || frequency_penalty != 0.0f || presence_penalty != 0.0f;
  }
  bool operator==(const SamplingParams&) const = default;
};

struct StopParams {
  std::size_t max_tokens = 16;  // generated tokens, 1 or more
  bool ignore_eos = false;
  std::vector<TokenId> eos_token_ids;   // once added to a scheduler: sorted, each once
  std::vector<TokenId> stop_token_ids;  // the same
  std::size_t min_tokens = 0;           // until so many are generated, neither eos nor a stop id is drawn
  bool operator==(const StopParams&) const = default;
};
inline constexpr std::size_t kMaxStopTokenIds = 1024;  // distinct ones of a request

inline void sort_ids(std::vector<TokenId>& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

// kError: the model gave no finite logits, so that there is no next token. kNothingAllowed: neither is there
// one, because the request's rules left none.
enum class FinishReason : std::uint8_t { kNone, kStop, kLength, kError, kNothingAllowed };

// In place of a sampled token: there is none.
inline constexpr TokenId kNoToken = -1;

// What a row of logits came to. kNotFinite: a logit is NaN or plus infinity, or none is a number: the model's
// arithmetic broke. kNothingAllowed: the logits are numbers, and mask and edits left none of them.
enum class SamplingOutcome : std::uint8_t { kToken, kNotFinite, kNothingAllowed };

// A replay computes the KV of a request that another rank still decodes; it samples nothing until it is taken
// over.
enum class Mode : std::uint8_t { kLive, kReplay };

struct Request {
  RequestId id;
  Attempt attempt;
  std::vector<TokenId> tokens;  // prompt, then what was generated so far (earlier attempts included)
  std::size_t n_prompt_tokens = 0;
  SamplingParams sampling;
  StopParams stop;
  Mode mode = Mode::kLive;
  SharedTokenRules rules = {};
  LogprobParams logprobs = {};
  std::int32_t priority = 0;  // the lower the earlier
  SharedStructure structure = {};
  bool operator==(const Request&) const = default;
};

// The front has all log-probabilities of the prompt that it wants.
inline bool is_scored(const Request& request) {
  return !request.logprobs.n_prompt_top || request.logprobs.next_prompt_position >= request.n_prompt_tokens;
}

// A token of a committed step.
struct TokenEvent {
  RequestId request;
  Attempt attempt;
  std::size_t position = 0;  // among the generated tokens, 0-based: the journal's length before it
  TokenId token = kNoToken;  // kNoToken with kError and kNothingAllowed, else one
  FinishReason finish_reason = FinishReason::kNone;
  bool operator==(const TokenEvent&) const = default;
};

// A replay that now has the KV of every token it was told of but the last.
struct CaughtUp {
  RequestId request;
  Attempt attempt;
  std::size_t n_generated = 0;  // tokens known of the request when it caught up
  bool operator==(const CaughtUp&) const = default;
};

}  // namespace concertina::request
