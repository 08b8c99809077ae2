#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace concertina {

// Sends the process's log to stderr with `name` on every line ("front", "rank 3"). Called once, by cli.
void init_log(const std::string& name, spdlog::level::level_enum level);

}  // namespace concertina
