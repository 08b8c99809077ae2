#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chat/chat_template.h"
#include "front/service.h"
#include "server/fields.h"
#include "server/openai/stop_strings.h"
#include "server/openai/tool_fields.h"
#include "tokenizer/tokenizer.h"

namespace concertina::server::dialects {
class KeptItems;
}

namespace concertina::server::openai {

class StructureChecker;

// What a request goes to. Responses and messages are other dialects of a chat; those from kCountTokens on
// generate nothing.
enum class Endpoint : std::uint8_t {
  kCompletions,
  kChat,
  kResponses,
  kMessages,
  kLlama,        // llama-server's own completion
  kSglang,       // SGLang's
  kInvocations,  // a chat or a completion, as its body is
  kCountTokens,
  kTokenize,
  kDetokenize,
  kRender
};
enum class Stream : std::uint8_t { kNo, kYes };
enum class IncludeUsage : std::uint8_t { kNo, kYes };
enum class ReturnTokenIds : std::uint8_t { kNo, kYes };
enum class ContinuousUsage : std::uint8_t { kNo, kYes };  // usage in every chunk, not only in the last
enum class Timings : std::uint8_t { kNo, kYes };          // how long prompt and answer took, in every chunk
enum class Echo : std::uint8_t { kNo, kYes };             // the prompt begins the answer's text
enum class StopText : std::uint8_t { kCut, kKept };       // of a stop string or stop token, in the answer
enum class TokensAs : std::uint8_t { kText, kIds };       // in log-probabilities: "the", "token_id:278"

// How an answer is written.
struct OutputParams {
  ContinuousUsage continuous_usage = ContinuousUsage::kNo;
  Timings timings = Timings::kNo;
  Echo echo = Echo::kNo;
  StopText stop_text = StopText::kCut;
  tokenizer::SkipSpecialTokens special_tokens = tokenizer::SkipSpecialTokens::kYes;
  TokensAs tokens_as = TokensAs::kText;
  std::optional<std::uint32_t> n_prompt_logprobs;  // told as "prompt_logprobs"
};

// A prompt as it begins its answers' texts. Made once, beside the event loop where the body is large: 128
// choices of one long prompt would decode it 128 times there.
struct EchoedPrompt {
  std::string text;  // as the client wrote it, where it did
  // kYes: special tokens that were put around it are no part of it.
  tokenizer::SkipSpecialTokens special_tokens = tokenizer::SkipSpecialTokens::kNo;
};

// A request for generation, checked and with all defaults filled in.
struct Parameters {
  Endpoint endpoint = Endpoint::kCompletions;  // of those that generate
  std::vector<std::vector<TokenId>> prompts;   // 1 or more, none empty
  std::size_t n = 1;                           // choices of each prompt
  Stream stream = Stream::kNo;
  IncludeUsage include_usage = IncludeUsage::kNo;
  ReturnTokenIds return_token_ids = ReturnTokenIds::kNo;
  request::SamplingParams sampling;  // choice_index is set for each choice later
  request::StopParams stop;
  request::TokenRules rules;
  request::LogprobParams logprobs;
  std::optional<request::Structure> structure;
  // kPostponed: its source was not read yet, for want of time (ParseContext::Place).
  enum class StructureCheck : std::uint8_t { kDone, kPostponed } structure_check = StructureCheck::kDone;
  std::int32_t priority = 0;
  std::string request_id;  // the client's name for it; empty: none
  OutputParams output;
  std::vector<EchoedPrompt> echoes;  // of each prompt, where output.echo says so; else empty
  // Of a prompt that is longer only the last so many tokens; -1: as many as fit; 0: it is not cut.
  std::int64_t truncate_prompt_tokens = 0;
  std::shared_ptr<const StopTable> stop_strings = std::make_shared<StopTable>();
  AnswerParameters answer;
  std::vector<std::string> prompt_ids;  // of each prompt as JSON without brackets, where they are asked for
  std::shared_ptr<const std::string> repeated_fields;  // of a response (dialects/responses_writer.h)
  std::shared_ptr<dialects::KeptItems> kept_items;     // takes a response's items; null: nobody does
};

// Whether a request may bring a chat template of its own.
enum class RequestTemplates : std::uint8_t { kRefused, kTrusted };

struct ParseContext {
  const front::ModelInfo& model;
  const tokenizer::Tokenizer* tokenizer;    // null: token ids only
  const chat::ChatTemplate* chat_template;  // null: no chat
  const AnswerFormats& formats;
  std::shared_ptr<dialects::KeptItems> kept_items = nullptr;  // that a request may refer to
  RequestTemplates request_templates = RequestTemplates::kRefused;
  std::span<const std::string> other_names = {};  // of the model
  StructureChecker* structures = nullptr;         // null: no structures
  // kLoop: on the thread that carries streams, where no source is read that is not known.
  enum class Place : std::uint8_t { kHelper, kLoop } place = Place::kHelper;

  bool is_model(const std::string& name) const;
};

// Every field of the request body, or the first thing that is wrong with it. Fields nobody knows go to
// `unknown`. `endpoint`: completions or chat.
ApiResult<Parameters> parse_parameters(Endpoint endpoint, const Json& body, const ParseContext& context,
                                       std::vector<std::string>& unknown);

}  // namespace concertina::server::openai
