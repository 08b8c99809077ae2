#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace concertina::tools {

// Whether more of an answer may come.
enum class End : std::uint8_t { kNotYet, kEnd };

// What a piece of an answer is. The events of an answer, in their order, stand for all of its bytes: nothing
// is lost, nothing comes twice.
struct Event {
  enum class Kind : std::uint8_t {
    kContent,    // text for the reader
    kReasoning,  // text of the model to itself
    kMark,       // the format's own: marks, the white space around them, the object around the arguments
    kCallBegin,  // text: the function's name
    kArguments,  // the next piece of the call's arguments; all of a call, joined, are the JSON text
    kCallEnd,    // the call's text is over; one that the answer's end cut off has none
  };
  Kind kind = Kind::kContent;
  std::string text;
  std::size_t n_source_bytes = 0;  // of the answer. Of content, reasoning and marks: the text's
  std::size_t call = 0;            // of the last three: 0, 1, ...
  std::string call_id;             // kCallBegin: as the model gave it; most formats have none
};
using Events = std::vector<Event>;

}  // namespace concertina::tools
