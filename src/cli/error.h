#pragma once

namespace concertina::cli {

enum class CliError { kBadFlag, kBadState, kNoMemory };

}  // namespace concertina::cli
