#pragma once

namespace concertina::cli {

enum class CliError { kBadFlag, kBadState };

}  // namespace concertina::cli
