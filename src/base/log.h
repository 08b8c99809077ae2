#pragma once

#include <spdlog/spdlog.h>

#include <cstdint>
#include <string>

#include "base/time.h"

namespace concertina {

// Sends the process's log to stderr with `name` on every line ("front", "rank 3"). Called once, by cli. A
// reader of stderr who stops reading holds up nobody (OutputQueue). What a message has from outside is
// escaped: one message is one line.
void init_log(const std::string& name, spdlog::level::level_enum level);

// Waits until what was logged is written, at most `timeout`: for the end of a process.
void flush_log(Duration timeout);
std::uint64_t n_dropped_log_lines();  // of this process, since init_log

}  // namespace concertina
