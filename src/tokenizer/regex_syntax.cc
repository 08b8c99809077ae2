#include "tokenizer/regex_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "tokenizer/error.h"

namespace concertina::tokenizer {

namespace {

// As the inside of a class.
constexpr std::string_view kSpace = "\\p{White_Space}", kNoSpace = "\\P{White_Space}";
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
// Outside of a class Oniguruma asks a table of Latin-1 first, which has superscripts and fractions too.
constexpr std::string_view kMoreWord = "\u00B2\u00B3\u00B9\u00BC-\u00BE";

struct PosixClass {
  std::string_view name, inside, negated;  // empty: there is no way to say so within a class
};
constexpr PosixClass kPosixClasses[] = {{"space", kSpace, kNoSpace},
                                        {"alpha", "\\p{Alphabetic}", "\\P{Alphabetic}"},
                                        {"alnum", "\\p{Alphabetic}\\p{Nd}", ""},
                                        {"word", kWord, ""},
                                        {"digit", "\\p{Nd}", "\\P{Nd}"},
                                        {"lower", "\\p{Lowercase}", "\\P{Lowercase}"},
                                        {"upper", "\\p{Uppercase}", "\\P{Uppercase}"},
                                        {"blank", "\\t\\p{Zs}", ""},
                                        {"cntrl", "\\p{Cc}", "\\P{Cc}"},
                                        {"xdigit", "0-9A-Fa-f", ""}};

// General categories, which are no scripts.
bool is_category(std::string_view name) {
  if (name == "L&" || name == "Any") return true;
  return (name.size() == 1 || name.size() == 2) && std::string_view("CLMNPSZ").find(name[0]) != name.npos;
}

// Other names of Oniguruma's for what PCRE2 has.
std::string_view pcre2_name(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {{"Letter", "L"},
                                                                      {"Mark", "M"},
                                                                      {"Number", "N"},
                                                                      {"Punctuation", "P"},
                                                                      {"Symbol", "S"},
                                                                      {"Separator", "Z"},
                                                                      {"Other", "C"},
                                                                      {"Decimal_Number", "Nd"},
                                                                      {"Digit", "Nd"},
                                                                      {"Alpha", "Alphabetic"},
                                                                      {"Lower", "Lowercase"},
                                                                      {"Upper", "Uppercase"},
                                                                      {"Space", "White_Space"},
                                                                      {"Uppercase_Letter", "Lu"},
                                                                      {"Lowercase_Letter", "Ll"}};
  const auto* found = std::ranges::find(kNames, name, &std::pair<std::string_view, std::string_view>::first);
  return found == std::end(kNames) ? name : found->second;
}

class Translator {
 public:
  explicit Translator(std::string_view expression) : in_(expression) {}

  Result<std::string> translate() {
    while (at_ < in_.size()) {
      if (in_[at_] == '\\') {
        RETURN_IF_ERROR(escape());
      } else if (in_class_) {
        RETURN_IF_ERROR(in_class());
      } else {
        RETURN_IF_ERROR(outside());
      }
    }
    return std::move(out_);
  }

 private:
  std::string_view rest() const { return in_.substr(at_); }
  void copy(std::size_t n) {
    out_ += in_.substr(at_, n);
    at_ += n;
  }
  void put(std::string_view text, std::size_t n_read) {
    out_ += text;
    at_ += n_read;
  }
  void begin_atom() {
    if (!in_class_) atom_begin_ = out_.size();
  }
  tl::unexpected<Error> unsupported(std::string_view what) const {
    return fail(
        TokenizerError::kUnsupported,
        fmt::format("{} in the expression {}: read differently by PCRE2 and by Oniguruma", what, in_));
  }

  Status outside() {
    const char c = in_[at_];
    if (c == '[') return open_class();
    if (c == '{') return braces();
    if (c == '(') {
      groups_.push_back(out_.size());
    } else if (c == ')' && !groups_.empty()) {
      atom_begin_ = groups_.back();
      groups_.pop_back();
    } else if (std::string_view("?*+|)").find(c) == std::string_view::npos) {
      begin_atom();
    }
    copy(c == '(' && rest().starts_with("(?") ? group_head_length() : next_utf8(rest()).length);
    return {};
  }

  // "(?" and what belongs to it, so that its characters are taken for no quantifiers.
  std::size_t group_head_length() const {
    const std::size_t end = rest().find_first_of(":=!>)", 2);
    return end == std::string_view::npos || rest()[end] == ')' ? 2 : end + 1;
  }

  Status open_class() {
    begin_atom();
    in_class_ = true;
    copy(1);
    if (rest().starts_with("^")) copy(1);
    if (rest().starts_with("]")) copy(1);  // a ] right after the opening stands for itself
    return {};
  }

  Status in_class() {
    if (rest().starts_with("[:")) return posix_class();
    if (rest().starts_with("[")) return unsupported("a bracket within a character class");
    if (rest().starts_with("&&")) return unsupported("&& within a character class");
    if (rest().starts_with("]")) in_class_ = false;
    copy(next_utf8(rest()).length);
    return {};
  }

  Status posix_class() {
    const std::size_t end = rest().find(":]");
    if (end == std::string_view::npos) return unsupported("an unclosed [: in a character class");
    std::string_view name = rest().substr(2, end - 2);
    const bool negated = name.starts_with("^");
    if (negated) name.remove_prefix(1);
    const auto* found = std::ranges::find(kPosixClasses, name, &PosixClass::name);
    const std::string_view inside =
        found == std::end(kPosixClasses) ? "" : (negated ? found->negated : found->inside);
    if (inside.empty()) return unsupported(rest().substr(0, end + 2));
    put(inside, end + 2);
    return {};
  }

  // {n,m}, {n}, {n,} or {,n}; anything else stands for itself in both.
  Status braces() {
    const std::size_t end = rest().find('}');
    const std::string_view inside = end == std::string_view::npos ? "" : rest().substr(1, end - 1);
    const bool counts = !inside.empty() && inside != "," &&
                        inside.find_first_not_of("0123456789,") == std::string_view::npos &&
                        std::ranges::count(inside, ',') <= 1;
    if (!counts) {
      begin_atom();
      copy(1);
      return {};
    }
    out_ += inside.starts_with(",") ? fmt::format("{{0{}}}", inside) : fmt::format("{{{}}}", inside);
    at_ += end + 1;
    if (rest().starts_with("+")) {  // a group once or more, not possessive
      out_.insert(atom_begin_, "(?:");
      put(")+", 1);
    } else if (rest().starts_with("?") && inside.find(',') == std::string_view::npos) {
      return unsupported("{n}?");
    }
    return {};
  }

  Status escape() {
    begin_atom();
    if (at_ + 1 == in_.size()) return copy(1), Status{};
    const char c = in_[at_ + 1];
    const auto put_class = [&](std::string_view inside) {
      put(in_class_ ? std::string(inside) : fmt::format("[{}]", inside), 2);
      return Status{};
    };
    const std::string word = fmt::format("{}{}", kWord, kMoreWord);
    switch (c) {
      case 's':
        return put_class(kSpace);
      case 'S':
        return put_class(kNoSpace);
      case 'w':
        return put_class(in_class_ ? kWord : word);
      case 'W':
        if (in_class_) return unsupported("\\W within a character class");
        put(fmt::format("[^{}]", word), 2);
        return {};
      case 'b':
      case 'B':
        return word_border(c, word);
      case 'v':
        put("\\x0B", 2);
        return {};
      case 'u':
        return four_digits();
      case 'p':
      case 'P':
        return property();
      case 'h':
      case 'H':
        return unsupported(in_.substr(at_, 2));
      default:
        copy(1 + next_utf8(in_.substr(at_ + 1)).length);
        return {};
    }
  }

  Status word_border(char c, std::string_view word) {
    if (in_class_) return copy(2), Status{};  // a backspace
    const std::string_view format = c == 'b' ? "(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))"
                                             : "(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))";
    put(fmt::format(fmt::runtime(format), word), 2);
    return {};
  }

  Status four_digits() {
    const std::string_view digits = in_.substr(at_ + 2, 4);
    if (digits.size() != 4 ||
        !std::ranges::all_of(digits, [](unsigned char d) { return std::isxdigit(d); })) {
      return unsupported("\\u without four hexadecimal digits");
    }
    put(fmt::format("\\x{{{}}}", digits), 6);
    return {};
  }

  // \p{Han}: the script, without its extensions. What PCRE2 calls otherwise (long names) does not compile.
  Status property() {
    const std::size_t end = rest().find('}');
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{' || end == std::string_view::npos) {
      return unsupported("\\p without braces");
    }
    std::string_view name = rest().substr(3, end - 3);
    const bool negated = name.starts_with("^");
    if (negated) name.remove_prefix(1);
    name = pcre2_name(name);
    const bool is_script = !is_category(name) && name.find_first_of(":=") == std::string_view::npos &&
                           std::ranges::find(kBinaryProperties, name) == kBinaryProperties.end();
    put(fmt::format("{}{{{}{}{}}}", rest().substr(0, 2), negated ? "^" : "", is_script ? "sc:" : "", name),
        end + 1);
    return {};
  }

  static constexpr std::array<std::string_view, 9> kBinaryProperties = {
      "Alphabetic", "White_Space",           "Lowercase", "Uppercase", "Emoji", "Ideographic",
      "ASCII",      "Extended_Pictographic", "Math"};

  std::string_view in_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::size_t atom_begin_ = 0;       // in out_: of what a quantifier here is about
  std::vector<std::size_t> groups_;  // in out_: the open ones
};

}  // namespace

Result<std::string> expression_for_pcre2(std::string_view expression) {
  return Translator(expression).translate();
}

}  // namespace concertina::tokenizer
