#pragma once

namespace concertina::cli {

enum class CliError { kBadFlag };

}  // namespace concertina::cli
