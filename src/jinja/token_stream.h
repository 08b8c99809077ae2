#pragma once

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/lexer.h"

namespace concertina::jinja {

// The tokens of a template, read from the front. Bounds how deep what is parsed may nest.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(std::size_t ahead = 0) const;  // kEnd for ever after the last
  Token next();
  bool at(TokenKind kind) const { return peek().kind == kind; }
  bool at_operator(std::string_view text) const { return at(TokenKind::kOperator) && peek().text == text; }
  bool at_name(std::string_view text) const { return at(TokenKind::kName) && peek().text == text; }
  bool accept_operator(std::string_view text);
  bool accept_name(std::string_view text);
  Status expect_operator(std::string_view text);
  Status expect_name(std::string_view text);
  Status expect(TokenKind kind, std::string_view what);
  Result<std::string> name(std::string_view what);  // the next token, a name

  tl::unexpected<Error> error(std::string_view message) const;      // "line N: message"
  tl::unexpected<Error> unexpected(std::string_view wanted) const;  // "line N: expected WANTED, found ..."

  // Each level of nesting, and each link of a chain such as a + b + c, makes the tree one deeper: what walks
  // the tree recursively needs a bound. Links are forgotten where a new tag begins.
  Status enter();
  void leave() { --depth_; }
  Status link();
  void begin_tag() { n_links_ = 0; }

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0, n_links_ = 0;
};

}  // namespace concertina::jinja
