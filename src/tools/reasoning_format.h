#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace concertina::tools {

// How a family of models marks what it thinks before its answer.
struct ReasoningFormat {
  std::string_view name;  // as vLLM's --reasoning-parser calls it
  std::string_view begin, end;
  std::string_view implicit_end = {};  // ends it, too, and belongs to what follows
};

std::span<const ReasoningFormat> reasoning_formats();
const ReasoningFormat* find_reasoning_format(std::string_view name);  // null: none is called so

// Whether a prompt ends within the model's thoughts: templates may write their begin themselves.
enum class Opened : std::uint8_t { kNo, kYes };
Opened opened_by(std::string_view prompt, const ReasoningFormat& format);

}  // namespace concertina::tools
