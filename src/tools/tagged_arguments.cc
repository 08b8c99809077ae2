#include "tools/tagged_arguments.h"

#include <fmt/format.h>

#include <array>

#include "tools/json_cursor.h"
#include "tools/mark_search.h"

namespace concertina::tools {

namespace {
constexpr std::size_t kMaxKey = 1024;
using Is = TaggedArguments::Step::Is;
}  // namespace

TaggedArguments::Step TaggedArguments::take(std::string_view text, End end, Events& events) {
  if (at_ == At::kKey) return take_key(text, end, events);
  if (at_ == At::kValueBegin) return take_value_begin(text, end, events);
  return at_ == At::kText ? take_text(text, end, events) : take_whole(text, end, events);
}

void TaggedArguments::emit(std::string text, std::size_t n_source_bytes, Events& events) const {
  if (text.empty() && n_source_bytes == 0) return;
  events.push_back({Event::Kind::kArguments, std::move(text), n_source_bytes, call_, {}});
}

// What is none of the next argument ends them all.
TaggedArguments::Step TaggedArguments::take_key(std::string_view text, End end, Events& events) {
  const auto over = [&]() -> Step {
    emit(n_keys_ == 0 ? "{}" : "}", 0, events);
    return {0, Is::kOver};
  };
  const std::string_view window = text.substr(0, kMaxKey);
  const bool is_all = end == End::kEnd || window.size() == kMaxKey;
  const auto unclear = [&]() -> Step { return is_all ? over() : Step{}; };
  std::size_t at = skip_space(window, 0);
  const Begins begins = begins_with(window.substr(at), marks_.key_begin);
  if (begins == Begins::kUnclear) return unclear();
  if (begins == Begins::kNo) return over();
  at += marks_.key_begin.size();
  const std::size_t key_end = window.find(marks_.key_end, at);
  if (key_end == window.npos) return unclear();
  const std::string_view key = trimmed(window.substr(at, key_end - at));
  at = key_end + marks_.key_end.size();
  if (!marks_.value_begin.empty()) {
    at = skip_space(window, at);
    const Begins value = begins_with(window.substr(at), marks_.value_begin);
    if (value == Begins::kUnclear) return unclear();
    if (value == Begins::kNo) return over();
    at += marks_.value_begin.size();
  }
  return begin_value(key, at, events);
}

TaggedArguments::Step TaggedArguments::begin_value(std::string_view key, std::size_t n_bytes,
                                                   Events& events) {
  type_ = types_.type_of(tool_, std::string(key));
  emit(fmt::format("{}\"{}\": {}", n_keys_ == 0 ? "{" : ", ", escaped(key),
                   type_ == ValueType::kText ? "\"" : ""),
       n_bytes, events);
  ++n_keys_;
  at_ = At::kValueBegin;
  return {n_bytes, Is::kGoOn};
}

TaggedArguments::Step TaggedArguments::take_value_begin(std::string_view text, End end, Events& events) {
  const bool on_lines = marks_.on_lines == TagMarks::OnLines::kYes;
  if (on_lines && text.empty() && end == End::kNotYet) return {};
  at_ = type_ == ValueType::kText ? At::kText : At::kWhole;
  const std::size_t n_line = on_lines && text.starts_with('\n') ? 1 : 0;
  emit({}, n_line, events);
  return {n_line, Is::kGoOn};
}

TaggedArguments::Step TaggedArguments::take_text(std::string_view text, End end, Events& events) {
  const MarkFound found = find_mark(text, std::span(&marks_.value_end, 1));
  if (found.mark.empty() && end == End::kEnd) {
    emit(escaped(text), text.size(), events);
    return {text.size(), Is::kUnclear};
  }
  std::size_t n_text = found.at;
  if (marks_.on_lines == TagMarks::OnLines::kYes && text.substr(0, n_text).ends_with('\n')) --n_text;
  if (found.mark.empty()) {
    emit(escaped(text.substr(0, n_text)), n_text, events);
    return {n_text, Is::kUnclear};
  }
  const std::size_t n_bytes = found.at + found.mark.size();
  emit(escaped(text.substr(0, n_text)) + "\"", n_bytes, events);
  at_ = At::kKey;
  return {n_bytes, Is::kGoOn};
}

TaggedArguments::Step TaggedArguments::take_whole(std::string_view text, End end, Events& events) {
  const std::size_t at = text.find(marks_.value_end);
  if (at == text.npos && end == End::kNotYet) return {};
  if (at == text.npos) {
    emit(std::string(text), text.size(), events);
    return {text.size(), Is::kUnclear};
  }
  std::string_view value = text.substr(0, at);
  if (marks_.on_lines == TagMarks::OnLines::kYes && value.ends_with('\n')) value.remove_suffix(1);
  const std::size_t n_bytes = at + marks_.value_end.size();
  emit(as_json(value), n_bytes, events);
  at_ = At::kKey;
  return {n_bytes, Is::kGoOn};
}

// Some models write Python's words.
std::string TaggedArguments::as_json(std::string_view value) const {
  const std::string_view plain = trimmed(value);
  if (type_ == ValueType::kTextOrNull) return plain == "null" ? "null" : "\"" + escaped(value) + "\"";
  constexpr std::array<std::pair<std::string_view, const char*>, 3> kPython = {
      {{"True", "true"}, {"False", "false"}, {"None", "null"}}};
  for (const auto& [python, json] : kPython) {
    if (plain == python) return json;
  }
  return is_json(plain) ? std::string(plain) : "\"" + escaped(value) + "\"";
}

}  // namespace concertina::tools
