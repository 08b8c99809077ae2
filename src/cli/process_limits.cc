#include "cli/process_limits.h"

#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>

namespace concertina::cli {

// Connections leave descriptors for what ranks need: a pidfd, a channel, and two for its start.
server::http::Limits connection_limits(const front::FrontOptions& options) {
  server::http::Limits limits;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return limits;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_NOFILE, &files);
  const std::size_t reserved = 32 + 4 * 2 * options.cluster.max_size;
  const std::size_t left = files.rlim_cur > reserved ? files.rlim_cur - reserved : 1;
  if (left < limits.max_connections)
    spdlog::info("at most {} connections: the limit of open files is {}, and ranks need some", left,
                 files.rlim_cur);
  limits.max_connections = std::min<std::size_t>(limits.max_connections, left);
  return limits;
}

// Large blocks (bodies, prompts) go back to the system when they are freed. Left alone the allocator learns
// to keep blocks of the largest size that it saw, up to 32 MiB each.
void keep_little_memory() {
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

std::string examples(const std::string& url) {
  return fmt::format(R"(
Try, in another terminal:
  curl {0}/v1/chat/completions -H 'Content-Type: application/json' -d '{{"messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'
  curl -X POST {0}/scale_elastic_ep -H 'Content-Type: application/json' -d '{{"new_data_parallel_size": 4}}'
  {1} status --watch --url {0}

)",
                     url,
                     std::filesystem::proximate(std::filesystem::read_symlink("/proc/self/exe")).string());
}

}  // namespace concertina::cli
