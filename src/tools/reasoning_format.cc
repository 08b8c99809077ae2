#include "tools/reasoning_format.h"

#include <algorithm>
#include <array>

#include "tools/mark_search.h"

namespace concertina::tools {

namespace {
constexpr std::array<ReasoningFormat, 6> kFormats = {{
    {"qwen3", "<think>", "</think>"},
    {"deepseek_r1", "<think>", "</think>"},
    {"deepseek_v3", "<think>", "</think>"},
    {"glm45", "<think>", "</think>"},
    {"mistral", "[THINK]", "[/THINK]"},
    {"kimi_k2", "<think>", "</think>", "<|tool_calls_section_begin|>"},
}};
}  // namespace

std::span<const ReasoningFormat> reasoning_formats() { return kFormats; }

const ReasoningFormat* find_reasoning_format(std::string_view name) {
  const auto* found = std::ranges::find(kFormats, name, &ReasoningFormat::name);
  return found == kFormats.end() ? nullptr : found;
}

// Only at the very end: a user may write marks, too.
Opened opened_by(std::string_view prompt, const ReasoningFormat& format) {
  const std::size_t last = prompt.find_last_not_of(kSpace);
  return prompt.substr(0, last == prompt.npos ? 0 : last + 1).ends_with(format.begin) ? Opened::kYes
                                                                                      : Opened::kNo;
}

}  // namespace concertina::tools
