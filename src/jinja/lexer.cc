#include "jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "jinja/string_literal.h"
#include "jinja/value.h"

namespace concertina::jinja {

namespace {

constexpr std::string_view kSpaces = " \t\n\r\f\v";
constexpr std::array<std::string_view, 6> kLongOperators = {"//", "**", "==", "!=", "<=", ">="};
constexpr std::string_view kOperators = "+-*/%~()[]{},.:|=<>";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_begin(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_name_part(char c) { return is_name_begin(c) || is_digit(c); }

// Every line ends in \n; one \n at the very end is dropped.
std::string normalize_lines(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    out += source[i] == '\r' ? '\n' : source[i];
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      const std::size_t open = find_tag(at_);
      if (open == std::string::npos) {
        put_text(source_.substr(at_));
        at_ = source_.size();
      } else {
        RETURN_IF_ERROR(read_tag(open));
      }
    }
    tokens_.push_back({TokenKind::kEnd, "", line_});
    return std::move(tokens_);
  }

 private:
  tl::unexpected<Error> error(std::string_view message) const {
    return template_error(fmt::format("line {}: {}", line_, message));
  }

  bool looking_at(std::string_view text) const {
    return std::string_view(source_).substr(at_).starts_with(text);
  }

  void advance_to(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + end, '\n'));
    after_newline_ = end > at_ ? source_[end - 1] == '\n' : after_newline_;
    at_ = end;
  }

  std::size_t find_tag(std::size_t from) const {
    for (std::size_t i = source_.find('{', from); i != std::string::npos; i = source_.find('{', i + 1)) {
      const char next = i + 1 < source_.size() ? source_[i + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return i;
    }
    return std::string::npos;
  }

  void put_text(std::string text) {
    if (!text.empty()) tokens_.push_back({TokenKind::kText, std::move(text), line_});
  }

  // The text between at_ and the tag at `open`, less what the tag strips before it.
  std::string text_before(std::size_t open) const {
    std::string text = source_.substr(at_, open - at_);
    const char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
    if (sign == '-') {
      text.erase(text.find_last_not_of(kSpaces) + 1);
    } else if (sign != '+' && source_[open + 1] != '{') {
      const std::size_t newline = text.rfind('\n');
      const bool from_line_begin = newline != std::string::npos || after_newline_;
      const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
      if (from_line_begin && text.find_first_not_of(kSpaces, begin) == std::string::npos) text.erase(begin);
    }
    return text;
  }

  Status read_tag(std::size_t open) {
    put_text(text_before(open));
    advance_to(open);
    const char kind = source_[open + 1];
    std::size_t inside = open + 2;
    if (inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+')) ++inside;
    if (kind == '#') return read_comment(inside);
    if (kind == '%') {
      const std::size_t raw_end = end_of_word_tag(open, "raw");
      if (raw_end != std::string::npos) return read_raw(raw_end);
    }
    tokens_.push_back({kind == '{' ? TokenKind::kOutputBegin : TokenKind::kBlockBegin, "", line_});
    advance_to(inside);
    return read_inside(kind);
  }

  // What follows a closing bracket pair at `close` goes with it: with a '-' before it all white space, else
  // for blocks and comments (trim_blocks) one newline.
  std::size_t after_close(std::size_t close, char kind) const {
    const char sign = source_[close - 1];
    std::size_t end = close + 2;
    if (sign == '-') return std::min(source_.find_first_not_of(kSpaces, end), source_.size());
    if (kind != '{' && sign != '+' && end < source_.size() && source_[end] == '\n') ++end;
    return end;
  }

  Status read_comment(std::size_t inside) {
    const std::size_t close = source_.find("#}", inside);
    if (close == std::string::npos) return error("the comment is not closed: #} is missing");
    advance_to(after_close(close, '#'));
    return {};
  }

  // If a tag "{% word %}" opens at `open`: where it ends.
  std::size_t end_of_word_tag(std::size_t open, std::string_view word) const {
    std::size_t i = open + 2;
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
    i = std::min(source_.find_first_not_of(kSpaces, i), source_.size());
    if (source_.compare(i, word.size(), word) != 0) return std::string::npos;
    i = std::min(source_.find_first_not_of(kSpaces, i + word.size()), source_.size());
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
    return source_.compare(i, 2, "%}") == 0 ? after_close(i, '%') : std::string::npos;
  }

  Status read_raw(std::size_t inside) {
    if (source_[inside - 1] == '\n' && source_.compare(inside - 3, 2, "%}") == 0)
      --inside;  // trim_blocks skips raw
    advance_to(inside);
    for (std::size_t open = source_.find("{%", at_); open != std::string::npos;
         open = source_.find("{%", open + 2)) {
      const std::size_t end = end_of_word_tag(open, "endraw");
      if (end == std::string::npos) continue;
      put_text(text_before(open));
      advance_to(end);
      return {};
    }
    return error("the raw block is not closed: {% endraw %} is missing");
  }

  // Tokens up to the tag's end. Within brackets "}}" and "%}" close nothing.
  Status read_inside(char kind) {
    const std::string close = kind == '{' ? "}}" : "%}";
    int n_open = 0;
    while (true) {
      advance_to(std::min(source_.find_first_not_of(kSpaces, at_), source_.size()));
      if (at_ == source_.size()) return error(fmt::format("the tag is not closed: {} is missing", close));
      const bool signed_close = looking_at("-" + close) || (kind == '%' && looking_at("+" + close));
      if (n_open == 0 && (signed_close || looking_at(close))) {
        tokens_.push_back({kind == '{' ? TokenKind::kOutputEnd : TokenKind::kBlockEnd, "", line_});
        advance_to(after_close(at_ + (signed_close ? 1 : 0), kind));
        return {};
      }
      RETURN_IF_ERROR(read_token());
      const std::string& text = tokens_.back().text;
      if (tokens_.back().kind != TokenKind::kOperator) continue;
      if (text == "(" || text == "[" || text == "{") ++n_open;
      if (text == ")" || text == "]" || text == "}") n_open = std::max(0, n_open - 1);
    }
  }

  void put(TokenKind kind, std::size_t end) {
    tokens_.push_back({kind, source_.substr(at_, end - at_), line_});
    advance_to(end);
  }

  template <typename Predicate>
  std::size_t end_of_run(std::size_t from, Predicate belongs) const {
    while (from < source_.size() && belongs(source_[from])) ++from;
    return from;
  }

  Status read_token() {
    const char c = source_[at_];
    if (c == '"' || c == '\'') return read_string(c);
    if (is_digit(c)) return read_number();
    if (is_name_begin(c)) return put(TokenKind::kName, end_of_run(at_, is_name_part)), Status();
    for (const std::string_view op : kLongOperators) {
      if (looking_at(op)) return put(TokenKind::kOperator, at_ + 2), Status();
    }
    if (kOperators.find(c) == std::string_view::npos)
      return error(fmt::format("unexpected character '{}'", c));
    put(TokenKind::kOperator, at_ + 1);
    return {};
  }

  Status read_number() {
    const auto digits = [](char c) { return is_digit(c) || c == '_'; };
    std::size_t end = end_of_run(at_, digits);
    bool is_float = false;
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      is_float = true;
      end = end_of_run(end + 1, digits);
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      std::size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (exponent < source_.size() && is_digit(source_[exponent])) {
        is_float = true;
        end = end_of_run(exponent, digits);
      }
    }
    put(is_float ? TokenKind::kFloat : TokenKind::kInteger, end);
    std::erase(tokens_.back().text, '_');
    return {};
  }

  Status read_string(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return error(fmt::format("the string is not closed: {} is missing", quote));
    const std::string_view inner = std::string_view(source_).substr(at_ + 1, end - at_ - 1);
    auto text = unescape(inner);
    if (!text) return error(text.error().message());
    tokens_.push_back({TokenKind::kString, *std::move(text), line_});
    advance_to(end + 1);
    return {};
  }

  const std::string source_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool after_newline_ = true;  // what comes at at_ begins a line
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) { return Lexer(normalize_lines(source)).run(); }

}  // namespace concertina::jinja
