#include "sim/coverage.h"

#include <fmt/format.h>

#include <array>

namespace concertina::sim {

namespace {

// In the order of cluster::Event.
constexpr std::array kEvents{"scale",       "prepared", "prepare failed", "flipped", "exited",
                             "unreachable", "frozen",   "heartbeat",      "suspect", "leave asked",
                             "shutdown",    "hello",    "drained",        "time",    "serves"};
constexpr std::array kStates{"bootstrapping", "idle",       "starting",   "preparing", "committing",
                             "releasing",     "cancelling", "recovering", "waiting",   "without ranks"};
static_assert(kEvents.size() == std::variant_size_v<cluster::Event>);

}  // namespace

const char* name_of(CopyCase what) {
  static constexpr std::array<const char*, kCopyCases> kNames{"no blocks free for it",
                                                              "its source was not mapped",
                                                              "begun",
                                                              "its source had ended before it began",
                                                              "its source ended meanwhile",
                                                              "its request was taken over meanwhile",
                                                              "its request was dropped meanwhile",
                                                              "waited for an epoch",
                                                              "its source had no record of it",
                                                              "part of it was reused meanwhile",
                                                              "all of the record came",
                                                              "decided when it was over",
                                                              "counts by a step of its source",
                                                              "counts by its source's end",
                                                              "distrusted for its source's end",
                                                              "given up"};
  return kNames[static_cast<std::size_t>(what)];
}

void Coverage::after_event(const cluster::Event& event, const cluster::Actions& actions,
                           const cluster::Coordinator& coordinator) {
  Count& count = counts_[{state_, kEvents[event.index()]}];
  state_ = coordinator.state_name();
  ++count.n;
  count.n_acted += actions.empty() ? 0 : 1;
}

std::string Coverage::table() const {
  std::string out = fmt::format("{:16}", "times it acted");
  for (std::size_t i = 1; i < kEvents.size(); ++i) out += fmt::format("{:>15}", kEvents[i]);
  out += '\n';
  std::string never;
  for (const char* state : kStates) {
    out += fmt::format("{:16}", state);
    for (std::size_t i = 1; i < kEvents.size(); ++i) {
      const auto found = counts_.find({state, kEvents[i]});
      const Count count = found == counts_.end() ? Count{} : found->second;
      out += fmt::format("{:>15}", count.n_acted > 0 ? fmt::format("{}", count.n_acted)
                                   : count.n > 0     ? "(no effect)"
                                                     : "-");
      if (count.n == 0) never += fmt::format("  {} while {}\n", kEvents[i], state);
    }
    out += '\n';
  }
  if (!never.empty()) out += "never happened:\n" + never;
  out += "copies of KV:\n";
  for (std::size_t i = 0; i < kCopyCases; ++i)
    out += fmt::format("{:>12}  {}\n", copies_[i], name_of(static_cast<CopyCase>(i)));
  return out;
}

}  // namespace concertina::sim
