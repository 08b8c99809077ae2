#include "server/openai/token_api.h"

#include <fmt/format.h>

#include "server/openai/answer_writer.h"
#include "server/openai/messages.h"

namespace concertina::server::openai {

namespace {

// A prompt's text, or a chat's as the template renders it.
std::optional<std::string> read_text(Fields& fields, const ParseContext& context,
                                     tokenizer::AddSpecialTokens& add) {
  const char* name = fields.find("prompt") == nullptr ? "content" : "prompt";  // llama-server's, vLLM's
  const bool is_chat = fields.find(name) == nullptr;
  const bool adds = fields.boolean("add_special_tokens").value_or(!is_chat);
  add = adds ? tokenizer::AddSpecialTokens::kYes : tokenizer::AddSpecialTokens::kNo;
  if (!is_chat) return fields.text(name);
  Parameters unused;
  unused.endpoint = Endpoint::kChat;
  return render_messages(fields, context, unused);
}

std::string id_list(const std::vector<TokenId>& ids) { return fmt::format("[{}]", fmt::join(ids, ",")); }

std::string token_texts(const tokenizer::Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string out;
  for (const TokenId id : ids)
    out += fmt::format("{}{}", out.empty() ? "" : ",", json_string(std::string(tokenizer.token_text(id))));
  return "[" + out + "]";
}

std::string detokenize(Fields& fields, const ParseContext& context) {
  const auto ids = fields.token_ids("tokens", context.model.vocab_size);
  if (fields.find("tokens") == nullptr) fields.wrong("tokens", "a list of token ids", Json());
  const std::string text = json_string(context.tokenizer->decode(ids, tokenizer::SkipSpecialTokens::kNo));
  return fmt::format(R"({{"prompt":{},"content":{}}})", text, text);
}

std::string tokenize(Endpoint endpoint, Fields& fields, const ParseContext& context) {
  tokenizer::AddSpecialTokens add = tokenizer::AddSpecialTokens::kNo;
  const bool wants_texts = fields.boolean("return_token_strs").value_or(false);
  const auto text = read_text(fields, context, add);
  if (!text || fields.error()) return {};
  const auto ids = context.tokenizer->encode(*text, add);
  if (endpoint == Endpoint::kCountTokens) return fmt::format(R"({{"input_tokens":{}}})", ids.size());
  const std::string count = fmt::format(R"("count":{},"max_model_len":{},"tokens":{})", ids.size(),
                                        context.model.max_model_len, id_list(ids));
  if (endpoint == Endpoint::kRender) return fmt::format(R"({{"prompt":{},{}}})", json_string(*text), count);
  return fmt::format(R"({{{},"token_strs":{}}})", count,
                     wants_texts ? token_texts(*context.tokenizer, ids) : "null");
}

}  // namespace

ApiResult<std::string> token_answer(Endpoint endpoint, const Json& body, const ParseContext& context,
                                    std::vector<std::string>& unknown) {
  Fields fields(body);
  fields.find("model");
  if (context.tokenizer == nullptr)
    return tl::unexpected<ApiError>(ApiError{400, "this model has no tokenizer", std::nullopt, std::nullopt});
  std::string answer =
      endpoint == Endpoint::kDetokenize ? detokenize(fields, context) : tokenize(endpoint, fields, context);
  if (fields.error()) return tl::unexpected<ApiError>(*fields.error());
  unknown = fields.unknown();
  return answer;
}

}  // namespace concertina::server::openai
