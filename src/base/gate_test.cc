#include "base/gate.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/lifetime.h"

namespace concertina {
namespace {

TEST(Gate, IsEmptyWhenTheLastOfThoseInsideHasLeft) {
  Gate gate;
  int n_said = 0;
  auto first = gate.enter(), second = gate.enter();
  EXPECT_EQ(gate.n_inside(), 2u);
  gate.close([&] { ++n_said; });
  first.reset();
  EXPECT_EQ(n_said, 0);
  second.reset();
  EXPECT_EQ(n_said, 1);
}

TEST(Gate, RefusesWhoeverComesAfterItsClose) {
  Gate gate;
  auto inside = gate.enter();
  gate.close([] {});
  EXPECT_TRUE(gate.is_closed());
  EXPECT_FALSE(gate.enter()) << "also while others are inside";
  inside.reset();
  EXPECT_FALSE(gate.enter());
}

TEST(Gate, ThatNobodyIsInsideOfIsEmptyAtOnceAndOnce) {
  Gate gate;
  int n_said = 0;
  { const auto left_before = gate.enter(); }
  gate.close([&] { ++n_said; });
  gate.close([&] { ++n_said; });
  EXPECT_EQ(n_said, 1);
}

TEST(Gate, CountsAPassOnceWhoeverHoldsIt) {
  Gate gate;
  std::vector<Gate::Pass> passes;
  for (int i = 0; i < 20; ++i) passes.push_back(*gate.enter());  // moved as the vector grows
  EXPECT_EQ(gate.n_inside(), 20u);
  passes[3] = std::move(passes.back());  // the pass that it takes the place of goes
  passes.pop_back();
  EXPECT_EQ(gate.n_inside(), 19u);
  passes.clear();
  EXPECT_EQ(gate.n_inside(), 0u);
}

TEST(Gate, MayGoAsSoonAsItIsEmpty) {
  auto gate = std::make_unique<Gate>();
  auto pass = gate->enter();
  gate->close([&] { gate.reset(); });
  pass.reset();
  EXPECT_EQ(gate, nullptr);
}

TEST(GateDeathTest, DoesNotEndWithSomebodyInside) {
  EXPECT_DEATH(
      {
        auto gate = std::make_unique<Gate>();
        const auto pass = gate->enter();
        gate.reset();
      },
      "a gate ends with 1 inside");
}

TEST(Lifetime, WhatIsGuardedByItIsDoneOnlyWhileItLasts) {
  auto owner = std::make_unique<Lifetime>();
  int n_done = 0;
  auto guarded = owner->guard([&] { ++n_done; });
  const Lifetime::Watch watch = owner->watch();
  guarded();
  EXPECT_FALSE(watch.is_over());
  owner.reset();
  guarded();
  EXPECT_TRUE(watch.is_over());
  EXPECT_EQ(n_done, 1);
}

}  // namespace
}  // namespace concertina
