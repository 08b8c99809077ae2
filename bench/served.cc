#include "bench/served.h"

#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "bench/processor_time.h"
#include "client/admin.h"

namespace concertina::bench {

std::unique_ptr<harness::ServerProcess> start_server(const ServedOptions& options) {
  std::vector<std::string> arguments{options.model,
                                     "--data-parallel-size",
                                     std::to_string(options.n_ranks),
                                     "--threads-per-rank",
                                     std::to_string(options.n_threads),
                                     "--max-model-len",
                                     "1024"};
  if (options.tokenizer == ServedOptions::Tokenizer::kSkipped)
    arguments.emplace_back("--skip-tokenizer-init");
  arguments.insert(arguments.end(), options.flags.begin(), options.flags.end());
  auto server = harness::ServerProcess::start({.binary = options.binary, .arguments = arguments});
  CHECK(server.has_value(), "{}", server.error().message());
  return std::move(*server);
}

double rate_of(const std::vector<harness::StreamRecord>& records) {
  Time begin = Time::min(), end = Time::max();
  for (const harness::StreamRecord& record : records) {
    CHECK(record.error.empty(), "a stream failed: {}", record.error);
    begin = std::max(begin, record.generation.token_times.front());
    end = std::min(end, record.generation.token_times.back());
  }
  double rate = 0;
  for (const harness::StreamRecord& record : records) {
    const std::vector<Time>& times = record.generation.token_times;  // ascending
    const auto first = std::lower_bound(times.begin(), times.end(), begin);
    const auto last = std::upper_bound(first, times.end(), end) - 1;
    CHECK(last > first, "a stream has fewer than two tokens while all run: ask for more tokens");
    rate += static_cast<double>(last - first) / std::chrono::duration<double>(*last - *first).count();
  }
  return rate;
}

double used_s(const harness::ServerProcess& server) {
  double sum = process_s(server.pid()) + process_s(getpid());
  const auto cluster = client::fetch_cluster(server.url());
  if (cluster) {
    for (const auto& rank : cluster->ranks) sum += process_s(static_cast<pid_t>(rank.pid));
  }
  return sum;
}

}  // namespace concertina::bench
