#pragma once

namespace concertina::tools {

enum class ToolsError {
  // There is no parser of that name.
  kUnknownParser,
};

}  // namespace concertina::tools
