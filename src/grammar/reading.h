#pragma once

#include <vector>

#include "grammar/automaton.h"
#include "grammar/stack_pool.h"

namespace concertina::grammar {

// A state that takes a byte next, and what it is called by.
struct Item {
  StateIndex state = 0;
  StackIndex stack = 0;
  auto operator<=>(const Item&) const = default;
};

// All ways in which a text can be read so far.
struct Reading {
  std::vector<Item> items;
  bool ends = false;  // one of them may end here: its stack is used up
  bool is_dead() const { return items.empty() && !ends; }
};

// Steps of readings over stacks of one pool. One thread.
class Reader {
 public:
  explicit Reader(const Automaton& automaton) : automaton_(&automaton) {}

  // After `byte`. Dead: nothing reads it, or more than kMaxStacks ways do (has_overflown).
  void step(const Reading& from, std::uint8_t byte, Reading& to);
  // As if the rule that `stack` is called by had just ended; not of a bottom.
  void come_back(StackIndex stack, Reading& to);
  void start(StateIndex state, StackIndex stack, Reading& to);
  void start(const std::vector<Item>& open, Reading& to);

  StackPool& pool() { return pool_; }
  bool has_overflown() const { return has_overflown_; }
  std::size_t work() const { return work_; }  // items looked at while others were opened
  const Automaton& automaton() const { return *automaton_; }
  void keep_only(Reading& reading);  // forgets all other stacks

 private:
  void open(StateIndex state, StackIndex stack);
  void close(Reading& to);

  const Automaton* automaton_;
  StackPool pool_;
  std::vector<Item> opened_;  // of the closure under way
  bool has_overflown_ = false;
  std::size_t work_ = 0;
};

}  // namespace concertina::grammar
