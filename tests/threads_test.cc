// A whole deployment in one process: the real Deployment, step loops and exchange memory; ranks are threads
// and the front is this test's thread. What tests/ does with processes over HTTP, small enough for a thread
// sanitizer.
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <thread>

#include "base/random.h"
#include "deployment/deployment.h"
#include "worker/epoch_loader.h"
#include "worker/small_rank.h"
#include "worker/step_loop.h"

namespace concertina::worker {
namespace {

using cluster::Member;

constexpr std::size_t kMaxSize = 4;

using cluster::FromRank;

class Mailbox {
 public:
  void push(FromRank message) {
    std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    arrived_.notify_one();
  }
  std::optional<FromRank> pop(Duration timeout) {
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, timeout, [this] { return !messages_.empty(); })) return std::nullopt;
    FromRank message = std::move(messages_.front());
    messages_.pop_front();
    return message;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<FromRank> messages_;
};

class ThreadRank {
 public:
  ThreadRank(Member member, Mailbox& mailbox, Duration step_time_budget) : member_(member) {
    RankOptions options = worker::small_rank(member);
    options.kv_cache_bytes = 4 << 20;
    options.limits.max_num_seqs = 8;
    options.limits.max_num_batched_tokens = 32;
    options.limits.max_model_len = 256;
    options.max_ranks = 2 * kMaxSize;
    options.step_time_budget = step_time_budget;
    parts_ = worker::make_small_rank(options);
    thread_ = std::thread([this, &mailbox] {
      StepLoop loop({.self = member_,
                     .rank = parts_,
                     .inbox = inbox_,
                     .send = [&](const FromRank& message) { mailbox.push(message); },
                     .discard = [](std::shared_ptr<const exchange::EpochView>) {}});
      const Status ended = loop.run();
      CHECK(ended.has_value(), "rank {}: {}", member_.rank, ended.error().message());
    });
  }
  ~ThreadRank() {
    parts_.steps->abort();
    tell(cluster::Release{});
    thread_.join();
  }
  void freeze(Ballot ballot) {
    parts_.steps->abort();
    tell(cluster::Freeze{ballot});
  }
  void tell(InboxMessage message) {
    inbox_.push(std::move(message));
    parts_.steps->ring_self();
  }
  const RankParts& parts() const { return parts_; }
  EpochLoader& loader() { return loader_; }

 private:
  Member member_;
  RankParts parts_;
  EpochLoader loader_{parts_, member_.rank};
  Inbox inbox_{4096};
  std::thread thread_;
};

// The host of a Deployment, on the test's thread.
class ThreadGroup {
 public:
  explicit ThreadGroup(std::size_t size, Duration step_time_budget = {})
      : step_time_budget_(step_time_budget),
        deployment_(
            {.cluster = {.n_moe_layers = 2, .n_experts = 8, .max_size = kMaxSize, .initial_size = size}},
            Incarnation(1)) {
    deployment_.start(now(), effects_);
    carry_out();
    while (!coordinator().ready()) pump();
  }

  RequestId submit(std::vector<TokenId> prompt, std::size_t n_tokens, float temperature, std::uint64_t seed) {
    request::Request request;
    request.id = next_request_;
    next_request_ = next_request_.next();
    request.n_prompt_tokens = prompt.size();
    request.tokens = std::move(prompt);
    request.sampling.temperature = temperature;
    request.sampling.seed = seed;
    request.stop.max_tokens = n_tokens;
    request.stop.ignore_eos = true;
    const RequestId id = request.id;
    deployment_.submit(std::move(request), request::ClientId(1), now(), effects_);
    carry_out();
    return id;
  }

  // Asks for a size and handles what ranks say until the operation has ended.
  cluster::Operation scale(std::size_t size, std::vector<RankId> retire = {}) {
    const std::string id = "op-" + std::to_string(++n_operations_);
    const auto record =
        deployment_.scale({id, size, std::move(retire), std::chrono::seconds(100)}, now(), effects_);
    CHECK(record.has_value(), "{}", record.error().message());
    carry_out();
    while (!cluster::is_final(coordinator().find_operation(id)->phase)) pump();
    return *coordinator().find_operation(id);
  }

  // The rank ends in the middle of whatever it does. Its memory stays mapped where peers read it.
  void lose(RankId id) {
    for (const Member& member : coordinator().active_epoch()->members) {
      if (member.rank == id) return end(Member(member), "signal 9");
    }
  }
  bool is_changing() const { return coordinator().running_operation() != nullptr; }

  void pump() {
    const auto message = mailbox_.pop(std::chrono::seconds(120));
    CHECK(message.has_value(),
          "no rank said anything for 120 s; {} requests live; the coordinator waits for: {}",
          deployment_.journal().n_live(), coordinator().waits_for());
    hear(*message);
  }
  void pump_until_emitted(std::size_t n_tokens) {
    while (n_emitted_ < n_tokens) {
      CHECK(deployment_.journal().n_live() > 0, "all streams have ended after {} tokens of {}", n_emitted_,
            n_tokens);
      pump();
    }
  }
  void pump_until_done() {
    while (deployment_.journal().n_live() > 0) pump();
  }

  std::size_t n_live_on(RankId rank) const { return deployment_.journal().n_on(rank); }
  const std::map<RequestId, std::vector<TokenId>>& streams() const { return streams_; }
  std::size_t size() const { return coordinator().active_epoch()->members.size(); }
  std::size_t n_emitted() const { return n_emitted_; }
  std::uint64_t n_tokens_copied() const {
    std::uint64_t n = 0;
    for (const auto& [member, moves] : moves_) n += moves.n_tokens_copied;
    return n;
  }

 private:
  static Time now() { return std::chrono::steady_clock::now(); }
  const cluster::Coordinator& coordinator() const { return deployment_.coordinator(); }

  void hear(const FromRank& message) {
    if (const auto* output = std::get_if<cluster::StepOutput>(&message); output && output->stats)
      moves_[output->member] = output->stats->kv_moves;
    if (const auto* report = std::get_if<cluster::RankReport>(&message))
      moves_[report->member] = report->stats.kv_moves;
    deployment_.hear(message, now(), effects_);
    carry_out();
  }
  void end(const Member& member, const std::string& how) {
    ranks_.erase(member);
    deployment_.tell(deployment::RankEnded{{member, how}, {}}, now(), effects_);
    carry_out();
  }

  void carry_out() {
    effects_.carry_out([this](const auto& effect) { execute(effect); });
  }

  template <typename Effect>
  void execute(const Effect&) {}  // for people, or about time: nobody is watched here
  void execute(const cluster::StartRank& start) {
    auto& rank = ranks_[start.member] =
        std::make_unique<ThreadRank>(start.member, mailbox_, step_time_budget_);
    const RankParts& parts = rank->parts();
    hear(cluster::RankHello{start.member,
                            parts.link->address(),
                            parts.kv_memory->address(),
                            parts.limits.n_blocks,
                            parts.limits.block_size,
                            parts.limits.max_num_seqs,
                            {}});
  }
  void execute(const cluster::Send& send) {
    const auto found = ranks_.find(send.to);
    if (found == ranks_.end()) return;  // it has ended since
    ThreadRank& rank = *found->second;
    if (const auto* prepare = std::get_if<cluster::Prepare>(&send.message)) {
      rank.tell(prepared(send.to, *prepare));
      return hear(cluster::RankPrepared{send.to, prepare->plan.epoch, 0});
    }
    if (const auto* freeze = std::get_if<cluster::Freeze>(&send.message)) return rank.freeze(freeze->ballot);
    if (std::holds_alternative<cluster::Release>(send.message)) return end(send.to, "exit code 0");
    rank.tell(send.message);
  }
  void execute(const deployment::EmitToken& token) {
    streams_[token.request].push_back(token.token);
    ++n_emitted_;
  }
  void execute(const cluster::GroupLost& lost) { CHECK(false, "{}", lost.error); }

  EpochPrepared prepared(const Member& self, const cluster::Prepare& prepare) {
    const std::vector<Member>& members = prepare.plan.members;
    if (std::find(members.begin(), members.end(), self) == members.end())
      return {prepare.plan.epoch, nullptr};
    std::vector<exchange::MemberAddress> addresses;
    for (std::size_t i = 0; i < members.size(); ++i) {
      addresses.push_back({members[i], prepare.addresses[i]});
    }
    ThreadRank& rank = *ranks_.at(self);
    auto built = rank.loader().prepare(prepare.plan, addresses);
    CHECK(built.has_value(), "{}", built.error().message());
    for (std::size_t i = 0; i < members.size(); ++i)
      if (members[i] != self) rank.parts().kv_peers->add({members[i], prepare.kv_addresses[i]});
    return {prepare.plan.epoch, built->view};
  }

  const Duration step_time_budget_;
  Mailbox mailbox_;
  deployment::Deployment deployment_;
  deployment::EffectQueue effects_;
  std::map<Member, std::unique_ptr<ThreadRank>> ranks_;
  std::map<RequestId, std::vector<TokenId>> streams_;
  std::map<Member, cluster::KvMoves> moves_;  // as each rank said last
  RequestId next_request_{1};
  std::size_t n_emitted_ = 0, n_operations_ = 0;
};

constexpr std::size_t kStreams = 8, kTokens = 150;

void submit_load(ThreadGroup& group, std::uint64_t seed) {
  Random random(seed);
  for (std::size_t i = 0; i < kStreams; ++i) {
    std::vector<TokenId> prompt(1 + random.below(60));
    for (TokenId& token : prompt) token = static_cast<TokenId>(random.below(256));
    group.submit(std::move(prompt), kTokens, i % 2 == 0 ? 0.0f : 0.9f, random.next());
  }
}

// What every change of the size meets: streams that began just before it, however long the last one took.
void submit_load_and_begin(ThreadGroup& group, std::uint64_t seed) {
  submit_load(group, seed);
  group.pump_until_emitted(group.n_emitted() + 60);
}

// One rank that never changes, given so many loads: what every other deployment's streams must be.
void run_undisturbed(ThreadGroup& undisturbed, std::uint64_t seed, std::size_t n_loads) {
  for (std::size_t i = 0; i < n_loads; ++i) submit_load(undisturbed, seed + i);
  undisturbed.pump_until_done();
}

TEST(ElasticDeployment, StreamsAreTheSameWhileTheSizeChanges) {
  std::uint64_t seed = 20261123;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  ThreadGroup undisturbed(1);
  run_undisturbed(undisturbed, seed, 5);

  ThreadGroup elastic(1);
  for (const std::size_t size : {2, 4, 3, 1, 2}) {
    submit_load_and_begin(elastic, seed++);
    const cluster::Operation operation = elastic.scale(size);
    EXPECT_EQ(operation.phase, cluster::Phase::kDone) << operation.error.value_or("");
    EXPECT_EQ(elastic.size(), size);
  }
  elastic.pump_until_done();
  EXPECT_EQ(elastic.streams().size(), 5 * kStreams);
  EXPECT_EQ(elastic.streams(), undisturbed.streams());
}

// Chunks follow times that were measured, so that no two runs cut a prompt alike.
TEST(ElasticDeployment, StreamsAreTheSameHoweverTimeCutsTheirPrompts) {
  const std::uint64_t seed = 11;
  ThreadGroup undisturbed(1);
  run_undisturbed(undisturbed, seed, 3);
  for (const std::int64_t budget_us : {1, 300, 1000, 3000}) {
    SCOPED_TRACE(testing::Message() << budget_us << " us");
    ThreadGroup cut(2, std::chrono::microseconds(budget_us));
    std::uint64_t load = seed;
    for (const std::size_t size : {3, 1, 2}) {
      submit_load_and_begin(cut, load++);
      EXPECT_EQ(cut.scale(size).phase, cluster::Phase::kDone);
    }
    cut.pump_until_done();
    EXPECT_EQ(cut.streams(), undisturbed.streams());
  }
}

TEST(ElasticDeployment, RanksThatDieAreReplacedAndStreamsStayTheSame) {
  const std::uint64_t seed = 8;
  ThreadGroup undisturbed(1);
  run_undisturbed(undisturbed, seed, 4);

  ThreadGroup dying(3);
  std::uint64_t load = seed;
  for (const std::uint32_t victim : {1u, 0u, 2u, 1u}) {
    submit_load_and_begin(dying, load++);
    dying.lose(RankId(victim));
    while (dying.is_changing()) dying.pump();
    EXPECT_EQ(dying.size(), 3u);
  }
  dying.pump_until_done();
  EXPECT_EQ(dying.streams(), undisturbed.streams());
  EXPECT_GT(dying.n_tokens_copied(), 0u) << "of ranks that were killed";
}

TEST(ElasticDeployment, ALeaversStreamsMoveAndStayTheSame) {
  const std::uint64_t seed = 7;
  ThreadGroup undisturbed(1);
  run_undisturbed(undisturbed, seed, 2);

  ThreadGroup elastic(3);
  submit_load_and_begin(elastic, seed);
  const std::size_t n_on_leaver = elastic.n_live_on(RankId(0));
  ASSERT_GT(n_on_leaver, 0u);
  EXPECT_EQ(elastic.scale(2, {RankId(0)}).moved_requests, n_on_leaver);
  submit_load_and_begin(elastic, seed + 1);
  EXPECT_EQ(elastic.scale(2, {RankId(1), RankId(2)}).phase, cluster::Phase::kDone) << "both replaced";
  elastic.pump_until_done();
  EXPECT_GT(elastic.n_tokens_copied(), 0u);
  EXPECT_EQ(elastic.streams(), undisturbed.streams());
}

}  // namespace
}  // namespace concertina::worker
