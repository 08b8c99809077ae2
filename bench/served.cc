#include "bench/served.h"

#include <unistd.h>

#include "base/check.h"
#include "bench/processor_time.h"
#include "client/admin.h"

namespace concertina::bench {

std::unique_ptr<harness::ServerProcess> start_server(const ServedOptions& options) {
  std::vector<std::string> arguments{options.model,          "--skip-tokenizer-init",
                                     "--data-parallel-size", std::to_string(options.n_ranks),
                                     "--threads-per-rank",   std::to_string(options.n_threads),
                                     "--max-model-len",      "1024"};
  arguments.insert(arguments.end(), options.flags.begin(), options.flags.end());
  auto server = harness::ServerProcess::start({.binary = options.binary, .arguments = arguments});
  CHECK(server.has_value(), "{}", server.error().message());
  return std::move(*server);
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
