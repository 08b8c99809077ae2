#include "server/openai/logprobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "server/openai/chunks.h"

namespace concertina::server::openai {

namespace {

using request::TokenLogprob;
using Logprobs = std::span<const TokenLogprob>;

std::string number(float logprob) {
  if (std::isnan(logprob)) return "null";
  if (std::isinf(logprob)) return "-9999.0";
  return fmt::format("{}", logprob);
}

std::string escaped(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    if (value >= 0x20 && value < 0x7f) {
      out += byte;
    } else {
      out += fmt::format("\\x{:02x}", value);
    }
  }
  return out;
}

void append(std::string& list, const std::string& member) {
  if (!list.empty()) list += ",";
  list += member;
}

}  // namespace

std::string token_name(TokenId token, Endpoint endpoint, TokensAs as, const tokenizer::Tokenizer* tokenizer) {
  const bool has_text =
      as == TokensAs::kText && tokenizer != nullptr && !tokenizer->token_text(token).empty();
  if (!has_text) return fmt::format("token_id:{}", token);
  const std::string_view bytes = tokenizer->token_bytes(token);
  if (is_valid_utf8(bytes)) return std::string(bytes);
  return (endpoint == Endpoint::kCompletions ? "bytes:" : "") + escaped(bytes);
}

std::size_t n_characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }));
}

void LogprobLists::add(TokenId token, Logprobs logprobs, std::size_t offset) {
  if (endpoint_ == Endpoint::kChat) return add_chat(logprobs);
  append(tokens_, json_string(name_of(token)));
  append(logprobs_, logprobs.empty() ? "null" : number(logprobs[0].logprob));
  append(top_, logprobs.empty() ? "null" : top_of_completion(logprobs));
  append(offsets_, fmt::format("{}", offset));
}

// The token itself, too, though it may not be among the highest. Two ids of the same text are one member, the
// likelier one's.
std::string LogprobLists::top_of_completion(Logprobs logprobs) const {
  std::string members;
  std::vector<std::string> names;
  for (const TokenLogprob& one : logprobs) {
    const std::string name = name_of(one.token);
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    append(members, json_string(name) + ":" + number(one.logprob));
    names.push_back(name);
  }
  return "{" + members + "}";
}

std::string LogprobLists::chat_object(const TokenLogprob& one) const {
  const std::string_view bytes = tokenizer_ == nullptr ? "" : tokenizer_->token_bytes(one.token);
  std::vector<unsigned> values;
  for (const char byte : bytes) values.push_back(static_cast<unsigned char>(byte));
  return fmt::format(R"("token":{},"logprob":{},"bytes":[{}])", json_string(name_of(one.token)),
                     number(one.logprob), fmt::join(values, ","));
}

void LogprobLists::add_chat(Logprobs logprobs) {
  if (logprobs.empty()) return;
  std::string top;
  for (const TokenLogprob& one : logprobs.subspan(1)) append(top, "{" + chat_object(one) + "}");
  append(tokens_, fmt::format(R"({{{},"top_logprobs":[{}]}})", chat_object(logprobs[0]), top));
}

std::string LogprobLists::take() {
  if (empty()) return "null";
  std::string out =
      endpoint_ == Endpoint::kChat
          ? fmt::format(R"({{"content":[{}],"refusal":null}})", tokens_)
          : fmt::format(R"({{"text_offset":[{}],"token_logprobs":[{}],"tokens":[{}],"top_logprobs":[{}]}})",
                        offsets_, logprobs_, tokens_, top_);
  for (std::string* list : {&tokens_, &logprobs_, &top_, &offsets_}) list->clear();
  return out;
}

std::string PromptLogprobList::member(const TokenLogprob& one, std::size_t rank) const {
  return fmt::format(R"("{}":{{"logprob":{},"rank":{},"decoded_token":{}}})", one.token, number(one.logprob),
                     rank,
                     json_string(token_name(one.token, Endpoint::kCompletions, TokensAs::kText, tokenizer_)));
}

void PromptLogprobList::add(const request::PromptLogprobs& scored) {
  for (std::size_t i = 0; i < scored.ranks.size(); ++i) {
    const Logprobs each = Logprobs(scored.logprobs).subspan(i * scored.n_each, scored.n_each);
    std::string members = member(each[0], scored.ranks[i]);
    for (std::size_t k = 1; k < std::min(each.size(), 1 + n_top_); ++k)
      if (each[k].token != each[0].token) members += "," + member(each[k], k);
    members_ += ",{" + members + "}";
  }
}

}  // namespace concertina::server::openai
