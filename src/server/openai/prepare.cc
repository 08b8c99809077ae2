#include "server/openai/prepare.h"

#include <cstring>

#include "server/dialects/anthropic_request.h"
#include "server/dialects/anthropic_writer.h"
#include "server/dialects/native_request.h"
#include "server/dialects/responses_request.h"
#include "server/dialects/responses_writer.h"
#include "server/openai/token_api.h"

namespace concertina::server::openai {

namespace {

// Names of a chat completion's fields that a dialect calls otherwise.
ApiError in_words_of(Endpoint endpoint, ApiError error) {
  struct Name {
    const char *chat, *responses, *messages;
  };
  static constexpr Name kNames[] = {
      {"messages", "input", "messages"},
      {"response_format.json_schema", "text.format", "response_format"},
      {"response_format", "text.format", "response_format"},
      {"reasoning_effort", "reasoning.effort", "reasoning_effort"},
      {"max_completion_tokens", "max_output_tokens", "max_tokens"},
      {"thinking_token_budget", "thinking_token_budget", "thinking.budget_tokens"},
      {"stop", "stop", "stop_sequences"}};
  if (!error.param) return error;
  if (error.param->starts_with("tools[")) {  // a chat has what is in "function" one level deeper
    for (std::string* text : {&*error.param, &error.message}) {
      const std::size_t at = text->find(".function.");
      if (at != text->npos) text->erase(at, std::strlen(".function"));
      const std::size_t parameters = text->find("].parameters");
      if (endpoint == Endpoint::kMessages && parameters != text->npos)
        text->replace(parameters + 2, std::strlen("parameters"), "input_schema");
    }
    return error;
  }
  for (const Name& name : kNames) {
    const std::string_view chat = name.chat;
    const bool is_within = error.param->starts_with(name.chat + std::string("[")) ||
                           error.param->starts_with(name.chat + std::string("."));
    if (*error.param != chat && !is_within) continue;
    const std::string own = endpoint == Endpoint::kResponses ? name.responses : name.messages;
    if (own == chat) break;
    error.param = own;
    if (error.message.starts_with(chat)) error.message = own + error.message.substr(chat.size());
    break;
  }
  return error;
}

ApiResult<Json> as_chat(Endpoint endpoint, const Json& body, const dialects::KeptItems* kept) {
  if (endpoint == Endpoint::kResponses) return dialects::responses_to_chat(body, kept);
  return dialects::anthropic_to_chat(
      body, endpoint == Endpoint::kCountTokens ? dialects::Wants::kCount : dialects::Wants::kAnswer);
}

PreparedRequest prepare_native(Endpoint endpoint, const Json& body, const ParseContext& context) {
  PreparedRequest prepared;
  const auto completion = endpoint == Endpoint::kLlama ? dialects::llama_to_completion(body)
                                                       : dialects::sglang_to_completion(body);
  if (!completion) return prepared.parameters = tl::unexpected<ApiError>(completion.error()), prepared;
  prepared.parameters = parse_parameters(Endpoint::kCompletions, *completion, context, prepared.unknown);
  if (!prepared.parameters) return prepared;
  if (prepared.parameters->n > 1)
    prepared.parameters = tl::unexpected<ApiError>(ApiError{400, "n must be 1 here", "n", std::nullopt});
  else if (endpoint == Endpoint::kSglang && prepared.parameters->stream == Stream::kYes)  // sampling_params'
    prepared.parameters = tl::unexpected<ApiError>(
        ApiError{400, "stream is not supported here: use /v1/completions", "stream", std::nullopt});
  else
    prepared.parameters->endpoint = endpoint;
  return prepared;
}

}  // namespace

http::Response refusal(Endpoint endpoint, const ApiError& error) {
  const bool is_anthropic = endpoint == Endpoint::kMessages || endpoint == Endpoint::kCountTokens;
  return is_anthropic ? dialects::anthropic_error(error) : error_response(error);
}

PreparedRequest prepare(Endpoint endpoint, const std::string& body, const ParseContext& context) {
  PreparedRequest prepared;
  const auto fields = Fields::parse(body);
  if (!fields) return prepared.parameters = tl::unexpected<ApiError>(fields.error()), prepared;
  if (endpoint == Endpoint::kInvocations)
    endpoint = fields->contains("messages") ? Endpoint::kChat : Endpoint::kCompletions;
  if (endpoint == Endpoint::kCompletions || endpoint == Endpoint::kChat) {
    prepared.parameters = parse_parameters(endpoint, *fields, context, prepared.unknown);
    return prepared;
  }
  if (endpoint == Endpoint::kLlama || endpoint == Endpoint::kSglang)
    return prepare_native(endpoint, *fields, context);
  if (endpoint == Endpoint::kTokenize || endpoint == Endpoint::kDetokenize || endpoint == Endpoint::kRender) {
    const auto answer = token_answer(endpoint, *fields, context, prepared.unknown);
    prepared.answer = answer ? http::Response{.body = *answer} : refusal(endpoint, answer.error());
    return prepared;
  }
  const auto chat = as_chat(endpoint, *fields, context.kept_items.get());
  if (!chat) return prepared.parameters = tl::unexpected<ApiError>(chat.error()), prepared;
  if (endpoint == Endpoint::kCountTokens) {
    const auto answer = token_answer(endpoint, *chat, context, prepared.unknown);
    prepared.answer = answer ? http::Response{.body = *answer} : refusal(endpoint, answer.error());
    return prepared;
  }
  prepared.parameters = parse_parameters(Endpoint::kChat, *chat, context, prepared.unknown);
  if (!prepared.parameters) {
    prepared.parameters = tl::unexpected<ApiError>(in_words_of(endpoint, prepared.parameters.error()));
    return prepared;
  }
  if (prepared.parameters->n > 1) {
    prepared.parameters = tl::unexpected<ApiError>(ApiError{400, "n must be 1 here", "n", std::nullopt});
    return prepared;
  }
  prepared.parameters->endpoint = endpoint;
  if (endpoint == Endpoint::kResponses)
    prepared.parameters->repeated_fields =
        std::make_shared<const std::string>(dialects::repeated_fields(*fields));
  prepared.parameters->kept_items = context.kept_items;
  return prepared;
}

}  // namespace concertina::server::openai
