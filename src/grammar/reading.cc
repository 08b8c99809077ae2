#include "grammar/reading.h"

#include <algorithm>

#include "grammar/limits.h"

namespace concertina::grammar {
namespace {

constexpr std::size_t kMostOpened = 2 * kMaxStacks;

}  // namespace

// One more than close() allows, at most: a rule may have more callers than that to come back to.
void Reader::open(StateIndex state, StackIndex stack) {
  if (opened_.size() > kMostOpened) return;
  work_ += opened_.size();
  const Item item{state, stack};
  if (std::find(opened_.begin(), opened_.end(), item) == opened_.end()) opened_.push_back(item);
}

// All that is reached without a byte: into called rules, and out of those that may end.
void Reader::close(Reading& to) {
  to.items.clear();
  to.ends = false;
  for (std::size_t at = 0; at < opened_.size(); ++at) {
    if (opened_.size() > kMostOpened || to.items.size() > kMaxStacks) {
      has_overflown_ = true;
      to.items.clear();
      to.ends = false;
      break;
    }
    const auto [state, stack] = opened_[at];
    if (!automaton_->edges(state).empty()) to.items.push_back({state, stack});
    for (const auto& call : automaton_->calls(state))
      open(call.start, automaton_->is_only_final(call.to) ? stack : pool_.push(stack, call.to));
    if (!automaton_->is_final(state)) continue;
    if (stack == kAnyStack && !automaton_->returns(state).empty()) {
      for (const StateIndex next : automaton_->returns(state)) open(next, stack);
    } else if (StackPool::is_bottom(stack)) {
      to.ends = true;
    } else {
      const auto frame = pool_.top(stack);
      open(frame.to, frame.below);
    }
  }
  opened_.clear();
}

void Reader::step(const Reading& from, std::uint8_t byte, Reading& to) {
  for (const auto& [state, stack] : from.items) {
    const StateIndex next = automaton_->next(state, byte);
    if (next != kNoState) open(next, stack);
  }
  close(to);
}

void Reader::come_back(StackIndex stack, Reading& to) {
  const auto frame = pool_.top(stack);
  start(frame.to, frame.below, to);
}

void Reader::start(StateIndex state, StackIndex stack, Reading& to) {
  open(state, stack);
  close(to);
}

void Reader::start(const std::vector<Item>& items, Reading& to) {
  for (const auto& [state, stack] : items) open(state, stack);
  close(to);
}

void Reader::keep_only(Reading& reading) {
  std::vector<StackIndex*> roots;
  for (auto& item : reading.items) roots.push_back(&item.stack);
  pool_.keep_only(roots);
}

}  // namespace concertina::grammar
