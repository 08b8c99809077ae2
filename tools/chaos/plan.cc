#include "tools/chaos/plan.h"

#include <utility>

namespace concertina::chaos {
namespace {

constexpr std::pair<Action, std::size_t> kRound[] = {
    {Action::kScale, 20},      {Action::kKill, 10},         {Action::kStop, 5},    {Action::kTerminate, 2},
    {Action::kArmPoint, 10},   {Action::kDisconnect, 3},    {Action::kFiles, 8},   {Action::kBinary, 4},
    {Action::kFillChannel, 2}, {Action::kStopLogReader, 2}, {Action::kKillAll, 1},
};

}  // namespace

Step Plan::next() {
  if (cards_.empty()) deal();
  const Action action = cards_.back();
  cards_.pop_back();
  const std::uint64_t seed = random_.next();
  return {action, seed, std::chrono::milliseconds(20 + random_.below(400))};
}

void Plan::deal() {
  for (const auto& [action, n] : kRound) cards_.insert(cards_.end(), n, action);
  for (std::size_t i = cards_.size(); i > 1; --i) std::swap(cards_[i - 1], cards_[random_.below(i)]);
}

}  // namespace concertina::chaos
