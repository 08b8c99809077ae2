#include "cli/serve_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "base/background.h"
#include "base/log.h"
#include "base/output_queue.h"
#include "checkpoint/folder_watch.h"
#include "cli/memory_needs.h"
#include "cli/process_limits.h"
#include "cli/serve_preparation.h"
#include "cli/stop_signals.h"
#include "cli/weight_loader.h"
#include "front/front.h"
#include "launcher/launcher.h"
#include "server/server.h"
#include "worker/identity.h"
#include "worker/worker.h"

namespace concertina::cli {

namespace {

constexpr Duration kLastWords = std::chrono::seconds(1);  // what is not read by then is lost

launcher::Launcher::Options launcher_options(const ServeOptions& options, launcher::Binary binary) {
  return {std::move(binary), options.pin_threads ? options.front.threads_per_rank : 0};
}

// Owns everything of the front process, from the first rank to the last. `loop` and `weights` outlive it.
class ServeProcess {
 public:
  ServeProcess(const ServeOptions& options, Prepared& prepared, transport::EventLoop& loop,
               WeightLoader& weights, launcher::Binary binary)
      : options_(options),
        loop_(loop),
        weights_(weights),
        launcher_(loop_, launcher_options(options, std::move(binary))),
        front_(
            loop_, options.front, prepared.info,
            [this](auto on_exit) { return launcher_.start(std::move(on_exit)); }, std::move(prepared.state)),
        server_(loop_.context(), front_, front_, prepared.tokenizer ? &*prepared.tokenizer : nullptr,
                prepared.chat_template ? &*prepared.chat_template : nullptr, prepared.server),
        host_(prepared.server.host),
        signals_(loop_, [this](int number) { on_signal(number); }),
        texts_fingerprint_(prepared.texts_fingerprint) {
    for (const cluster::Operation& operation : prepared.operations) front_.know(operation);
  }

  int run() {
    const auto port = server_.start();
    if (!port) {
      spdlog::error("{}", port.error().message());
      return 1;
    }
    url_ = url_of(host_, *port);
    printed_.write(fmt::format("listening on {}\n", url_));
    weights_.start([this](const Status& loaded) { on_weights(loaded); },
                   [this](std::uint64_t n_bytes) { front_.on_weights_progress(n_bytes); });
    loop_.run();
    printed_.drain(kLastWords);
    // What a helper still reads or renders nobody waits for; it uses what goes with this object.
    if (server_.end_helpers(kLastWords) == server::HelperThreads::Ended::kNo) {
      flush_log(kLastWords);
      std::_Exit(exit_code_);
    }
    return exit_code_;
  }

 private:
  // Ranks start when their weights are there.
  void on_weights(const Status& loaded) {
    if (shutting_down_) return;
    const auto end = [this](const Error&) {
      exit_code_ = 1;
      shut_down();
    };
    if (!loaded) {
      spdlog::error("{}", loaded.error().message());
      return end(loaded.error());
    }
    front_.start([this] { on_ready(); }, end);
    watch_files();
  }

  void watch_files() {
    const auto tell = [this](void (front::Front::*of)(const std::string&)) {
      return [this, of](const std::string& what) { loop_.post([this, of, what] { (front_.*of)(what); }); };
    };
    if (const std::string& weights = options_.front.checkpoint_fingerprint; !weights.empty())
      watch_weights(weights, tell(&front::Front::on_checkpoint_changed));
    if (!texts_fingerprint_.empty())
      texts_watch_.emplace(options_.front.model_path, texts_fingerprint_,
                           tell(&front::Front::on_texts_changed), checkpoint::Files::kTexts);
  }

  void watch_weights(const std::string& fingerprint, std::function<void(const std::string&)> on_change) {
    weights_watch_.emplace(options_.front.model_path, fingerprint, std::move(on_change));
    front_.set_look_at_checkpoint([this](std::function<void()> looked) {
      weights_watch_->look([this, looked = std::move(looked)] { loop_.post(looked); });
    });
  }

  void on_ready() {
    spdlog::info("ready: {} ranks serve {} on {} ({})", options_.front.cluster.initial_size,
                 front_.model().served_name, options_.front.device, describe(options_.front.form));
    if (options_.print_examples) printed_.write(examples(url_));
  }

  void on_signal(int number) {
    const StopSignals::Wish wish = stop_signals_.on(number, loop_.now());
    if (wish == StopSignals::Wish::kNone) return;
    if (wish == StopSignals::Wish::kAtOnce || shutting_down_) {
      spdlog::warn("{}: stopping at once", number == SIGQUIT ? "SIGQUIT" : "second signal");
      if (!shutting_down_) shut_down();
      return front_.stop_now();
    }
    spdlog::info("{}: finishing {} requests, at most {} s; again to stop at once",
                 number == SIGTERM  ? "SIGTERM"
                 : number == SIGHUP ? "SIGHUP"
                 : number == SIGPWR ? "SIGPWR"
                                    : "interrupted",
                 front_.n_running() + front_.n_queued(),
                 std::chrono::duration<double>(options_.front.shutdown_timeout).count());
    shut_down();
  }

  // The port stays open meanwhile: who asks is told 503 and when to try again.
  void shut_down() {
    shutting_down_ = true;
    front_.begin_shutdown([this] {
      server_.refuse_unprepared();
      // A moment for what was written last to reach the clients.
      flush_.set(loop_.now() + std::chrono::milliseconds(50), [this] {
        server_.stop();
        loop_.stop();
      });
    });
  }

  const ServeOptions& options_;
  transport::EventLoop& loop_;
  WeightLoader& weights_;
  transport::Timer flush_{loop_};
  launcher::Launcher launcher_;
  front::Front front_;
  server::Server server_;
  const std::string host_;
  transport::SignalWatch signals_;
  StopSignals stop_signals_;
  OutputQueue printed_{STDOUT_FILENO};
  const std::string texts_fingerprint_;
  std::optional<checkpoint::FolderWatch> weights_watch_, texts_watch_;  // once the weights are loaded
  std::string url_;
  int exit_code_ = 0;
  bool shutting_down_ = false;
};

// What the front's options say of this very process.
Status take_identity(front::FrontOptions& front, launcher::Binary& binary) {
  ASSIGN_OR_RETURN(binary, launcher::own_binary());
  front.binary_name = binary.name;
  ASSIGN_OR_RETURN(const device::InstructionSet set,
                   device::parse_instruction_set(front.form.instruction_set));
  front.identity = worker::own_identity(set);
  return {};
}

int run_serve(ServeOptions& options) {
  wake_up_at_once();
  Prepared prepared;
  transport::EventLoop loop;
  std::unique_ptr<WeightLoader> weights;
  launcher::Binary binary;
  const auto prepare_all = [&]() -> Status {
    RETURN_IF_ERROR(prepare(options, prepared));
    ASSIGN_OR_RETURN(weights, WeightLoader::create(loop, std::move(prepared.weights), options.front));
    RETURN_IF_ERROR(plan_memory(options.model, options.kv_cache_bytes, options.front));
    return take_identity(options.front, binary);
  };
  if (const Status done = prepare_all(); !done) {
    spdlog::error("{}", done.error().message());
    return 1;
  }
  return ServeProcess(options, prepared, loop, *weights, std::move(binary)).run();
}

}  // namespace

void add_serve_command(CLI::App& app, std::function<int()>& run) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command =
      app.add_subcommand("serve", "Serve a model: the OpenAI API, elastic expert parallelism");
  command->add_option("model", options->model, "folder of a Hugging Face checkpoint")
      ->type_name("FOLDER")
      ->required()
      ->take_last();
  add_flags(*command, serve_flags(*options));
  command->callback([options, &run] {
    run = [options] {
      init_log("front", spdlog::level::from_str(options->front.log_level));
      keep_little_memory();
      // Nobody means by these that the server should end.
      for (const int number : {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGSTKFLT})
        std::signal(number, SIG_IGN);
      for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) std::signal(number, SIG_IGN);
      const int exit_code = run_serve(*options);
      flush_log(kLastWords);
      return exit_code;
    };
  });
}

void add_worker_command(CLI::App& app, std::function<int()>& run) {
  struct WorkerOptions {
    int control_fd = -1;
    pid_t parent_pid = 0;
  };
  auto options = std::make_shared<WorkerOptions>();
  CLI::App* command = app.add_subcommand("worker", "One rank; started by serve, not by hand");
  command->add_option("--control-fd", options->control_fd, "descriptor of the control channel")->required();
  command->add_option("--parent-pid", options->parent_pid, "process that this one must not outlive")
      ->required();
  command->callback([options, &run] {
    run = [options] {
      init_log("rank", spdlog::level::info);
      const int exit_code = worker::run_worker(options->control_fd, options->parent_pid);
      flush_log(std::chrono::milliseconds(200));
      return exit_code;
    };
  });
}

}  // namespace concertina::cli
