#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "client/http.h"

namespace concertina::client {

struct Message {
  std::string role, content;
};

// One streamed request with one choice. Exactly one of messages, prompt_ids and prompt is set. What is not
// set is not sent: the server's defaults hold.
struct GenerationRequest {
  std::vector<Message> messages;    // /v1/chat/completions
  std::vector<TokenId> prompt_ids;  // /v1/completions
  std::string prompt;               // /v1/completions
  std::optional<std::size_t> max_tokens;
  std::optional<double> temperature, top_p, min_p;
  std::optional<int> top_k;
  std::optional<std::int64_t> seed;
  bool ignore_eos = false;
  std::string more;  // a JSON object of other fields, or empty
};
std::string target_of(const GenerationRequest& request);
std::string body_of(const GenerationRequest& request);  // JSON, with "stream" and "return_token_ids" true

// One event of the stream.
struct GenerationChunk {
  std::string text;
  std::vector<TokenId> token_ids;
};

struct Generation {
  std::vector<TokenId> prompt_ids, token_ids;
  std::vector<std::string> logprobs;  // one a token, the prompt's first where it is echoed; as JSON
  std::vector<Time> token_times;      // [token_ids.size()]: when the event that brought the token was read
  std::string text;
  std::string finish_reason;  // empty if the caller disconnected before the end
};

// Runs the request to its end, or until on_chunk returns kDisconnect. A failure in the middle is an error,
// also one that the server tells within the stream. Errors as stream(), kStatus for a refusal, kInvalid for
// chunks that break the contract.
Result<Generation> generate(const Endpoint& server, const GenerationRequest& request,
                            const std::function<StreamControl(const GenerationChunk&)>& on_chunk = nullptr,
                            const StreamOptions& options = {});

// The words of an OpenAI error body; the body itself (shortened) if it is none.
std::string error_message_of(const std::string& body);

}  // namespace concertina::client
