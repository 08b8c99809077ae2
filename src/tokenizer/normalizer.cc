#include "tokenizer/normalizer.h"

#include "base/utf8.h"
#include "tokenizer/unicode.h"

namespace concertina::tokenizer {

namespace {

// Each of these returns what becomes of the text: a part of it, or of `buffer`, which does not hold the text.
struct Apply {
  std::string_view text;
  std::string& buffer;

  std::string_view operator()(NormalForm form) const {
    if (form == NormalForm::kNfc && (is_ascii(text) || is_surely_nfc(text))) return text;
    return buffer = to_normal_form(form, text);
  }
  std::string_view operator()(const PrependStep& step) const {
    if (text.empty()) return text;
    return buffer.assign(step.text).append(text);
  }
  std::string_view operator()(const ReplaceStep& step) const {
    if (text.find(step.pattern) == std::string_view::npos) return text;
    return buffer = replace_all(text, step.pattern, step.content);
  }
  std::string_view operator()(const ReplaceMatchesStep& step) const {
    std::size_t done = 0;
    buffer.clear();
    step.expression.for_each_match(text, [&](TextRange match) {
      buffer.append(text.substr(done, match.begin - done)).append(step.content);
      done = match.end;
    });
    return buffer.append(text.substr(done));
  }
  std::string_view operator()(const StripStep& step) const {
    const std::size_t begin = step.left ? skip_space_right(text, 0) : 0;
    const std::size_t end = step.right ? skip_space_left(text, text.size(), begin) : text.size();
    return text.substr(begin, end - begin);
  }
};

}  // namespace

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  std::size_t done = 0;
  for (std::size_t at; (at = text.find(pattern, done)) != std::string_view::npos;
       done = at + pattern.size()) {
    out.append(text, done, at - done).append(content);
  }
  return out.append(text, done);
}

std::string_view Normalizer::apply(std::string_view text, Buffers& buffers) const {
  std::size_t target = 0;  // the buffer that does not hold `text`
  for (const NormalizerStep& step : steps_) {
    text = std::visit(Apply{text, buffers[target]}, step);
    if (text.data() == buffers[target].data()) target = 1 - target;
  }
  return text;
}

std::string Normalizer::operator()(std::string_view text) const {
  Buffers buffers;
  return std::string(apply(text, buffers));
}

}  // namespace concertina::tokenizer
