#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/generation.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina::bench {

// Streams of a given context on a server that has room for them: what a change of members costs whom.
struct LongStreams {
  std::string binary, model;
  std::size_t n_streams = 12, n_tokens = 700;
  std::size_t context = 0;         // tokens of each prompt; 0: short ones of different lengths
  std::string kv_cache_memory;     // empty: the server's default
  std::vector<std::string> flags;  // more of serve

  void add_to(CLI::App& app);
  std::unique_ptr<harness::ServerProcess> start(std::size_t n_ranks,
                                                std::vector<std::string> more = {}) const;
  std::vector<client::GenerationRequest> requests(std::uint64_t seed) const;
};

// Until every one of `n` streams has had so many tokens.
void wait_for_each(const harness::Load& load, std::size_t n, std::size_t n_tokens);

// Sum of a counter of /metrics over its ranks but one; 0: there is none.
double metric(const std::string& url, const std::string& name, std::optional<RankId> except = std::nullopt);

// Tokens a second of all streams in [from, to).
double rate(const std::vector<harness::StreamRecord>& records, Time from, Time to);

}  // namespace concertina::bench
