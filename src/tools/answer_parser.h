#pragma once

#include <string_view>

#include "tools/event.h"

namespace concertina::tools {

// Takes an answer apart as its text comes. Where the text is cut makes no difference to the events, but for
// how pieces of one kind are divided. What is not a call in its format is content, as it is. One answer, one
// thread.
class AnswerParser {
 public:
  virtual ~AnswerParser() = default;
  virtual void push(std::string_view text, Events& events) = 0;  // adds to `events`
  virtual void finish(Events& events) = 0;                       // once, at the answer's end
  virtual bool is_reasoning() const { return false; }            // at the end of what was pushed
};

}  // namespace concertina::tools
