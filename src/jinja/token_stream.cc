#include "jinja/token_stream.h"

#include <fmt/format.h>

#include "jinja/value.h"

namespace concertina::jinja {

namespace {

constexpr int kMaxDepth = 100;  // brackets and blocks within each other
constexpr int kMaxLinks = 500;  // operators, attributes, filters in one tag

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kText:
      return "text";
    case TokenKind::kOutputBegin:
      return "{{";
    case TokenKind::kOutputEnd:
      return "}}";
    case TokenKind::kBlockBegin:
      return "{%";
    case TokenKind::kBlockEnd:
      return "%}";
    case TokenKind::kString:
      return fmt::format("the string \"{}\"", token.text);
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kName:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
    case TokenKind::kOperator:
      break;
  }
  return fmt::format("\"{}\"", token.text);
}

}  // namespace

const Token& TokenStream::peek(std::size_t ahead) const {
  return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}

Token TokenStream::next() {
  Token token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::accept_operator(std::string_view text) {
  if (!at_operator(text)) return false;
  next();
  return true;
}

bool TokenStream::accept_name(std::string_view text) {
  if (!at_name(text)) return false;
  next();
  return true;
}

Status TokenStream::expect_operator(std::string_view text) {
  if (accept_operator(text)) return {};
  return unexpected(fmt::format("\"{}\"", text));
}

Status TokenStream::expect_name(std::string_view text) {
  if (accept_name(text)) return {};
  return unexpected(fmt::format("\"{}\"", text));
}

Status TokenStream::expect(TokenKind kind, std::string_view what) {
  if (!at(kind)) return unexpected(what);
  next();
  return {};
}

Result<std::string> TokenStream::name(std::string_view what) {
  if (!at(TokenKind::kName)) return unexpected(what);
  return next().text;
}

tl::unexpected<Error> TokenStream::error(std::string_view message) const {
  return template_error(fmt::format("line {}: {}", peek().line, message));
}

tl::unexpected<Error> TokenStream::unexpected(std::string_view wanted) const {
  return error(fmt::format("expected {}, found {}", wanted, describe(peek())));
}

Status TokenStream::enter() {
  if (++depth_ > kMaxDepth) return error(fmt::format("nested more than {} deep", kMaxDepth));
  return {};
}

Status TokenStream::link() {
  if (++n_links_ > kMaxLinks) return error(fmt::format("more than {} operators in one tag", kMaxLinks));
  return {};
}

}  // namespace concertina::jinja
