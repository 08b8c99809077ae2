#pragma once

#include <nlohmann/json.hpp>

#include "tools/parsed_answer.h"

// For tests: an answer in a format, and what it must be taken for.
namespace concertina::tools {

inline const std::shared_ptr<const ToolTypes>& weather_tools() {
  static const auto types = std::make_shared<const ToolTypes>(nlohmann::ordered_json::parse(R"([
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
      "city": {"type": "string"}, "days": {"type": "integer"}, "note": {"type": ["string", "null"]},
      "unit": {"enum": ["C", "F"]}, "place": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}}}},
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}])"));
  return types;
}

struct Written {
  const char* calls;      // the format's name
  const char* reasoning;  // likewise
  Opened opened;
  std::string answer, means;
};

inline std::unique_ptr<AnswerParser> parser_of(const Written& written) {
  const Formats formats = choose_formats(written.calls, written.reasoning, {}).value();
  return make_parser(formats, ParseCalls::kYes, SplitReasoning::kYes, written.opened, weather_tools());
}

inline std::string whole(const Written& written) {
  const Events events = parsed(*parser_of(written), {written.answer});
  check_source(events, written.answer);
  return shown(events);
}

}  // namespace concertina::tools
