#include "launcher/cores.h"

#include <gmock/gmock.h>

namespace concertina::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Cores, RanksGetDisjointOnesAndNoneWhenThereAreTooFew) {
  const std::vector<int> usable{2, 3, 6, 7};
  EXPECT_THAT(free_cores(usable, {}, 2), ElementsAre(2, 3));
  EXPECT_THAT(free_cores(usable, {2, 6}, 2), ElementsAre(3, 7))
      << "those of a rank that left are given again";
  EXPECT_THAT(free_cores(usable, {2, 3, 6}, 2), IsEmpty());
}

TEST(Cores, ThisProcessRunsSomewhere) { EXPECT_FALSE(usable_cores().empty()); }

}  // namespace
}  // namespace concertina::launcher
