#pragma once

#include <array>
#include <deque>
#include <map>
#include <string>

#include "cluster/types.h"

namespace concertina::cluster {

// The records of operations: at most one runs; those that ended are answered for until n_kept newer ones
// ended. Pointers stay valid until a record is dropped.
class OperationLog {
 public:
  explicit OperationLog(std::size_t n_kept) : n_kept_(n_kept) {}

  Operation& start(Operation operation);  // none may run; its phase is kPlanning from operation.started on
  void set_phase(Phase phase, Time now);  // of the running one; the time in the phase before is added up
  const Operation& end(Phase final_phase, Time now);
  void restore(Operation operation);  // one that ended before this process began

  Operation* running() { return running_id_.empty() ? nullptr : &records_.at(running_id_); }  // null if none
  const Operation* running() const { return running_id_.empty() ? nullptr : &records_.at(running_id_); }
  const Operation* find(const std::string& id) const;
  std::uint64_t n_ended(Phase final_phase) const { return n_ended_[static_cast<std::size_t>(final_phase)]; }

 private:
  const std::size_t n_kept_;
  std::map<std::string, Operation> records_;
  std::deque<std::string> ended_;  // oldest first
  std::string running_id_;         // empty: none; no pointer, so that a copy is a log of its own
  Time phase_began_{};
  std::array<std::uint64_t, static_cast<std::size_t>(Phase::kRolledBack) + 1> n_ended_{};
};

}  // namespace concertina::cluster
