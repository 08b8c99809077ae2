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
#include "model/error.h"
#include "transport/codec.h"
#include "transport/error.h"
#include "worker/control_link.h"
#include "worker/epoch_loader.h"
#include "worker/identity.h"
#include "worker/kv_prefault.h"
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
  options.kv_move_bytes_per_second = configure.kv_move_bytes_per_second();
  options.config_json = configure.config_json();
  if (configure.weights_pid() != 0)
    options.weights_path = fmt::format("/proc/{}/fd/{}", configure.weights_pid(), configure.weights_fd());
  options.gpu_memory_utilization = configure.gpu_memory_utilization();
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

// Of the members; what a front does not say is none.
std::vector<exchange::MemberAddress> of_members(const cluster::EpochPlan& plan,
                                                const std::vector<cluster::LinkAddress>& addresses) {
  std::vector<exchange::MemberAddress> members;
  for (std::size_t i = 0; i < plan.members.size(); ++i)
    members.push_back({plan.members[i], i < addresses.size() ? addresses[i] : cluster::LinkAddress{}});
  return members;
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
    inbox_.close();  // nobody reads it any more: a full one must not keep the threads that are waited for
    if (!served) send(cluster::RankFailed{self(), served.error().message()});
    loader_.stop();
    if (loader_thread_.joinable()) loader_thread_.join();
    link_.stop();
    if (!served && parts_.cuda) end_at_once();
    return served ? 0 : 1;
  }

 private:
  // A GPU that does not answer would keep whoever gives its memory back, for ever.
  [[noreturn]] static void end_at_once() {
    flush_log(std::chrono::milliseconds(200));
    std::_Exit(1);
  }

  Status serve() {
    const transport::Configure configure = configured_.get_future().get();
    spdlog::set_level(spdlog::level::from_str(configure.log_level()));
    options_ = options_of(configure);
    ASSIGN_OR_RETURN(options_.instruction_set, device::parse_instruction_set(configure.instruction_set()));
    ASSIGN_OR_RETURN(options_.quantization, model::parse_quantization(configure.quantization()));
    ASSIGN_OR_RETURN(options_.activations, kernels::parse_activation_type(configure.activation_dtype()));
    if (!configure.device().empty() && configure.device() != "cpu") {
      ASSIGN_OR_RETURN(options_.cuda_device, device::cuda::parse_device(configure.device()));
    }
    RETURN_IF_ERROR(build_parts());
    epoch_loader_ = std::make_unique<EpochLoader>(parts_, options_.rank);
    kv_prefault_ = std::make_unique<KvPrefault>(*parts_.kv_memory);
    if (!parts_.cuda) loader_.post([this] { prefault_weights(); });  // before any epoch's experts
    loader_thread_ = std::thread([this] {
      if (options_.start == RankOptions::Start::kInTheBackground) work_in_the_background();
      loader_.run();
    });
    StepLoop loop({.self = self(),
                   .rank = parts_,
                   .inbox = inbox_,
                   .send = [this](const cluster::FromRank& message) { send(message); },
                   .discard =
                       [this](std::shared_ptr<const exchange::EpochView> view) {
                         loader_.post([view = std::move(view)]() mutable { view.reset(); });
                       },
                   .forget_kv =
                       [this](const cluster::Member& member) {
                         loader_.post([this, member] { parts_.kv_peers->forget(member); });
                       },
                   .step_is_open = &step_is_open_});
    if (!options_.cores.empty()) pin_this_thread(options_.cores.front());  // after the others were started
    at_test_point(TestPoint::kHello);
    say_hello();
    const Status ended = loop.run();
    at_test_point(TestPoint::kReleased);
    return ended;
  }

  // On a thread of its own where it must give way: the step thread, which comes back from that only with a
  // privilege, waits for it.
  Status build_parts() {
    auto stream =
        std::make_unique<device::Stream>(options_.n_threads, options_.cores, options_.instruction_set);
    const auto build = [&]() -> Status {
      ASSIGN_OR_RETURN(parts_, make_rank_parts(
                                   options_, [this](const exchange::Suspicion& s) { report(s); },
                                   [this] { ++n_loaded_; }, std::move(stream)));
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

  // On the link's thread. Configure comes first; what is for members follows Hello, so parts_ is there then.
  void on_frame(const transport::Frame& frame) {
    if (frame.has_configure()) return configured_.set_value(frame.configure());
    auto message = transport::to_rank_of(frame);
    if (!message) return spdlog::warn("the front sent {}; ignored", message.error().message());
    const bool is_release = std::holds_alternative<cluster::Release>(*message);
    if (is_release && !said_hello_) _exit(0);  // the front ends while this rank still loads
    if (const auto* cancel = std::get_if<cluster::CancelPrepare>(&*message))
      obsolete_epoch_ = cancel->epoch.value();
    if (auto* prepare = std::get_if<cluster::Prepare>(&*message)) {
      obsolete_epoch_ = prepare->plan.epoch.value() - 1;  // a load for an earlier one is of no use any more
      loader_.post([this, prepare = std::move(*prepare)] { this->prepare(prepare); });
      return;
    }
    // Whoever is released stops at once, also in the middle of a step whose peers are leaving too.
    // Frozen ones too: the abort comes before the message, which takes it back.
    if (said_hello_ && (is_release || std::holds_alternative<cluster::Freeze>(*message)))
      parts_.steps->abort();
    tell(std::move(*message));
  }

  void tell(InboxMessage message) {
    inbox_.push(std::move(message));
    // What is told of others (that one has ended) comes also while this rank still loads: the loop reads it
    // first.
    if (said_hello_) parts_.steps->ring_self();
  }

  // On the loader's thread.
  void prepare(const cluster::Prepare& prepare) {
    ++n_loaded_;
    at_test_point(TestPoint::kLoading);
    const cluster::EpochPlan& plan = prepare.plan;
    const bool is_member = std::find(plan.members.begin(), plan.members.end(), self()) != plan.members.end();
    if (!is_member) {  // a leaver has nothing to build
      tell(EpochPrepared{plan.epoch, nullptr});
      return send(cluster::RankPrepared{self(), plan.epoch});
    }
    last_progress_ = std::chrono::steady_clock::now();  // a load that is over sooner needs no line
    auto prepared =
        epoch_loader_->prepare(plan, of_members(plan, prepare.addresses),
                               [this, epoch = plan.epoch.value()](std::uint64_t done, std::uint64_t total) {
                                 ++n_loaded_;
                                 report_progress(done, total);
                                 return obsolete_epoch_ < epoch ? KeepLoading::kYes : KeepLoading::kNo;
                               });
    if (!prepared) return send(failure_of(plan.epoch, prepared.error()));
    for (const exchange::MemberAddress& peer : of_members(plan, prepare.kv_addresses))
      if (peer.member != self()) parts_.kv_peers->add(peer);
    if (!std::exchange(is_beside_steps_, true)) {  // what follows the first epoch
      work_in_the_background();
      loader_.post([this] { prefault_kv(); });
    }
    tell(EpochPrepared{plan.epoch, std::move(prepared->view)});
    send(cluster::RankPrepared{self(), plan.epoch, prepared->moved_bytes});
  }

  // On the loader's thread: what every rank holds.
  void prefault_weights() {
    std::uint64_t n_total = 0;
    parts_.model->for_each_weight([&](const tensor::Weight& weight) { n_total += weight.bytes(); });
    last_progress_ = std::chrono::steady_clock::now();
    prefault(*parts_.model, [this, n_total](std::uint64_t n_touched) {
      ++n_loaded_;
      report_progress(std::min(n_touched, n_total), n_total);  // scales of int8 are touched, too
    });
  }

  // On the loader's thread, between other work.
  void prefault_kv() {
    if (kv_prefault_->next() == KvPrefault::More::kYes) loader_.post([this] { prefault_kv(); });
  }

  cluster::RankPrepareFailed failure_of(Epoch epoch, const Error& error) const {
    using Cause = cluster::RankPrepareFailed::Cause;
    const bool has_no_room =
        error.is(model::ModelError::kOutOfMemory) || error.is(checkpoint::CheckpointError::kOutOfMemory);
    return {self(), epoch, error.message(),
            error.is(transport::TransportError::kPeerUnreachable) ? Cause::kPeer
            : has_no_room                                         ? Cause::kRoom
                                                                  : Cause::kOwn};
  }

  void report_progress(std::uint64_t loaded_bytes, std::uint64_t total_bytes) {
    const Time now = std::chrono::steady_clock::now();
    if (now - last_progress_ < kProgressInterval) return;
    last_progress_ = now;
    send(cluster::LoadProgress{self(), loaded_bytes, total_bytes});
  }

  void report(const exchange::Suspicion& suspicion) {
    send(cluster::PeerSuspected{self(), suspicion.rank, suspicion.epoch, suspicion.what, suspicion.step,
                                suspicion.exchange});
  }

  // On the link's thread.
  transport::Frame heartbeat() {
    const std::uint64_t progress = said_hello_ ? parts_.steps->n_exchanges_completed() : 0;
    return transport::frame_of(cluster::Heartbeat{self(), progress, n_loaded_});
  }

  Duration beat_interval() const {
    if (!said_hello_ || step_is_open_.load(std::memory_order_relaxed)) return kBusyBeat;
    return std::clamp<Duration>(options_.peer_timeout / kBeatsPerTimeout, kBusyBeat, kSlowestBeat);
  }

  void ask_to_leave() { send(cluster::LeaveAsked{self()}); }

  void say_hello() {
    said_hello_ = true;
    // A GPU's KV cannot be copied yet: who takes over computes it.
    const cluster::LinkAddress kv = parts_.cuda ? cluster::LinkAddress{} : parts_.kv_memory->address();
    send(cluster::RankHello{self(), parts_.link->address(), kv, parts_.limits.n_blocks,
                            parts_.limits.block_size, parts_.limits.max_num_seqs,
                            own_identity(options_.instruction_set)});
  }

  cluster::Member self() const { return {options_.rank, options_.incarnation}; }
  void send(const cluster::FromRank& message) { link_.send(transport::frame_of(message)); }

  RankOptions options_;
  RankParts parts_;
  Inbox inbox_{kInboxCapacity};
  std::promise<transport::Configure> configured_;
  std::atomic<bool> said_hello_{false}, step_is_open_{false};
  std::atomic<std::uint64_t> obsolete_epoch_{0};  // loads up to this one need not be finished
  std::atomic<std::uint64_t> n_loaded_{0};        // weights loaded, epochs begun
  transport::EventLoop loader_;
  std::thread loader_thread_;
  std::unique_ptr<EpochLoader> epoch_loader_;  // the loader's, as the next three
  std::unique_ptr<KvPrefault> kv_prefault_;
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
