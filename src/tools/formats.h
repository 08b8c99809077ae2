#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tools/answer_parser.h"
#include "tools/call_format.h"
#include "tools/error.h"
#include "tools/reasoning_format.h"
#include "tools/tool_types.h"

namespace concertina::tools {

// How a model writes its answers.
struct Formats {
  const CallFormat* calls = nullptr;                                       // null: no calls
  const ReasoningFormat* reasoning = nullptr;                              // null: none is split off
  enum class Harmony : std::uint8_t { kNo, kYes } harmony = Harmony::kNo;  // instead of both

  bool have_calls() const { return calls != nullptr || harmony == Harmony::kYes; }
  bool have_reasoning() const { return reasoning != nullptr || harmony == Harmony::kYes; }
};

// As a chat template shows them: the marks that it writes for answers of before.
Formats formats_of_template(std::string_view source);

// `tools` and `reasoning` are names as vLLM's flags --tool-call-parser and --reasoning-parser take them,
// "auto" what `of_template` has, "none" none. kUnknownParser: the message lists the names.
Result<Formats> choose_formats(const std::string& tools, const std::string& reasoning,
                               const Formats& of_template);

enum class ParseCalls : std::uint8_t { kNo, kYes };
enum class SplitReasoning : std::uint8_t { kNo, kYes };

// For one answer. `types`: the request's tools. Without calls their marks are content.
std::unique_ptr<AnswerParser> make_parser(const Formats& formats, ParseCalls calls, SplitReasoning reasoning,
                                          Opened opened, std::shared_ptr<const ToolTypes> types);

// Those that may be special tokens, which a parser must see.
std::vector<std::string_view> marks_of(const Formats& formats);

}  // namespace concertina::tools
