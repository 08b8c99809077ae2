#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/harness/server_process.h"

namespace concertina::bench {

// Token ids as prompts, of at most 1024 tokens: what the engine alone has room for by default.
struct ServedOptions {
  std::string binary, model;
  std::size_t n_ranks = 1, n_threads = 1;  // threads of each rank
  std::vector<std::string> flags;          // more of serve
};
std::unique_ptr<harness::ServerProcess> start_server(const ServedOptions& options);

// Seconds of processor time that the server, its ranks (those alive; the reaped count with their front) and
// this process have used.
double used_s(const harness::ServerProcess& server);

}  // namespace concertina::bench
