#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace concertina::jinja {

enum class TokenKind {
  kText,         // outside of tags, white space control applied
  kOutputBegin,  // {{
  kOutputEnd,    // }}
  kBlockBegin,   // {%
  kBlockEnd,     // %}
  kName,
  kString,  // a string literal, escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;  // from 1
};

// Cuts a template into tokens as Jinja 3 does with trim_blocks and lstrip_blocks on (transformers' settings)
// and keep_trailing_newline off. Comments and raw blocks are resolved here. The last token is kEnd.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace concertina::jinja
