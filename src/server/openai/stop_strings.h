#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace concertina::server::openai {

// Finds stop strings in a text that comes in pieces. No part of a stop string is ever let through: what might
// be the beginning of one is held back until it is clear.
class StopStrings {
 public:
  explicit StopStrings(const std::vector<std::string>* strings) : strings_(strings) {}  // not owned

  struct Step {
    std::string text;  // to emit now
    enum class Hit { kNo, kYes } hit = Hit::kNo;
  };
  Step push(std::string_view text);
  std::string flush();  // the stream ended otherwise: what was held back

 private:
  const std::vector<std::string>* strings_;
  std::string held_;
};

}  // namespace concertina::server::openai
