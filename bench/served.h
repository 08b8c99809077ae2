#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina::bench {

// Token ids as prompts, of at most 1024 tokens: what the engine alone has room for by default.
struct ServedOptions {
  std::string binary, model;
  std::size_t n_ranks = 1, n_threads = 1;  // threads of each rank
  std::vector<std::string> flags;          // more of serve
  enum class Tokenizer : std::uint8_t { kSkipped, kLoaded } tokenizer = Tokenizer::kSkipped;
};
std::unique_ptr<harness::ServerProcess> start_server(const ServedOptions& options);

// Tokens per second while all streams run: from the last one's first token to the first one's last. Each
// stream's own rate in that time, added up: counting all tokens in it would lose one step, since the tokens
// of a step come one after the other.
double rate_of(const std::vector<harness::StreamRecord>& records);

// Seconds of processor time that the server, its ranks (those alive; the reaped count with their front) and
// this process have used.
double used_s(const harness::ServerProcess& server);

}  // namespace concertina::bench
