#pragma once

#include <map>
#include <string>

#include "cluster/coordinator.h"
#include "sim/copy_case.h"

namespace concertina::sim {

// How often the coordinator met each kind of event in each of its states, and whether it acted.
class Coverage {
 public:
  void note(const std::string& state, const cluster::Event& event, const cluster::Actions& actions);
  void note(const CopyCounts& copies);
  std::string table() const;  // states by events; what never happened is listed below it; then copies of KV

 private:
  struct Count {
    std::uint64_t n = 0, n_acted = 0;
  };
  std::map<std::pair<std::string, std::string>, Count> counts_;
  CopyCounts copies_{};
};

}  // namespace concertina::sim
