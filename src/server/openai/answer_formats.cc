#include "server/openai/answer_formats.h"

#include <algorithm>
#include <random>
#include <string_view>

namespace concertina::server::openai {

AnswerFormats make_answer_formats(const tools::Formats& formats, const tokenizer::Tokenizer* tokenizer) {
  if (tokenizer == nullptr) return {};
  std::vector<TokenId> ids;
  for (const std::string_view mark : tools::marks_of(formats)) {
    const auto id = tokenizer->token_to_id(mark);
    if (id && tokenizer->is_special(*id)) ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  AnswerFormats made{formats, std::make_shared<const std::vector<TokenId>>(std::move(ids)), {}, {}, {}};
  if (formats.reasoning == nullptr) return made;
  const auto ids_of = [&](std::string_view mark) {
    return tokenizer->encode(std::string(mark), tokenizer::AddSpecialTokens::kNo);
  };
  made.thought_begin = ids_of(formats.reasoning->begin);
  made.thought_end = ids_of(formats.reasoning->end);
  made.thought_other_end = ids_of(formats.reasoning->implicit_end);
  return made;
}

std::string make_call_id(const tools::Formats& formats) {
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  const bool is_mistral =
      formats.calls != nullptr && formats.calls->style == tools::CallFormat::Style::kMistral;
  std::string id = is_mistral ? "" : "call_";
  std::random_device device;
  std::uniform_int_distribution<std::size_t> digit(0, kDigits.size() - 1);
  for (int i = 0; i < (is_mistral ? 9 : 24); ++i) id += kDigits[digit(device)];
  return id;
}

}  // namespace concertina::server::openai
