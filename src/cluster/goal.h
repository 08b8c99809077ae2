#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/types.h"

namespace concertina::cluster {

// How an operation that is cancelled will end, once all of it is undone.
struct Outcome {
  Phase phase;
  Operation::Failure failure;
  std::string error;
};

// What the running operation is to reach; after a cancellation, what it goes back to. A value: without an
// operation it is Goal{}. Growing comes before shrinking, so that the group is never too small in between.
struct Goal {
  std::size_t size = 0;
  std::set<Member> retire;           // members that must leave, whichever their number
  std::size_t wanted = 0;            // the wanted size once it is done; a leave in a shortage asks for fewer
  int n_failed_starts = 0;           // in a row, of its own
  std::set<Member> joined;           // members that it brought
  std::optional<Outcome> cancelled;  // it is being undone and will end so

  bool is_none() const { return size == 0 && retire.empty() && joined.empty() && !cancelled; }
  // Who must leave `members` now, ascending: those that are named, and as many of the highest as are too
  // many; where the operation is undone, first those that it brought.
  std::vector<Member> leavers(const std::vector<Member>& members) const;
  // How many are missing of `n_stayers`; where it is undone nobody is.
  std::size_t n_missing(std::size_t n_stayers) const;

  // It is undone: back to `back_to` ranks. The first reason counts.
  void turn_back(Outcome outcome, std::size_t back_to);
  // The way back failed, too: the size stays as it is.
  void stay(const Outcome& outcome, std::size_t size_now);

 private:
  std::vector<Member> taken_back(std::vector<Member> members) const;
};

}  // namespace concertina::cluster
