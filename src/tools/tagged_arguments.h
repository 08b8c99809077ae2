#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tools/call_format.h"
#include "tools/event.h"
#include "tools/tool_types.h"

namespace concertina::tools {

// The arguments of one call that come as tags, as JSON text: a string's value goes out as it comes, another
// one when it is whole.
class TaggedArguments {
 public:
  TaggedArguments(const TagMarks& marks, const ToolTypes& types, std::string tool, std::size_t call)
      : marks_(marks), types_(types), tool_(std::move(tool)), call_(call) {}

  // Takes from the beginning of what was not taken yet. True: the arguments are over.
  struct Step {
    std::size_t n_bytes = 0;
    enum class Is { kUnclear, kGoOn, kOver } is = Is::kUnclear;
  };
  Step take(std::string_view text, End end, Events& events);

 private:
  enum class At { kKey, kValueBegin, kText, kWhole } at_ = At::kKey;

  Step take_key(std::string_view text, End end, Events& events);
  Step take_value_begin(std::string_view text, End end, Events& events);
  Step take_text(std::string_view text, End end, Events& events);
  Step take_whole(std::string_view text, End end, Events& events);
  Step begin_value(std::string_view key, std::size_t n_bytes, Events& events);
  void emit(std::string text, std::size_t n_source_bytes, Events& events) const;
  std::string as_json(std::string_view value) const;

  const TagMarks& marks_;
  const ToolTypes& types_;
  const std::string tool_;
  const std::size_t call_;
  std::size_t n_keys_ = 0;
  ValueType type_ = ValueType::kJson;
};

}  // namespace concertina::tools
