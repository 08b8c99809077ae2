#include "deployment/shutdown.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace concertina::deployment {
namespace {

using State = Shutdown::State;
using Event = Shutdown::Event;
using Act = Shutdown::Act;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class ShutdownTest : public testing::Test {
 protected:
  std::vector<Act> on(Event event) { return shutdown_.on(event, now_); }
  std::vector<Act> on_deadline() {
    now_ = shutdown_.deadline().value();
    return on(Event::kDeadline);
  }
  Time now_{seconds(1000)};
  Shutdown shutdown_{seconds(30)};
};

TEST_F(ShutdownTest, WaitsForTheLastRequestAndThenForTheLastRank) {
  EXPECT_TRUE(shutdown_.is_serving());
  EXPECT_THAT(on(Event::kAsked), ElementsAre(Act::kRefuseRequests));
  EXPECT_FALSE(shutdown_.is_serving());
  EXPECT_FALSE(shutdown_.is_stopping()) << "ranks that die meanwhile are recovered from";
  EXPECT_EQ(shutdown_.deadline(), Time(seconds(1030)));
  EXPECT_THAT(on(Event::kRequestsEnded), ElementsAre(Act::kReleaseRanks));
  EXPECT_TRUE(shutdown_.is_stopping());
  EXPECT_EQ(shutdown_.deadline(), Time(seconds(1005)));
  EXPECT_THAT(on(Event::kRanksEnded), ElementsAre(Act::kSayStopped));
  EXPECT_EQ(shutdown_.state(), State::kStopped);
  EXPECT_FALSE(shutdown_.deadline());
}

TEST_F(ShutdownTest, EveryWaitEndsAtItsDeadline) {
  on(Event::kAsked);
  EXPECT_THAT(on_deadline(), ElementsAre(Act::kFailRequests, Act::kReleaseRanks));
  EXPECT_THAT(on_deadline(), ElementsAre(Act::kKillRanks));
  EXPECT_THAT(on_deadline(), ElementsAre(Act::kSayStopped));
  EXPECT_EQ(now_, Time(seconds(1000 + 30 + 5 + 2)));
  EXPECT_EQ(shutdown_.state(), State::kStopped);
}

TEST_F(ShutdownTest, AskedAgainToEndAtOnceItKillsWhateverItWaitedFor) {
  on(Event::kAsked);
  EXPECT_THAT(on(Event::kAskedAtOnce), ElementsAre(Act::kFailRequests, Act::kReleaseRanks, Act::kKillRanks));
  EXPECT_THAT(on(Event::kAskedAtOnce), IsEmpty()) << "they are killed already";
  EXPECT_THAT(on(Event::kRanksEnded), ElementsAre(Act::kSayStopped));
}

TEST_F(ShutdownTest, RanksThatWereReleasedAreKilledWithoutBeingReleasedAgain) {
  on(Event::kAsked);
  on(Event::kRequestsEnded);
  EXPECT_THAT(on(Event::kAskedAtOnce), ElementsAre(Act::kKillRanks));
  EXPECT_EQ(shutdown_.deadline(), Time(seconds(1002)));
}

TEST_F(ShutdownTest, WhatComesTooLateOrTwiceChangesNothing) {
  EXPECT_THAT(on(Event::kRanksEnded), IsEmpty()) << "all ranks of a serving group died: they come back";
  EXPECT_THAT(on(Event::kRequestsEnded), IsEmpty());
  EXPECT_TRUE(shutdown_.is_serving());
  on(Event::kAsked);
  now_ += seconds(10);
  EXPECT_THAT(on(Event::kAsked), IsEmpty());
  EXPECT_EQ(shutdown_.deadline(), Time(seconds(1030))) << "the second wish does not lengthen the first";
  EXPECT_THAT(on(Event::kRanksEnded), IsEmpty()) << "requests wait for the ranks that replace them";
  on(Event::kRequestsEnded);
  EXPECT_THAT(on(Event::kRequestsEnded), IsEmpty()) << "it was the deadline's own doing";
  on(Event::kRanksEnded);
  for (const Event late :
       {Event::kAsked, Event::kAskedAtOnce, Event::kRequestsEnded, Event::kDeadline, Event::kRanksEnded})
    EXPECT_THAT(on(late), IsEmpty());
}

// In whatever order things happen: it only goes on, it says once that it stopped, and as long as it has not
// there is something that it waits for.
TEST_F(ShutdownTest, InWhateverOrderThingsHappenItComesToItsEndOnce) {
  const std::vector<Event> events{Event::kAsked, Event::kAskedAtOnce, Event::kRequestsEnded, Event::kDeadline,
                                  Event::kRanksEnded};
  constexpr std::size_t kLength = 6;
  for (std::size_t story = 0; story < 5 * 5 * 5 * 5 * 5 * 5; ++story) {
    Shutdown shutdown(seconds(30));
    std::multiset<Act> done;
    for (std::size_t i = 0, rest = story; i < kLength; ++i, rest /= events.size()) {
      const State before = shutdown.state();
      const auto acts = shutdown.on(events[rest % events.size()], now_);
      done.insert(acts.begin(), acts.end());
      ASSERT_GE(shutdown.state(), before) << "story " << story;
      ASSERT_EQ(acts.empty(), shutdown.state() == before) << "story " << story;
      const bool waits = !shutdown.is_serving() && shutdown.state() != State::kStopped;
      ASSERT_EQ(shutdown.deadline().has_value(), waits) << "story " << story;
    }
    ASSERT_EQ(done.count(Act::kSayStopped), shutdown.state() == State::kStopped ? 1u : 0u);
    ASSERT_EQ(done.count(Act::kReleaseRanks), shutdown.is_stopping() ? 1u : 0u) << "story " << story;
    ASSERT_LE(done.count(Act::kFailRequests), 1u) << "story " << story;
    ASSERT_LE(done.count(Act::kKillRanks), 1u) << "story " << story;
  }
}

}  // namespace
}  // namespace concertina::deployment
