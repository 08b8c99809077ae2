// A whole deployment in one process: the real coordinator, journal, step loops and exchange memory; ranks are
// threads and the front is this test's thread. What tests/ does with processes over HTTP, small enough for a
// thread sanitizer.
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <thread>

#include "base/random.h"
#include "cluster/coordinator.h"
#include "front/journal.h"
#include "worker/epoch_loader.h"
#include "worker/frames.h"
#include "worker/rank_parts.h"
#include "worker/step_loop.h"

namespace concertina::worker {
namespace {

using cluster::Member;

constexpr const char* kModel = CONCERTINA_SOURCE_DIR "/tests/fixtures/qwen3_moe";
constexpr std::size_t kMaxSize = 4;

struct FromRank {
  Member from;
  transport::Frame frame;
};

class Mailbox {
 public:
  void push(FromRank message) {
    std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    arrived_.notify_one();
  }
  FromRank pop() {
    std::unique_lock lock(mutex_);
    const bool in_time =
        arrived_.wait_for(lock, std::chrono::seconds(120), [this] { return !messages_.empty(); });
    CHECK(in_time, "no rank said anything for 120 s");
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
    RankOptions options{.rank = member.rank,
                        .incarnation = member.incarnation,
                        .model_path = kModel,
                        .load_format = "auto",
                        .kv_cache_bytes = 4 << 20};
    options.limits = {.max_num_seqs = 8,
                      .max_num_batched_tokens = 32,
                      .max_model_len = 256,
                      .block_size = 4,
                      .n_blocks = 0,
                      .replay_chunk_tokens = 8};
    options.max_ranks = 2 * kMaxSize;
    options.peer_timeout = std::chrono::seconds(60);
    options.step_time_budget = step_time_budget;
    auto parts = make_rank_parts(options, [](const exchange::Suspicion& suspicion) {
      CHECK(false, "rank {} does not answer: {}", suspicion.rank, suspicion.what);
    });
    CHECK(parts.has_value(), "{}", parts.error().message());
    parts_ = std::move(*parts);
    thread_ = std::thread([this, &mailbox] {
      StepLoop loop({.model = *parts_.model,
                     .kv_cache = *parts_.kv_cache,
                     .workspace = *parts_.workspace,
                     .pool = *parts_.pool,
                     .scheduler = *parts_.scheduler,
                     .budget = *parts_.budget,
                     .exchange = *parts_.steps,
                     .experts = *parts_.experts,
                     .inbox = inbox_,
                     .send =
                         [&](transport::Frame&& frame) {
                           mailbox.push({member_, std::move(frame)});
                         },
                     .discard = [](std::shared_ptr<const exchange::EpochView>) {}});
      const Status ended = loop.run();
      CHECK(ended.has_value(), "rank {}: {}", member_.rank, ended.error().message());
    });
  }
  ~ThreadRank() {
    parts_.steps->abort();
    tell(Leave{});
    thread_.join();
  }
  void freeze(Ballot ballot) {
    parts_.steps->abort();
    tell(Freeze{ballot});
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

// The front's role. Single-threaded: every decision is the coordinator's or the journal's.
class Deployment {
 public:
  explicit Deployment(std::size_t size, Duration step_time_budget = {})
      : step_time_budget_(step_time_budget),
        coordinator_({.n_moe_layers = 2, .n_experts = 8, .max_size = kMaxSize, .initial_size = size},
                     Incarnation(1)),
        journal_({.max_num_seqs = 8}) {
    execute(coordinator_.bootstrap(now()));
    while (!coordinator_.ready()) pump();
  }

  RequestId submit(std::vector<TokenId> prompt, std::size_t n_tokens, float temperature, std::uint64_t seed) {
    scheduler::Request request;
    request.id = next_request_;
    next_request_ = next_request_.next();
    request.n_prompt_tokens = prompt.size();
    request.tokens = std::move(prompt);
    request.sampling.temperature = temperature;
    request.sampling.seed = seed;
    request.stop.max_tokens = n_tokens;
    request.stop.ignore_eos = true;
    const RequestId id = request.id;
    front::JournalActions actions;
    journal_.submit(std::move(request), front::ClientId(1), actions);
    execute(actions);
    return id;
  }

  // Asks for a size and handles what ranks say until the operation has ended.
  cluster::Operation scale(std::size_t size, std::vector<RankId> retire = {}) {
    const std::string id = "op-" + std::to_string(++n_operations_);
    auto reply = coordinator_.request_scale({id, size, std::move(retire), std::chrono::seconds(100)}, now());
    CHECK(reply.has_value(), "{}", reply.error().message());
    execute(reply->actions);
    while (!cluster::is_final(coordinator_.find_operation(id)->phase)) pump();
    return *coordinator_.find_operation(id);
  }

  // The rank ends in the middle of whatever it does. Its memory stays mapped where peers read it.
  void lose(RankId id) {
    for (const Member& member : coordinator_.active_epoch()->members) {
      if (member.rank != id) continue;
      const Member lost = member;
      ranks_.erase(lost);
      return handle(cluster::RankExited{lost, "signal 9"});
    }
  }
  bool is_changing() const { return coordinator_.running_operation() != nullptr; }

  void pump() {
    FromRank message = mailbox_.pop();
    const Member from = message.from;
    if (message.frame.has_flipped()) {
      handle(cluster::RankFlipped{from, Epoch(message.frame.flipped().epoch()), 0});
    } else if (message.frame.has_frozen()) {
      handle(cluster::RankFrozen{from, Ballot(message.frame.frozen().ballot())});
    } else if (message.frame.has_step_output()) {
      front::JournalActions actions;
      for (const transport::Output& out : message.frame.step_output().outputs()) {
        journal_.on_output(from.rank, RequestId(out.request()), Attempt(out.attempt()), out.position(),
                           out.token(), static_cast<scheduler::FinishReason>(out.finish_reason()), actions);
      }
      for (const transport::CaughtUp& up : message.frame.step_output().caught_up()) {
        journal_.on_caught_up(from.rank, RequestId(up.request()), Attempt(up.attempt()), actions);
      }
      execute(actions);
    }
  }

  void pump_until_emitted(std::size_t n_tokens) {
    while (n_emitted_ < n_tokens) {
      CHECK(journal_.n_live() > 0, "all streams have ended after {} tokens of {}", n_emitted_, n_tokens);
      pump();
    }
  }
  void pump_until_done() {
    while (journal_.n_live() > 0) pump();
  }

  std::size_t n_live_on(RankId rank) const { return journal_.n_on(rank); }
  const std::map<RequestId, std::vector<TokenId>>& streams() const { return streams_; }
  std::size_t size() const { return coordinator_.active_epoch()->members.size(); }
  std::size_t n_emitted() const { return n_emitted_; }

 private:
  static Time now() { return std::chrono::steady_clock::now(); }
  void handle(const cluster::Event& event) { execute(coordinator_.handle(event, now())); }

  void execute(const cluster::Actions& actions) {
    std::vector<cluster::Event> events;  // what happened meanwhile: told after the actions
    for (const cluster::Action& action : actions) {
      if (const auto* start = std::get_if<cluster::StartRank>(&action)) {
        ranks_[start->member] = std::make_unique<ThreadRank>(start->member, mailbox_, step_time_budget_);
        events.push_back(cluster::RankHello{start->member});
      } else if (const auto* prepare = std::get_if<cluster::SendPrepare>(&action)) {
        events.push_back(this->prepare(*prepare));
      } else if (const auto* commit = std::get_if<cluster::SendCommit>(&action)) {
        if (ranks_.contains(commit->to))
          ranks_.at(commit->to)->tell(CommitEpoch{commit->from, commit->to_epoch});
      } else if (const auto* enter = std::get_if<cluster::SendEnter>(&action)) {
        ranks_.at(enter->to)->tell(EnterEpoch{enter->epoch, enter->ballot});
      } else if (const auto* freeze = std::get_if<cluster::SendFreeze>(&action)) {
        ranks_.at(freeze->to)->freeze(freeze->ballot);
      } else if (const auto* fence = std::get_if<cluster::FenceRank>(&action)) {
        front::JournalActions journal_actions;
        journal_.fence(fence->member.rank, journal_actions);
        execute(journal_actions, events);
      } else if (const auto* release = std::get_if<cluster::SendRelease>(&action)) {
        ranks_.erase(release->to);
        events.push_back(cluster::RankExited{release->to, "exit code 0"});
      } else if (const auto* drain = std::get_if<cluster::BeginDrain>(&action)) {
        front::JournalActions journal_actions;
        journal_.begin_drain(drain->leavers, journal_actions);
        execute(journal_actions, events);
      } else if (const auto* active = std::get_if<cluster::EpochActive>(&action)) {
        std::vector<RankId> members;
        for (const Member& member : active->plan.members) members.push_back(member.rank);
        front::JournalActions journal_actions;
        journal_.set_members(members, journal_actions);
        execute(journal_actions, events);
      } else if (const auto* lost = std::get_if<cluster::GroupLost>(&action)) {
        CHECK(false, "{}", lost->error);
      }
    }
    for (const cluster::Event& event : events) handle(event);
  }

  cluster::Event prepare(const cluster::SendPrepare& prepare) {
    ThreadRank& rank = *ranks_.at(prepare.to);
    EpochPrepared prepared{prepare.plan.epoch, nullptr};
    const auto& members = prepare.plan.members;
    if (std::find(members.begin(), members.end(), prepare.to) != members.end()) {
      std::vector<exchange::MemberAddress> addresses;
      for (const Member& member : members) {
        addresses.push_back({member, ranks_.at(member)->parts().link->address()});
      }
      auto built = rank.loader().prepare(prepare.plan, addresses);
      CHECK(built.has_value(), "{}", built.error().message());
      prepared.view = built->view;
    }
    rank.tell(std::move(prepared));
    return cluster::RankPrepared{prepare.to, prepare.plan.epoch, 0};
  }

  void execute(const front::JournalActions& actions) {
    std::vector<cluster::Event> events;
    execute(actions, events);
    for (const cluster::Event& event : events) handle(event);
  }

  ThreadRank& rank(RankId id) {
    for (auto& [member, rank] : ranks_) {
      if (member.rank == id) return *rank;
    }
    CHECK(false, "rank {} does not run", id);
    std::abort();
  }

  void execute(const front::JournalActions& actions, std::vector<cluster::Event>& events) {
    for (const front::JournalAction& action : actions) {
      if (const auto* assign = std::get_if<front::SendAssign>(&action)) {
        scheduler::Request request = *journal_.find(assign->request);
        request.attempt = assign->attempt;
        request.mode = assign->mode;
        rank(assign->to).tell(AssignRequest{std::move(request)});
      } else if (const auto* feed = std::get_if<front::SendFeed>(&action)) {
        rank(feed->to).tell(FeedReplay{feed->request, {feed->token}});
      } else if (const auto* take_over = std::get_if<front::SendTakeOver>(&action)) {
        const scheduler::Request& request = *journal_.find(take_over->request);
        rank(take_over->to)
            .tell(
                TakeOverReplay{take_over->request,
                               take_over->attempt,
                               {request.tokens.begin() + static_cast<std::ptrdiff_t>(request.n_prompt_tokens),
                                request.tokens.end()}});
      } else if (const auto* drop = std::get_if<front::SendDrop>(&action)) {
        rank(drop->to).tell(DropRequest{drop->request});
      } else if (const auto* token = std::get_if<front::EmitToken>(&action)) {
        streams_[token->request].push_back(token->token);
        ++n_emitted_;
      } else if (const auto* drained = std::get_if<front::Drained>(&action)) {
        events.push_back(cluster::LeaversDrained{drained->n_moved});
      }
    }
  }

  const Duration step_time_budget_;
  Mailbox mailbox_;
  cluster::Coordinator coordinator_;
  front::Journal journal_;
  std::map<Member, std::unique_ptr<ThreadRank>> ranks_;
  std::map<RequestId, std::vector<TokenId>> streams_;
  RequestId next_request_{1};
  std::size_t n_emitted_ = 0, n_operations_ = 0;
};

constexpr std::size_t kStreams = 8, kTokens = 150;

void submit_load(Deployment& deployment, std::uint64_t seed) {
  Random random(seed);
  for (std::size_t i = 0; i < kStreams; ++i) {
    std::vector<TokenId> prompt(1 + random.below(60));
    for (TokenId& token : prompt) token = static_cast<TokenId>(random.below(256));
    deployment.submit(std::move(prompt), kTokens, i % 2 == 0 ? 0.0f : 0.9f, random.next());
  }
}

// What every change of the size meets: streams that began just before it, however long the last one took.
void submit_load_and_begin(Deployment& deployment, std::uint64_t seed) {
  submit_load(deployment, seed);
  deployment.pump_until_emitted(deployment.n_emitted() + 60);
}

// One rank that never changes, given so many loads: what every other deployment's streams must be.
void run_undisturbed(Deployment& undisturbed, std::uint64_t seed, std::size_t n_loads) {
  for (std::size_t i = 0; i < n_loads; ++i) submit_load(undisturbed, seed + i);
  undisturbed.pump_until_done();
}

TEST(ElasticDeployment, StreamsAreTheSameWhileTheSizeChanges) {
  std::uint64_t seed = 20261123;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Deployment undisturbed(1);
  run_undisturbed(undisturbed, seed, 5);

  Deployment elastic(1);
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
  Deployment undisturbed(1);
  run_undisturbed(undisturbed, seed, 3);
  for (const std::int64_t budget_us : {1, 300, 1000, 3000}) {
    SCOPED_TRACE(testing::Message() << budget_us << " us");
    Deployment cut(2, std::chrono::microseconds(budget_us));
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
  Deployment undisturbed(1);
  run_undisturbed(undisturbed, seed, 4);

  Deployment dying(3);
  std::uint64_t load = seed;
  for (const std::uint32_t victim : {1u, 0u, 2u, 1u}) {
    submit_load_and_begin(dying, load++);
    dying.lose(RankId(victim));
    while (dying.is_changing()) dying.pump();
    EXPECT_EQ(dying.size(), 3u);
  }
  dying.pump_until_done();
  EXPECT_EQ(dying.streams(), undisturbed.streams());
}

TEST(ElasticDeployment, ALeaversStreamsMoveAndStayTheSame) {
  const std::uint64_t seed = 7;
  Deployment undisturbed(1);
  run_undisturbed(undisturbed, seed, 2);

  Deployment elastic(3);
  submit_load_and_begin(elastic, seed);
  const std::size_t n_on_leaver = elastic.n_live_on(RankId(0));
  ASSERT_GT(n_on_leaver, 0u);
  EXPECT_EQ(elastic.scale(2, {RankId(0)}).moved_requests, n_on_leaver);
  submit_load_and_begin(elastic, seed + 1);
  EXPECT_EQ(elastic.scale(2, {RankId(1), RankId(2)}).phase, cluster::Phase::kDone) << "both replaced";
  elastic.pump_until_done();
  EXPECT_EQ(elastic.streams(), undisturbed.streams());
}

}  // namespace
}  // namespace concertina::worker
