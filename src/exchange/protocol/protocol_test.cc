// The rules named here are those of docs/epoch_protocol.md, "the rules that make it hold".
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "exchange/protocol/header.h"
#include "exchange/protocol/layout.h"

namespace concertina::exchange {
namespace {

const Incarnation kPeer(40);
constexpr std::size_t kPage = 4096;

Position at(std::uint64_t epoch, std::uint64_t step, std::uint32_t exchange, std::uint64_t index) {
  return {.epoch = Epoch(epoch), .step = StepId(step), .exchange = exchange, .index = index};
}
Header header_at(const Position& position) { return {.incarnation = kPeer, .position = position}; }

TEST(Rule1, AFlipNeedsTheSameTargetFromEveryMember) {
  const Epoch none, six(6), seven(7);
  EXPECT_EQ(decide_flip(std::vector{six, six, six}), six);
  EXPECT_EQ(decide_flip(std::vector{six}), six);
  EXPECT_EQ(decide_flip(std::vector{six, none, six}), std::nullopt);
  EXPECT_EQ(decide_flip(std::vector{six, six, seven}), std::nullopt) << "a number, not a bit";
  EXPECT_EQ(decide_flip(std::vector{none, none}), std::nullopt);
}

TEST(Rule1, ARankOnlyEntersAHigherEpoch) {
  Progress progress;
  progress.enter(Epoch(5));
  progress.enter(Epoch(8));  // numbers of aborted operations are skipped
  EXPECT_DEATH(progress.enter(Epoch(8)), "entering epoch 8 after epoch 8");
  EXPECT_DEATH(progress.enter(Epoch(7)), "entering epoch 7 after epoch 8");
}

TEST(Rule2, AHeaderMatchesAtItsExactPlaceOnly) {
  const Position awaited = at(5, 3, 1, 13);
  EXPECT_EQ(classify(header_at(awaited), awaited, kPeer), HeaderMatch::kMatch);
  EXPECT_EQ(classify(std::nullopt, awaited, kPeer), HeaderMatch::kAbsent);
  EXPECT_EQ(classify(header_at(at(5, 2, 3, 11)), awaited, kPeer), HeaderMatch::kAbsent)
      << "read two exchanges ago";
  EXPECT_NE(classify(header_at(at(5, 3, 2, 13)), awaited, kPeer), HeaderMatch::kMatch)
      << "peers count differently";
}

TEST(Rule2, AHeaderOfAnOlderEpochOrIncarnationIsDropped) {
  const Position awaited = at(5, 0, 0, 0);
  EXPECT_EQ(classify(header_at(at(3, 900, 5, 4505)), awaited, kPeer), HeaderMatch::kOlder);
  EXPECT_EQ(classify(header_at(awaited), awaited, Incarnation(41)), HeaderMatch::kOlder);
}

TEST(Rule2, AHeaderOfALaterEpochStaysUnread) {
  EXPECT_EQ(classify(header_at(at(7, 0, 0, 0)), at(5, 9, 1, 37), kPeer), HeaderMatch::kLater);
  EXPECT_EQ(classify(header_at(at(5, 9, 3, 39)), at(5, 9, 1, 37), kPeer), HeaderMatch::kLater);
}

TEST(Rule3, EveryEpochStartsAtStepZeroExchangeZero) {
  Progress progress;
  progress.enter(Epoch(4));
  EXPECT_EQ(progress.position(), at(4, 0, 0, 0));
  for (std::uint64_t step = 0; step < 3; ++step) {
    EXPECT_EQ(progress.next_step_position(), at(4, step, 0, 2 * step));
    progress.begin_step(StepId(step));
    EXPECT_TRUE(progress.at_first_exchange());
    progress.complete_exchange();
    EXPECT_EQ(progress.position(), at(4, step, 1, 2 * step + 1));
    EXPECT_FALSE(progress.at_first_exchange());
    progress.complete_exchange();
  }
  EXPECT_EQ(progress.next_step(), StepId(3));
  progress.enter(Epoch(5));
  EXPECT_EQ(progress.next_step_position(), at(5, 0, 0, 0));
}

TEST(Rule3, FourBanksKeepEveryTwoThatMayBeReadTogetherApart) {
  std::set<std::size_t> banks;
  for (std::uint64_t epoch = 10; epoch < 12; ++epoch)
    for (std::uint64_t index = 0; index < 2; ++index) banks.insert(bank_of(Epoch(epoch), index));
  EXPECT_EQ(banks, (std::set<std::size_t>{0, 1, 2, 3}));
  // A member that flipped may start the new epoch while another still reads the old one's last results.
  for (std::uint64_t last = 0; last < 8; ++last) EXPECT_NE(bank_of(Epoch(10), last), bank_of(Epoch(11), 0));
  EXPECT_EQ(bank_of(Epoch(10), 6), bank_of(Epoch(10), 8));
}

TEST(Rule4, AStepWithoutAnExchangeCarriesNoFlagAndIsABug) {
  Progress progress;
  progress.enter(Epoch(1));
  progress.begin_step(StepId(0));
  EXPECT_DEATH(progress.begin_step(StepId(1)), "had no exchange");
}

TEST(Rule4, StepsAreBegunInOrder) {
  Progress progress;
  progress.enter(Epoch(1));
  EXPECT_DEATH(progress.begin_step(StepId(1)), "step 0 is next");
  EXPECT_DEATH(progress.complete_exchange(), "outside a step");
}

TEST(Rule5, MembersThatSeeTheSameFlagsDecideTheSameInAnyOrder) {
  std::vector<Epoch> flags{Epoch(9), Epoch(9), Epoch{}, Epoch(9)};
  for (int i = 0; i < 4; ++i) {
    std::rotate(flags.begin(), flags.begin() + 1, flags.end());
    EXPECT_EQ(decide_flip(flags), std::nullopt);
  }
}

TEST(Layout, PartsLieOnPagesInOrderAndDoNotOverlap) {
  const Layout layout{.max_ranks = 5, .max_tokens = 7, .top_k = 3, .hidden_size = 100};
  std::size_t end = 0;
  for (std::size_t bank = 0; bank < kBanks; ++bank) {
    for (std::uint32_t rank = 0; rank < 5; ++rank) {
      EXPECT_EQ(layout.header(Half::kDispatch, bank, RankId(rank)), end + rank * kHeaderBytes);
      EXPECT_EQ(layout.header(Half::kResult, bank, RankId(rank)), end + (5 + rank) * kHeaderBytes);
    }
    EXPECT_GE(layout.entries(bank), layout.header(Half::kResult, bank, RankId(4)) + kHeaderBytes);
    EXPECT_GE(layout.activations(bank), layout.entries(bank) + 21 * sizeof(Entry));
    EXPECT_GE(layout.results(bank), layout.activations(bank) + 7 * 400);
    end = (bank + 1) * layout.bank_bytes();
    EXPECT_GE(end, layout.results(bank) + 5 * 21 * 400);
    for (const std::size_t offset :
         {layout.entries(bank), layout.activations(bank), layout.results(bank), end})
      EXPECT_EQ(offset % kPage, 0u);
  }
  EXPECT_EQ(layout.body_bytes(), end);
}

TEST(Messages, NameThePlace) {
  EXPECT_EQ(describe(RankId(2), at(5, 3, 1, 13)), "rank 2, epoch 5, step 3, exchange 1");
  EXPECT_EQ(describe(std::optional<Header>()), "nothing");
  EXPECT_EQ(describe(std::optional(header_at(at(3, 9, 1, 37)))),
            "epoch 3, step 9, exchange 1 of incarnation 40");
}

}  // namespace
}  // namespace concertina::exchange
