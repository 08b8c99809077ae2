#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/formats.h"

namespace concertina::tools {

// A function that may be called.
struct Callable {
  std::string name;                   // is_callable()
  nlohmann::ordered_json parameters;  // a JSON schema that its arguments are held to
};

// What an answer with calls is like.
struct CallFrames {
  enum class Count : std::uint8_t { kOne, kSome } count = Count::kSome;  // of calls; kSome: one or more
  // kMayCome: text, or text and calls behind it.
  enum class Text : std::uint8_t { kNone, kMayCome } text = Text::kNone;
  // What of a thought is within the frames: kEnded: the white space behind one. Of harmony kMayCome.
  enum class Thought : std::uint8_t { kNone, kMayCome, kUnderWay, kEnded } thought = Thought::kNone;
  // Where text may come: it is a document of this schema, and either it comes or calls.
  std::optional<nlohmann::ordered_json> document = {};
};

// The source of frames (grammar/frames.h; schemas[i]: of functions[i]) for answers that `formats`' parser
// takes for calls of these functions. `formats` has calls.
nlohmann::ordered_json call_frames(const Formats& formats, const std::vector<Callable>& functions,
                                   const CallFrames& wanted);

// A name that each format can write: letters, digits, _ - and . (OpenAI has fewer).
bool is_callable(std::string_view name);

// What arguments of this schema cannot be held to in a format that writes them as tags: a keyword with its
// reason. Nothing: they are held to all of it.
std::optional<std::string> unheld_by(const Formats& formats, const nlohmann::ordered_json& parameters);

}  // namespace concertina::tools
