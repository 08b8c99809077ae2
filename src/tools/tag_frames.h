#pragma once

#include "tools/call_frames.h"

namespace concertina::tools {

// Frames of arguments that are written as tags, each with its value: those of `properties` in their order.
class TagFrames {
 public:
  using Json = nlohmann::ordered_json;
  // `schemas`: of the frames' source, to which schemas of values are added. All outlive it.
  TagFrames(const TagMarks& marks, const std::vector<Callable>& functions, Json& schemas);

  Json arguments(const Callable& function);

 private:
  Json argument(const Callable& function, const std::string& key, const Json* schema);
  Json value(const Callable& function, const std::string& key, const Json* schema);
  Json text(const Json& schema) const;
  Json document(const Callable& function, const Json& schema);
  Json end(const char* before) const;

  const TagMarks& marks_;
  const ToolTypes types_;
  Json& schemas_;
};

// A text as a frame, in which each mark may be a token of its own.
nlohmann::ordered_json marked_frame(std::string_view text);

}  // namespace concertina::tools
