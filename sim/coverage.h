#pragma once

#include <map>
#include <string>

#include "cluster/coordinator.h"

namespace concertina::sim {

// How often the coordinator met each kind of event in each of its states, and whether it acted.
class Coverage {
 public:
  void note(const std::string& state, const cluster::Event& event, const cluster::Actions& actions);
  void add(const Coverage& other);
  std::string table() const;  // states by events; what never happened is listed below it

 private:
  struct Count {
    std::uint64_t n = 0, n_acted = 0;
  };
  std::map<std::pair<std::string, std::string>, Count> counts_;
};

}  // namespace concertina::sim
