#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace concertina::tools {

// Marks around a name and the arguments' JSON. Empty: the format has none.
struct NamedMarks {
  std::string_view section_begin;  // before the first call
  std::string_view call_begin;
  std::vector<std::string_view> name_end;
  // kYes: the name is "functions.NAME:INDEX", which is the call's id, too (Kimi).
  enum class IdInName : std::uint8_t { kNo, kYes } id_in_name = IdInName::kNo;
};

// Marks around a name, and around the key and the value of each argument.
struct TagMarks {
  std::string_view name_begin;             // after the call's begin
  std::vector<std::string_view> name_end;  // the first is the name's own; others belong to what follows
  std::string_view key_begin, key_end, value_begin, value_end;
  // kYes: a line end at a value's beginning and at its end belongs to the marks.
  enum class OnLines : std::uint8_t { kNo, kYes } on_lines = OnLines::kNo;
};

// How a family of models writes calls of tools into its answer. Rows of one table (call_format.cc), each from
// the family's published chat template.
struct CallFormat {
  std::string_view name;                      // as vLLM's --tool-call-parser calls it
  std::vector<std::string_view> begin_marks;  // none begins another
  // kYes: an object of a declared tool's name needs no mark at an answer's beginning or after a call.
  enum class Bare : std::uint8_t { kNo, kYes } bare = Bare::kNo;
  enum class Style : std::uint8_t {
    kObject,   // {"name": ..., "arguments" or "parameters": ...}
    kMistral,  // a list of such objects, or a name and the arguments
    kNamed,
    kTags,
  } style = Style::kObject;
  NamedMarks named = {};
  TagMarks tags = {};
  std::vector<std::string_view> closing = {};  // after a call, in this order, each may be missing
};

std::span<const CallFormat> call_formats();
const CallFormat* find_call_format(std::string_view name);  // null: none is called so

// All that a format may have in an answer and that a tokenizer may have as a special token, which is shown to
// the parser only.
std::vector<std::string_view> marks_of(const CallFormat& format);

}  // namespace concertina::tools
