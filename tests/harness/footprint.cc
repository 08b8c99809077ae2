#include "tests/harness/footprint.h"

#include <fstream>

#include "client/admin.h"

namespace concertina::harness {

Footprint footprint_of(const ServerProcess& server) {
  Footprint all;
  std::vector<pid_t> pids{server.pid()};
  if (const auto cluster = client::fetch_cluster(server.url())) {
    for (const auto& rank : cluster->ranks) pids.push_back(static_cast<pid_t>(rank.pid));
  }
  all.n_processes = pids.size();
  for (const pid_t pid : pids) {
    const std::filesystem::path proc = "/proc/" + std::to_string(pid);
    std::error_code gone;  // a rank may end while it is looked at
    for ([[maybe_unused]] const auto& fd : std::filesystem::directory_iterator(proc / "fd", gone))
      ++all.n_descriptors;
    std::ifstream maps(proc / "maps"), status(proc / "status");
    for (std::string line; std::getline(maps, line);)
      all.n_mappings += line.find("memfd:") != std::string::npos;
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("RssAnon:")) all.resident_kb += std::stoul(line.substr(8));
    }
  }
  return all;
}

}  // namespace concertina::harness
