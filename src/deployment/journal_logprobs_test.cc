// Log-probabilities on their way to a client: those of a prompt are told once each, in order, whatever
// becomes of the rank that scores it.
#include <gmock/gmock.h>

#include "deployment/journal_fixture.h"

namespace concertina::deployment {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class ScoredPrompt : public JournalTest {
 protected:
  void SetUp() override {
    members({kRank0, kRank1});
    request::Request made = request(1);
    made.tokens.assign(10, 5);
    made.n_prompt_tokens = 10;
    made.logprobs.n_prompt_top = 1;
    submit(made);
  }
  // Of tokens [first, first + n), as a rank tells them.
  JournalActions scored(RankId from, Attempt attempt, std::size_t first, std::size_t n) {
    JournalActions actions;
    request::PromptLogprobs told{RequestId(1), attempt, first, 2, {}, std::vector<std::uint32_t>(n, 1)};
    told.logprobs.resize(2 * n);
    journal.on_prompt_logprobs(from, told, actions);
    return actions;
  }
  std::size_t next() const { return journal.find(RequestId(1))->logprobs.next_prompt_position; }
  RankId rank() const { return *journal.rank_of(RequestId(1)); }
  RankId other() const { return rank() == kRank0 ? kRank1 : kRank0; }
};

TEST_F(ScoredPrompt, GoesToTheClientPieceByPieceAndOnlyWhatComesNextCounts) {
  EXPECT_THAT(all_of<EmitPromptLogprobs>(scored(rank(), Attempt(1), 1, 4)), SizeIs(1));
  EXPECT_EQ(next(), 5u);
  EXPECT_THAT(scored(rank(), Attempt(1), 1, 4), IsEmpty()) << "told already";
  EXPECT_THAT(scored(rank(), Attempt(1), 7, 2), IsEmpty()) << "two are missing";
  EXPECT_THAT(scored(other(), Attempt(1), 5, 2), IsEmpty()) << "it does not run there";
  EXPECT_THAT(scored(rank(), Attempt(2), 5, 2), IsEmpty()) << "nor in that attempt";
  EXPECT_THAT(all_of<EmitPromptLogprobs>(scored(rank(), Attempt(1), 5, 5)), SizeIs(1));
  EXPECT_EQ(next(), 10u);
  EXPECT_EQ(journal.n_ignored_outputs(), 4u);
}

TEST_F(ScoredPrompt, IsNotToldOfWhatARankSaysInNumbersThatDoNotFit) {
  const auto told = [&](std::size_t n, std::size_t n_each, std::size_t n_logprobs) {
    JournalActions actions;
    journal.on_prompt_logprobs(
        rank(),
        {RequestId(1), Attempt(1), 1, n_each, std::vector<request::TokenLogprob>(n_logprobs),
         std::vector<std::uint32_t>(n, 1)},
        actions);
    return actions;
  };
  EXPECT_THAT(told(4, 2, 7), IsEmpty()) << "one is missing";
  EXPECT_THAT(told(4, 0, 0), IsEmpty()) << "not even the tokens' own";
  EXPECT_THAT(told(10, 2, 20), IsEmpty()) << "the first token has none, so that is one beyond the prompt";
  EXPECT_EQ(next(), 1u);
  EXPECT_THAT(told(9, 2, 18), SizeIs(1));
}

TEST_F(ScoredPrompt, OfARankThatDiesGoesOnWhereTheClientWasTold) {
  scored(rank(), Attempt(1), 1, 4);
  const RankId dead = rank(), alive = other();
  const auto assigned = all_of<SendTo>(fence(dead));
  ASSERT_THAT(assigned, SizeIs(1));
  const auto& assign = std::get<cluster::Assign>(assigned[0].message);
  EXPECT_EQ(assign.request.logprobs.next_prompt_position, 5u);
  EXPECT_THAT(scored(dead, Attempt(1), 5, 2), IsEmpty()) << "the dead one's";
  EXPECT_THAT(all_of<EmitPromptLogprobs>(scored(alive, assign.request.attempt, 5, 5)), SizeIs(1));
}

// A replay would have the KV of rows that nobody scores there.
TEST_F(ScoredPrompt, OfALeaverIsHandedOverAtOnceInsteadOfReplayed) {
  scored(rank(), Attempt(1), 1, 4);
  const RankId leaver = rank(), stayer = other();
  const auto actions = drain({leaver});
  EXPECT_THAT(sent<cluster::Drop>(actions), SizeIs(1));
  const auto assigned = sent<cluster::Assign>(actions);
  ASSERT_THAT(assigned, SizeIs(1));
  EXPECT_EQ(assigned[0].to, stayer);
  EXPECT_EQ(assigned[0].mode, Mode::kLive);
  EXPECT_EQ(rank(), stayer);
  ASSERT_THAT(all_of<Drained>(actions), SizeIs(1));
  EXPECT_EQ(all_of<Drained>(actions)[0].n_moved, 1u);
}

TEST_F(ScoredPrompt, ThatIsScoredIsReplayedAsAnyOther) {
  scored(rank(), Attempt(1), 1, 9);
  output(rank(), 1, Attempt(1), 0, 3);
  const auto assigned = sent<cluster::Assign>(drain({rank()}));
  ASSERT_THAT(assigned, SizeIs(1));
  EXPECT_EQ(assigned[0].mode, Mode::kReplay);
}

TEST_F(JournalTest, ATokensLogprobsGoWithIt) {
  members({kRank0});
  submit(request(1));
  JournalActions actions;
  const request::TokenLogprob logprobs[] = {{5, -0.5f}, {6, -1.0f}};
  journal.on_token(kRank0, {RequestId(1), Attempt(1), 0, 5, FinishReason::kNone}, actions, logprobs);
  ASSERT_THAT(all_of<EmitToken>(actions), SizeIs(1));
  EXPECT_THAT(all_of<EmitToken>(actions)[0].logprobs,
              ::testing::ElementsAre(request::TokenLogprob{5, -0.5f}, request::TokenLogprob{6, -1.0f}));
}

TEST_F(JournalTest, WhereNothingIsAllowedTheRequestFailsAndSaysSo) {
  members({kRank0});
  submit(request(1));
  const auto actions = output(kRank0, 1, Attempt(1), 0, request::kNoToken, FinishReason::kNothingAllowed);
  ASSERT_THAT(all_of<EmitFailed>(actions), SizeIs(1));
  EXPECT_TRUE(all_of<EmitFailed>(actions)[0].error.is(DeploymentError::kNothingAllowed));
  EXPECT_EQ(journal.n_live(), 0u);
}

}  // namespace
}  // namespace concertina::deployment
