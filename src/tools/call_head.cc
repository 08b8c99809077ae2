#include "tools/call_head.h"

#include <algorithm>
#include <array>

#include "tools/json_cursor.h"
#include "tools/mark_search.h"

namespace concertina::tools {

namespace {

using Is = CallHead::Is;

constexpr std::size_t kMaxName = 256;
constexpr std::string_view kArgs = "[ARGS]", kCallId = "[CALL_ID]";

CallHead unclear() { return {.is = Is::kUnclear}; }
CallHead none() { return {}; }
CallHead as_head(Read read) { return read == Read::kUnclear ? unclear() : none(); }

// Arguments that came as another value than an object. Some models quote the object; some write null.
std::string whole_arguments(std::string_view raw) {
  if (raw == "null") return "{}";
  if (!raw.starts_with('"')) return std::string(raw);
  auto text = unquoted(raw);
  return text && text->starts_with('{') && is_json(*text) ? *std::move(text) : std::string(raw);
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && name.find_first_of("\n<{\"") == name.npos;
}

// {"name": ..., "arguments": ...}: members in any order; arguments of a known name need not be read through.
class ObjectHead {
 public:
  ObjectHead(std::string_view text, std::size_t at, Keys keys)
      : text_(text), cursor_(text, at), keys_(keys) {}

  CallHead read() {
    if (const Read open = cursor_.byte('{'); open != Read::kOk) return as_head(open);
    while (true) {
      const Read read = read_member();
      if (arguments_follow_) return head(std::nullopt);
      if (read != Read::kOk) return as_head(read);
      char separator = 0;
      if (const Read next = cursor_.one_of(",}", separator); next != Read::kOk) return as_head(next);
      if (separator == '}') return head(std::string(arguments_.value_or("{}")));
    }
  }

 private:
  Read read_member() {
    std::string_view quoted, value;
    if (const Read key = cursor_.string(quoted); key != Read::kOk) return key;
    if (const Read colon = cursor_.byte(':'); colon != Read::kOk) return colon;
    const std::string key = unquoted(quoted).value_or("");
    if (keys_ == Keys::kKnown && std::ranges::find(kKnown, key) == kKnown.end()) return Read::kWrong;
    const bool is_arguments = key == "arguments" || key == "parameters";
    if (is_arguments) {
      cursor_.skip_space();
      if (cursor_.rest().empty()) return Read::kUnclear;
      if (!name_.empty() && (cursor_.rest()[0] == '{' || cursor_.rest()[0] == '[')) {
        arguments_follow_ = true;
        return Read::kOk;
      }
    }
    if (const Read read = cursor_.value(value); read != Read::kOk) return read;
    if (is_arguments) arguments_ = whole_arguments(value);
    if (key == "id") id_ = unquoted(value).value_or("");
    if (key != "name") return Read::kOk;
    name_ = unquoted(value).value_or("");
    return is_name(name_) ? Read::kOk : Read::kWrong;
  }

  CallHead head(std::optional<std::string> arguments) {
    if (name_.empty()) return none();
    const auto open = arguments ? Around::Object::kNo : Around::Object::kYes;
    return {Is::kCall, name_, id_, cursor_.at(), std::move(arguments), {.object = open}};
  }

  static constexpr std::array<std::string_view, 6> kKnown = {"name", "arguments", "parameters",
                                                             "id",   "type",      "index"};
  std::string_view text_;
  JsonCursor cursor_;
  const Keys keys_;
  std::string name_, id_;
  std::optional<std::string> arguments_;
  bool arguments_follow_ = false;
};

CallHead in_list(CallHead head) {
  head.around.list = Around::List::kYes;
  return head;
}

// The arguments that follow a head must begin with a brace.
CallHead before_object(std::string_view text, std::size_t at, std::string name, std::string id) {
  at = skip_space(text, at);
  if (at == text.size()) return unclear();
  if (text[at] != '{' || !is_name(name)) return none();
  return {Is::kCall, std::move(name), std::move(id), at, std::nullopt, {}};
}

// The text up to one of `ends`, and where that begins.
struct UpTo {
  Read read = Read::kUnclear;
  std::string_view text;
  std::size_t at = 0;
  std::string_view end;
};

UpTo up_to(std::string_view text, std::size_t at, std::span<const std::string_view> ends) {
  const MarkFound found = find_mark(text.substr(at), ends);
  if (found.at > kMaxName) return {Read::kWrong, {}, 0, {}};
  if (found.mark.empty()) return {};
  return {Read::kOk, trimmed(text.substr(at, found.at)), at + found.at, found.mark};
}

// [TOOL_CALLS] [{...}, {...}] of the older models; [TOOL_CALLS]name{...}, [TOOL_CALLS]name[ARGS]{...} or
// [TOOL_CALLS]name[CALL_ID]id[ARGS]{...} of the newer ones.
CallHead mistral_head(std::string_view text, std::size_t at) {
  at = skip_space(text, at);
  if (at == text.size()) return unclear();
  if (text[at] == '[') return in_list(ObjectHead(text, at + 1, Keys::kAny).read());
  if (text[at] == '{') return ObjectHead(text, at, Keys::kAny).read();
  constexpr std::array<std::string_view, 3> kNameEnds = {kArgs, kCallId, "{"};
  const UpTo name = up_to(text, at, kNameEnds);
  if (name.read != Read::kOk) return as_head(name.read);
  std::string id;
  at = name.at;
  if (name.end == kCallId) {
    const UpTo id_text = up_to(text, at + kCallId.size(), std::span(kNameEnds).first(1));
    if (id_text.read != Read::kOk) return as_head(id_text.read);
    id = id_text.text;
    at = id_text.at;
  }
  if (name.end != "{") at += kArgs.size();
  return before_object(text, at, std::string(name.text), std::move(id));
}

CallHead named_head(const NamedMarks& marks, std::string_view text) {
  std::size_t at = 0;
  if (text.starts_with(marks.section_begin)) at = skip_space(text, marks.section_begin.size());
  const Begins begins = begins_with(text.substr(at), marks.call_begin);
  if (begins != Begins::kYes) return begins == Begins::kUnclear ? unclear() : none();
  const UpTo name = up_to(text, at + marks.call_begin.size(), marks.name_end);
  if (name.read != Read::kOk) return as_head(name.read);
  std::string_view plain = name.text;
  std::string id;
  if (marks.id_in_name == NamedMarks::IdInName::kYes) {
    id = plain;
    plain = plain.substr(0, plain.rfind(':'));
    constexpr std::string_view kPrefix = "functions.";
    if (plain.starts_with(kPrefix)) plain.remove_prefix(kPrefix.size());
  }
  return before_object(text, name.at + name.end.size(), std::string(plain), std::move(id));
}

CallHead tags_head(const CallFormat& format, std::string_view text) {
  const TagMarks& tags = format.tags;
  std::size_t at = 0;
  if (text.starts_with(format.begin_marks[0])) at = skip_space(text, format.begin_marks[0].size());
  const Begins begins = begins_with(text.substr(at), tags.name_begin);
  if (begins != Begins::kYes) return begins == Begins::kUnclear ? unclear() : none();
  const UpTo name = up_to(text, at + tags.name_begin.size(), tags.name_end);
  if (name.read != Read::kOk) return as_head(name.read);
  if (!is_name(name.text)) return none();
  const std::size_t n_own = name.end == tags.name_end[0] ? name.end.size() : 0;
  return {Is::kCall, std::string(name.text), {}, name.at + n_own, std::nullopt, {}};
}

// The rest of the object around arguments that have been read.
Read read_object_rest(JsonCursor& cursor) {
  while (true) {
    char separator = 0;
    std::string_view unused;
    if (const Read next = cursor.one_of(",}", separator); next != Read::kOk) return next;
    if (separator == '}') return Read::kOk;
    if (const Read key = cursor.string(unused); key != Read::kOk) return key;
    if (const Read colon = cursor.byte(':'); colon != Read::kOk) return colon;
    if (const Read value = cursor.value(unused); value != Read::kOk) return value;
  }
}

}  // namespace

CallHead read_head(const CallFormat& format, std::string_view text, Place place) {
  using Style = CallFormat::Style;
  if (place == Place::kInList) return in_list(ObjectHead(text, 0, Keys::kAny).read());
  if (format.style == Style::kNamed) return named_head(format.named, text);
  if (format.style == Style::kTags) return tags_head(format, text);
  const bool is_bare = text.starts_with('{');
  const std::size_t at = is_bare ? 0 : format.begin_marks[0].size();
  if (format.style == Style::kMistral) return mistral_head(text, at);
  return ObjectHead(text, at, is_bare ? Keys::kKnown : Keys::kAny).read();
}

CallTail read_tail(const CallFormat& format, std::string_view text, Around around) {
  using TailIs = CallTail::Is;
  JsonCursor cursor(text);
  if (around.object == Around::Object::kYes) {
    const Read read = read_object_rest(cursor);
    if (read != Read::kOk) return {read == Read::kUnclear ? TailIs::kUnclear : TailIs::kOver};
  }
  std::size_t at = cursor.at();
  if (around.list == Around::List::kYes) {
    char separator = 0;
    const Read read = cursor.one_of(",]", separator);
    if (read == Read::kUnclear) return {TailIs::kUnclear};
    if (read == Read::kOk) at = cursor.at();
    if (separator == ',') return {TailIs::kOver, at, CallTail::Next::kCallInList};
  }
  for (const std::string_view mark : format.closing) {
    const std::size_t begin = skip_space(text, at);
    const Begins begins = begins_with(text.substr(begin), mark);
    if (begins == Begins::kUnclear) return {TailIs::kUnclear};
    if (begins == Begins::kYes) at = begin + mark.size();
  }
  return {TailIs::kOver, at};
}

}  // namespace concertina::tools
