#include "base/pause.h"

#include <gtest/gtest.h>

namespace concertina {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(CoreOffers, GoOnWhileTheCoreComesBackSoon) {
  CoreOffers offers;
  Time now{milliseconds(1000)};
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(offers.may_offer(now));
    offers.came_back(now, now + microseconds(1900));
    now += microseconds(1900);
  }
}

TEST(CoreOffers, RestAfterOneThatCostATimeSlice) {
  CoreOffers offers;
  const Time now{milliseconds(1000)}, back = now + milliseconds(4);
  offers.came_back(now, back);
  EXPECT_FALSE(offers.may_offer(back));
  EXPECT_FALSE(offers.may_offer(back + milliseconds(99)));
  EXPECT_TRUE(offers.may_offer(back + milliseconds(100))) << "the other program may have ended";
}

}  // namespace
}  // namespace concertina
