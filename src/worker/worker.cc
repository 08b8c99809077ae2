#include "worker/worker.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <future>
#include <thread>

#include "base/background.h"
#include "base/log.h"
#include "base/test_points.h"
#include "checkpoint/error.h"
#include "kernels/instruction_set.h"
#include "model/error.h"
#include "transport/error.h"
#include "worker/control_link.h"
#include "worker/epoch_loader.h"
#include "worker/frames.h"
#include "worker/identity.h"
#include "worker/rank_parts.h"
#include "worker/step_loop.h"

namespace concertina::worker {

namespace {

constexpr std::size_t kInboxCapacity = 1 << 16;
constexpr Duration kProgressInterval = std::chrono::seconds(1);
constexpr Duration kBusyBeat = std::chrono::milliseconds(10), kSlowestBeat = std::chrono::milliseconds(250);
constexpr int kBeatsPerTimeout =
    8;  // of an idle rank; eight of them at four beats a second cost half a percent of a core

RankOptions options_of(const transport::Configure& configure) {
  RankOptions options{.rank = RankId(configure.rank()),
                      .incarnation = Incarnation(configure.incarnation()),
                      .model_path = configure.model_path(),
                      .load_format = configure.load_format(),
                      .checkpoint_fingerprint = configure.checkpoint_fingerprint(),
                      .dummy_seed = configure.seed(),
                      .kv_cache_bytes = configure.kv_cache_bytes()};
  options.config_json = configure.config_json();
  if (configure.weights_pid() != 0)
    options.weights_path = fmt::format("/proc/{}/fd/{}", configure.weights_pid(), configure.weights_fd());
  options.limits = {.max_num_seqs = configure.max_num_seqs(),
                    .max_num_batched_tokens = configure.max_num_batched_tokens(),
                    .max_model_len = configure.max_model_len(),
                    .block_size = configure.block_size(),
                    .n_blocks = 0,
                    .replay_chunk_tokens = configure.replay_chunk_tokens()};
  if (configure.in_background()) options.start = RankOptions::Start::kInTheBackground;
  options.max_ranks = configure.max_ranks();
  options.peer_timeout = std::chrono::milliseconds(configure.peer_timeout_ms());
  options.step_time_budget = std::chrono::milliseconds(configure.step_time_budget_ms());
  options.n_threads = std::max(1u, configure.threads_per_rank());
  options.cores.assign(configure.cores().begin(), configure.cores().end());
  return options;
}

// When memory runs out the kernel ends a rank, which is replaced, and not the front, with which all ends.
// Raising the score needs no privilege; it is not lowered for a front that was raised already.
void be_the_victim() {
  constexpr int kMore = 500, kMost = 1000;
  int score = 0;
  std::ifstream("/proc/self/oom_score_adj") >> score;
  std::ofstream("/proc/self/oom_score_adj") << std::min(score + kMore, kMost);
}

// One rank: its threads and what passes between them.
class Worker {
 public:
  explicit Worker(int control_fd)
      : link_(
            control_fd, [this](const transport::Frame& frame) { on_frame(frame); },
            [](const Error&) { _exit(1); }) {
  }  // the front is gone: nothing of this rank is of use to anybody

  int run() {
    link_.set_pulse({.beat = [this] { return heartbeat(); }, .interval = [this] { return beat_interval(); }});
    link_.on_terminate([this] { ask_to_leave(); });
    link_.start();
    const Status served = serve();
    if (!served) {
      transport::Frame failed;
      failed.mutable_failed()->set_error(served.error().message());
      link_.send(std::move(failed));
    }
    loader_.stop();
    if (loader_thread_.joinable()) loader_thread_.join();
    link_.stop();
    return served ? 0 : 1;
  }

 private:
  Status serve() {
    const transport::Configure configure = configured_.get_future().get();
    spdlog::set_level(spdlog::level::from_str(configure.log_level()));
    ASSIGN_OR_RETURN(const kernels::InstructionSet set,
                     kernels::parse_instruction_set(configure.instruction_set()));
    kernels::select_instruction_set(set);
    options_ = options_of(configure);
    ASSIGN_OR_RETURN(options_.quantization, model::parse_quantization(configure.quantization()));
    ASSIGN_OR_RETURN(options_.activations, kernels::parse_activation_type(configure.activation_dtype()));
    RETURN_IF_ERROR(build_parts());
    epoch_loader_ = std::make_unique<EpochLoader>(parts_, options_.rank);
    loader_.post([this] {  // before any epoch's experts
      prefault(*parts_.model, [this] { ++n_loaded_; });
    });
    loader_thread_ = std::thread([this] {
      if (options_.start == RankOptions::Start::kInTheBackground) work_in_the_background();
      loader_.run();
    });
    if (!options_.cores.empty()) pin_this_thread(options_.cores.front());  // after the others were started
    at_test_point(TestPoint::kHello);
    say_hello();
    StepLoop loop({.model = *parts_.model,
                   .kv_cache = *parts_.kv_cache,
                   .workspace = *parts_.workspace,
                   .pool = *parts_.pool,
                   .scheduler = *parts_.scheduler,
                   .budget = *parts_.budget,
                   .exchange = *parts_.steps,
                   .experts = *parts_.experts,
                   .inbox = inbox_,
                   .send = [this](transport::Frame&& frame) { link_.send(std::move(frame)); },
                   .discard =
                       [this](std::shared_ptr<const exchange::EpochView> view) {
                         loader_.post([view = std::move(view)]() mutable { view.reset(); });
                       },
                   .step_is_open = &step_is_open_});
    const Status ended = loop.run();
    at_test_point(TestPoint::kReleased);
    return ended;
  }

  // On a thread of its own where it must give way: the step thread, which comes back from that only with a
  // privilege, waits for it.
  Status build_parts() {
    auto pool = std::make_unique<ThreadPool>(options_.n_threads, options_.cores);
    const auto build = [&]() -> Status {
      ASSIGN_OR_RETURN(parts_, make_rank_parts(
                                   options_, [this](const exchange::Suspicion& s) { report(s); },
                                   [this] { ++n_loaded_; }, std::move(pool)));
      return {};
    };
    if (options_.start == RankOptions::Start::kAtOnce) return build();
    Status built;
    std::thread([&] {
      work_in_the_background();
      built = build();
    }).join();
    return built;
  }

  // On the link's thread. Configure comes first; what follows it waits for Hello, so parts_ is there.
  void on_frame(const transport::Frame& frame) {
    if (frame.has_configure()) return configured_.set_value(frame.configure());
    if (frame.has_release() && !said_hello_) _exit(0);  // the front ends while this rank still loads
    if (frame.has_cancel_prepare()) obsolete_epoch_ = frame.cancel_prepare().epoch();
    if (frame.has_prepare()) {
      obsolete_epoch_ = frame.prepare().epoch() - 1;  // a load for an earlier one is of no use any more
      loader_.post([this, prepare = frame.prepare()] { this->prepare(prepare); });
      return;
    }
    auto message = inbox_message_of(frame);
    if (!message) return spdlog::warn("the front sent a message this rank does not know; ignored");
    // Whoever is released stops at once, also in the middle of a step whose peers are leaving too.
    // Frozen ones too: the abort comes before the message, which takes it back.
    if (std::holds_alternative<Leave>(*message) || std::holds_alternative<Freeze>(*message))
      parts_.steps->abort();
    tell(std::move(*message));
  }

  void tell(InboxMessage message) {
    inbox_.push(std::move(message));
    parts_.steps->ring_self();
  }

  // On the loader's thread.
  void prepare(const transport::Prepare& prepare) {
    ++n_loaded_;
    at_test_point(TestPoint::kLoading);
    const cluster::EpochPlan plan = plan_of(prepare);
    const bool is_member =
        std::any_of(plan.members.begin(), plan.members.end(), [this](const cluster::Member& member) {
          return member == cluster::Member{options_.rank, options_.incarnation};
        });
    transport::Frame answer;
    if (!is_member) {  // a leaver has nothing to build
      tell(EpochPrepared{plan.epoch, nullptr});
      answer.mutable_prepared()->set_epoch(plan.epoch.value());
      return link_.send(std::move(answer));
    }
    last_progress_ = std::chrono::steady_clock::now();  // a load that is over sooner needs no line
    auto prepared =
        epoch_loader_->prepare(plan, addresses_of(prepare),
                               [this, epoch = prepare.epoch()](std::uint64_t done, std::uint64_t total) {
                                 ++n_loaded_;
                                 report_progress(done, total);
                                 return obsolete_epoch_ < epoch ? KeepLoading::kYes : KeepLoading::kNo;
                               });
    if (!prepared) {
      answer.mutable_prepare_failed()->set_epoch(plan.epoch.value());
      answer.mutable_prepare_failed()->set_error(prepared.error().message());
      answer.mutable_prepare_failed()->set_peer_unreachable(
          prepared.error().is(transport::TransportError::kPeerUnreachable));
      answer.mutable_prepare_failed()->set_no_room(
          prepared.error().is(model::ModelError::kOutOfMemory) ||
          prepared.error().is(checkpoint::CheckpointError::kOutOfMemory));
      return link_.send(std::move(answer));
    }
    if (!std::exchange(is_beside_steps_, true)) work_in_the_background();  // what follows the first epoch
    tell(EpochPrepared{plan.epoch, std::move(prepared->view)});
    answer.mutable_prepared()->set_epoch(plan.epoch.value());
    answer.mutable_prepared()->set_moved_bytes(prepared->moved_bytes);
    link_.send(std::move(answer));
  }

  void report_progress(std::uint64_t loaded_bytes, std::uint64_t total_bytes) {
    const Time now = std::chrono::steady_clock::now();
    if (now - last_progress_ < kProgressInterval) return;
    last_progress_ = now;
    transport::Frame frame;
    frame.mutable_progress()->set_loaded_bytes(loaded_bytes);
    frame.mutable_progress()->set_total_bytes(total_bytes);
    link_.send(std::move(frame));
  }

  void report(const exchange::Suspicion& suspicion) {
    transport::Frame frame;
    transport::Suspect& suspect = *frame.mutable_suspect();
    suspect.set_rank(suspicion.rank.value());
    suspect.set_epoch(suspicion.epoch.value());
    suspect.set_step(suspicion.step.value());
    suspect.set_exchange(suspicion.exchange);
    suspect.set_what(suspicion.what);
    link_.send(std::move(frame));
  }

  // On the link's thread.
  transport::Frame heartbeat() {
    transport::Frame frame;
    frame.mutable_heartbeat()->set_progress(said_hello_ ? parts_.steps->n_exchanges_completed() : 0);
    frame.mutable_heartbeat()->set_loaded(n_loaded_);
    return frame;
  }

  Duration beat_interval() const {
    if (!said_hello_ || step_is_open_.load(std::memory_order_relaxed)) return kBusyBeat;
    return std::clamp<Duration>(options_.peer_timeout / kBeatsPerTimeout, kBusyBeat, kSlowestBeat);
  }

  void ask_to_leave() {
    transport::Frame frame;
    frame.mutable_leave_asked();
    link_.send(std::move(frame));
  }

  void say_hello() {
    transport::Frame frame;
    transport::Hello& hello = *frame.mutable_hello();
    hello.set_rank(options_.rank.value());
    hello.set_incarnation(options_.incarnation.value());
    const exchange::LinkAddress address = parts_.link->address();
    hello.mutable_link()->set_kind(static_cast<std::uint32_t>(address.kind));
    hello.mutable_link()->set_bytes(address.bytes);
    const BuildIdentity identity = own_identity();
    hello.set_version(identity.version);
    hello.set_instruction_set(identity.instruction_set);
    hello.set_build_id(identity.build_id);
    hello.set_kernel_digest(identity.kernel_digest);
    hello.set_kv_blocks_total(parts_.limits.n_blocks);
    said_hello_ = true;
    link_.send(std::move(frame));
  }

  RankOptions options_;
  RankParts parts_;
  Inbox inbox_{kInboxCapacity};
  std::promise<transport::Configure> configured_;
  std::atomic<bool> said_hello_{false}, step_is_open_{false};
  std::atomic<std::uint64_t> obsolete_epoch_{0};  // loads up to this one need not be finished
  std::atomic<std::uint64_t> n_loaded_{0};        // weights loaded, epochs begun
  transport::EventLoop loader_;
  std::thread loader_thread_;
  std::unique_ptr<EpochLoader> epoch_loader_;  // the loader's, as the next two
  bool is_beside_steps_ = false;
  Time last_progress_{};
  ControlLink link_;  // last: its thread uses all of the above
};

}  // namespace

int run_worker(int control_fd, pid_t parent_pid) {
  // The kernel kills this process when the front's thread that started it ends, which is when the front ends;
  // if that happened before this line, getppid() tells.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent_pid) return 1;
  prctl(PR_SET_NAME, "concertina");  // the kernel took it from the path of the binary: "exe"
  be_the_victim();
  wake_up_at_once();
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPWR, SIGPIPE}) std::signal(number, SIG_IGN);
  return Worker(control_fd).run();
}

}  // namespace concertina::worker
