#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace concertina::cli {

// Adds `serve` and `worker`; a parsed command puts what it does into `run`, which returns the exit code.
void add_serve_command(CLI::App& app, std::function<int()>& run);
void add_worker_command(CLI::App& app, std::function<int()>& run);

}  // namespace concertina::cli
