#include "server/openai/token_names.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "server/openai/answer_writer.h"

namespace concertina::server::openai {

namespace {

std::string hexadecimal(std::string_view bytes) {
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

}  // namespace

std::string token_name(TokenId token, Endpoint endpoint, TokensAs as, const tokenizer::Tokenizer* tokenizer) {
  const bool has_text =
      as == TokensAs::kText && tokenizer != nullptr && !tokenizer->token_text(token).empty();
  if (!has_text) return fmt::format("token_id:{}", token);
  const std::string_view bytes = tokenizer->token_bytes(token);
  if (is_valid_utf8(bytes)) return std::string(bytes);
  return (endpoint == Endpoint::kCompletions ? "bytes:" : "") + hexadecimal(bytes);
}

TokenNames::Members TokenNames::made(TokenId token, Endpoint endpoint, TokensAs as) const {
  const std::string_view bytes = tokenizer_ == nullptr ? "" : tokenizer_->token_bytes(token);
  std::vector<unsigned> values;
  for (const char byte : bytes) values.push_back(static_cast<unsigned char>(byte));
  return {json_string(token_name(token, endpoint, as, tokenizer_)),
          fmt::format("[{}]", fmt::join(values, ","))};
}

const TokenNames::Members& TokenNames::of(TokenId token, Endpoint endpoint, TokensAs as) {
  const bool is_known = tokenizer_ != nullptr && token >= 0 &&
                        static_cast<std::size_t>(token) < tokenizer_->vocab_size() && as == TokensAs::kText;
  if (!is_known) return other_ = made(token, endpoint, as);
  std::vector<Members>& all = endpoint == Endpoint::kCompletions ? completion_ : chat_;
  if (all.empty()) all.resize(tokenizer_->vocab_size());
  Members& one = all[static_cast<std::size_t>(token)];
  if (one.name.empty()) one = made(token, endpoint, as);
  return one;
}

}  // namespace concertina::server::openai
