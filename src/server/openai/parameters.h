#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/chat_template.h"
#include "front/service.h"
#include "server/fields.h"
#include "server/openai/stop_strings.h"
#include "server/openai/tool_fields.h"
#include "tokenizer/tokenizer.h"

namespace concertina::server::openai {

// What a request goes to. Responses and messages are other dialects of a chat; those from kCountTokens on
// generate nothing.
enum class Endpoint : std::uint8_t {
  kCompletions,
  kChat,
  kResponses,
  kMessages,
  kCountTokens,
  kTokenize,
  kDetokenize,
  kRender
};
enum class Stream : std::uint8_t { kNo, kYes };
enum class IncludeUsage : std::uint8_t { kNo, kYes };
enum class ReturnTokenIds : std::uint8_t { kNo, kYes };

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
  std::shared_ptr<const StopTable> stop_strings = std::make_shared<StopTable>();
  AnswerParameters answer;
  std::shared_ptr<const Json> dialect_body;  // of other dialects: the request as it came
};

struct ParseContext {
  const front::ModelInfo& model;
  const tokenizer::Tokenizer* tokenizer;    // null: token ids only
  const chat::ChatTemplate* chat_template;  // null: no chat
  const AnswerFormats& formats;
};

// Every field of the request body, or the first thing that is wrong with it. Fields nobody knows go to
// `unknown`. `endpoint`: completions or chat.
ApiResult<Parameters> parse_parameters(Endpoint endpoint, const Json& body, const ParseContext& context,
                                       std::vector<std::string>& unknown);

}  // namespace concertina::server::openai
