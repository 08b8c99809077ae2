#include <algorithm>
#include <cctype>

#include "tokenizer/jinja/syntax.h"

namespace concertina::tokenizer::jinja {

namespace {

bool is_name_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_name_part(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

class TagLexer {
 public:
  TagLexer(std::string_view text, std::size_t line) : text_(text), line_(line) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    for (skip_space(); at_ < text_.size(); skip_space()) tokens.push_back(next());
    tokens.push_back({.kind = Token::Kind::kEnd, .text = "end of tag", .value = {}, .line = line_});
    return tokens;
  }

 private:
  void skip_space() {
    for (; at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])); ++at_)
      line_ += text_[at_] == '\n';
  }
  Token next() {
    const char c = text_[at_];
    if (is_name_start(c)) return name();
    if (std::isdigit(static_cast<unsigned char>(c))) return number();
    if (c == '\'' || c == '"') return string();
    for (const char* two : {"==", "!=", "<=", ">=", "//", "**"}) {
      if (text_.substr(at_, 2) == two) return at_ += 2, Token{Token::Kind::kOperator, two, {}, line_};
    }
    if (std::string_view("+-*/%~<>=()[]{}.,:|").find(c) == std::string_view::npos) {
      throw TemplateError{line_, std::string("unexpected character '") + c + "'"};
    }
    return ++at_, Token{Token::Kind::kOperator, std::string(1, c), {}, line_};
  }
  Token name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_name_part(text_[at_])) ++at_;
    return {Token::Kind::kName, std::string(text_.substr(begin, at_ - begin)), {}, line_};
  }
  Token number() {
    const std::size_t begin = at_;
    bool is_float = false;
    while (at_ < text_.size() && (std::isdigit(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_' ||
                                  (text_[at_] == '.' && !is_float && at_ + 1 < text_.size() &&
                                   std::isdigit(static_cast<unsigned char>(text_[at_ + 1]))))) {
      is_float = is_float || text_[at_] == '.';
      ++at_;
    }
    std::string digits(text_.substr(begin, at_ - begin));
    std::erase(digits, '_');
    if (digits.size() > 18) throw TemplateError{line_, "the number " + digits + " is too long"};
    return {Token::Kind::kNumber, digits, is_float ? Value(std::stod(digits)) : Value(std::stoll(digits)),
            line_};
  }
  Token string() {
    const char quote = text_[at_++];
    const std::size_t line = line_;
    std::string out;
    for (; at_ < text_.size() && text_[at_] != quote; ++at_) {
      char c = text_[at_];
      line_ += c == '\n';
      if (c == '\\' && at_ + 1 < text_.size()) {
        c = text_[++at_];
        const std::size_t known = std::string_view("ntr").find(c);
        if (known != std::string_view::npos) {
          c = "\n\t\r"[known];
        } else if (c != '\\' && c != '\'' && c != '"') {
          out.push_back('\\');
        }
      }
      out.push_back(c);
    }
    if (at_ >= text_.size()) throw TemplateError{line, "a string without its end"};
    ++at_;
    return {Token::Kind::kString, out, Value(out), line};
  }

  std::string_view text_;
  std::size_t line_, at_ = 0;
};

// Where the tag that begins at `open` ends (the place of its closing mark); strings inside are skipped.
std::size_t find_close(std::string_view source, std::size_t open, std::string_view close, std::size_t line) {
  char quote = 0;
  for (std::size_t i = open + 2; i + 1 < source.size(); ++i) {
    const char c = source[i];
    if (quote != 0) {
      if (c == '\\')
        ++i;
      else if (c == quote)
        quote = 0;
    } else if (source.substr(i, 2) == close) {
      return i;
    } else if (close != "#}" && (c == '\'' || c == '"')) {
      quote = c;
    }
  }
  throw TemplateError{line, "a tag without its end \"" + std::string(close) + "\""};
}

void strip_right(std::string& text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
}

// lstrip_blocks: blanks between the start of the line and a block go.
void strip_line_start(std::string& text, bool is_start_of_source) {
  const std::size_t end = text.find_last_not_of(" \t");
  if (end == std::string::npos ? is_start_of_source : text[end] == '\n')
    text.erase(end == std::string::npos ? 0 : end + 1);
}

}  // namespace

std::vector<Segment> split_template(std::string_view source) {
  if (!source.empty() && source.back() == '\n') source.remove_suffix(1);  // keep_trailing_newline is off
  std::vector<Segment> segments;
  std::size_t at = 0, line = 1;
  bool trim_next = false, after_block = false;
  while (at <= source.size()) {
    std::size_t open = source.size();
    for (const char* mark : {"{{", "{%", "{#"}) open = std::min(open, source.find(mark, at));
    std::string text(source.substr(at, open - at));
    const std::size_t text_line = line, begin = at;
    line += static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    const std::size_t n_before = text.size();
    if (trim_next) {
      text.erase(0, std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    } else if (after_block && !text.empty() && text[0] == '\n') {
      text.erase(0, 1);
    }
    const bool cut = text.size() != n_before;
    if (open == source.size()) {
      segments.push_back({Segment::Kind::kText, std::move(text), {}, text_line});
      break;
    }
    const char kind = source[open + 1];
    const std::string_view close = kind == '{' ? "}}" : kind == '%' ? "%}" : "#}";
    const std::size_t end = find_close(source, open, close, line);
    std::string_view inside = source.substr(open + 2, end - open - 2);
    const bool keeps_left = !inside.empty() && inside.front() == '+';
    if (!inside.empty() && inside.front() == '-') {
      strip_right(text);
    } else if (kind != '{' && !keeps_left) {
      strip_line_start(text, begin == 0 || (cut && text.find('\n') == std::string::npos && after_block));
    }
    segments.push_back({Segment::Kind::kText, std::move(text), {}, text_line});
    if (!inside.empty() && (inside.front() == '-' || inside.front() == '+')) inside.remove_prefix(1);
    trim_next = !inside.empty() && inside.back() == '-';
    const bool keeps_right = !inside.empty() && inside.back() == '+';
    if (trim_next || keeps_right) inside.remove_suffix(1);
    after_block = kind != '{' && !keeps_right;
    if (kind != '#') {
      segments.push_back({kind == '{' ? Segment::Kind::kOutput : Segment::Kind::kStatement,
                          {},
                          TagLexer(inside, line).run(),
                          line});
    }
    line += static_cast<std::size_t>(std::count(source.begin() + static_cast<std::ptrdiff_t>(open),
                                                source.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at = end + 2;
  }
  return segments;
}

}  // namespace concertina::tokenizer::jinja
