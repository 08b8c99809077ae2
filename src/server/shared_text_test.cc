#include "server/admin/shared_text.h"

#include <gtest/gtest.h>

namespace concertina::server::admin {
namespace {

using std::chrono::milliseconds;

TEST(SharedText, AnswersWhatHadComeBeforeItWasMadeAndNothingThatCameLater) {
  SharedText shared;
  int n_made = 0;
  const auto make = [&] { return std::to_string(++n_made); };
  const Time start{};
  EXPECT_EQ(shared.at_least_of(start, start + milliseconds(1), make), "1");
  EXPECT_EQ(shared.at_least_of(start, start + milliseconds(2), make), "1") << "sent along with the first";
  EXPECT_EQ(shared.at_least_of(start + milliseconds(3), start + milliseconds(4), make), "2")
      << "its client may have seen what happened at 2 ms";
  EXPECT_EQ(shared.at_least_of(start + milliseconds(3), start + milliseconds(9), make), "2");
}

}  // namespace
}  // namespace concertina::server::admin
