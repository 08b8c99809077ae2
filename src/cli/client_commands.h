#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace concertina::cli {

// The commands that talk to a running server: each adds itself to `app` and, when parsed, puts what it does
// into `run`, which returns the exit code (0, or 1 with the reason on stderr).
void add_scale_command(CLI::App& app, std::function<int()>& run);
void add_status_command(CLI::App& app, std::function<int()>& run);
void add_chat_command(CLI::App& app, std::function<int()>& run);

}  // namespace concertina::cli
