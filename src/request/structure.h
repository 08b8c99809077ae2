#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "request/shared.h"

namespace concertina::request {

// What the source of a structure is: vLLM's names of structured_outputs. Sent as its number.
enum class StructureLanguage : std::uint8_t {
  kJsonSchema,  // json
  kRegex,       // regex; the whole text
  kEbnf,        // grammar; GBNF's dialect
  kJsonObject,  // json_object; the source is not read
  kChoice,      // choice; the source is a JSON array of strings
  kFrames,      // our own: text around JSON documents (grammar/frames.h)
};
inline constexpr std::size_t kStructureLanguages = 6;
inline constexpr std::size_t kMaxStructureBytes = 256 * 1024;  // of a source
inline constexpr std::size_t kMaxThoughtEndTokens = 64;

// What an answer must be like. With the request's tokens it says which may come next (src/grammar), wherever
// these are known.
struct Structure {
  StructureLanguage language = StructureLanguage::kJsonSchema;
  std::string source;
  // Tokens that end the model's thought: the structure holds for what follows them, from where they first
  // stand among the generated tokens. Empty: from the first generated token on.
  std::vector<TokenId> begins_after;
  // With begins_after: the thought is begun by the model itself, if at all, with this token as the first of
  // its answer. None: it is in its thought already.
  std::optional<TokenId> thought_begin = {};
  bool operator==(const Structure&) const = default;
};
inline bool says_nothing(const Structure&) { return false; }

using SharedStructure = Shared<Structure>;

}  // namespace concertina::request
