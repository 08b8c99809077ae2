#include "cli/serve_command.h"

#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <memory>

#include "base/log.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/safetensors.h"
#include "cli/decide_form.h"
#include "cli/error.h"
#include "cli/sizes.h"
#include "cli/validators.h"
#include "front/front.h"
#include "model/kv_cache.h"
#include "model/model.h"
#include "server/server.h"
#include "tokenizer/error.h"
#include "worker/worker.h"

namespace concertina::cli {

namespace {

const CLI::Range kCount(0, 1 << 30);  // a minus sign would wrap around

struct ServeOptions {
  std::string model;
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;
  std::string kv_cache_memory = "256MiB";
  std::string served_model_name, state_dir;
  double shutdown_timeout_s = 30, group_lost_timeout_s = 300;
  bool skip_tokenizer_init = false;
  bool print_examples = false;
  bool max_model_len_given = false;
  bool replace_failed_ranks = true;
  bool pin_threads = true;
  bool withhold_kill = false;
  FormFlags form;
  front::FrontOptions front;
};

void add_flags(CLI::App& command, ServeOptions& o) {
  command.option_defaults()->take_last();  // of a flag given twice: ./dev serve puts its defaults first
  command.add_option("model", o.model, "folder of a Hugging Face checkpoint")->required();
  command.add_option("--host", o.host, "address to listen on")->check(kNotEmpty)->capture_default_str();
  command.add_option("--port", o.port, "port to listen on; 0: any free one, printed")
      ->check(kNotEmpty)
      ->capture_default_str();
  command.add_option("--data-parallel-size", o.front.initial_size, "ranks at the start")
      ->check(kCount)
      ->capture_default_str();
  command.add_option("--min-data-parallel-size", o.front.min_size, "the fewest ranks that hold the weights")
      ->check(kCount)
      ->capture_default_str();
  command.add_option("--max-data-parallel-size", o.front.max_size, "the most ranks that a scale may ask for")
      ->check(kCount)
      ->capture_default_str();
  command.add_option("--kv-cache-memory", o.kv_cache_memory, "KV cache of each rank: 256MiB, 4GiB, or bytes")
      ->check(kSize)
      ->capture_default_str();
  command
      .add_option("--max-model-len", o.front.max_model_len,
                  "tokens of prompt and answer together (default: the model's)")
      ->check(kCount);
  command.add_option("--max-num-seqs", o.front.max_num_seqs, "sequences in one step of a rank")
      ->check(kCount)
      ->capture_default_str();
  command
      .add_option("--max-num-batched-tokens", o.front.max_num_batched_tokens, "tokens in one step of a rank")
      ->check(kCount)
      ->capture_default_str();
  command.add_option("--block-size", o.front.block_size, "tokens of a KV block")
      ->check(kCount)
      ->capture_default_str();
  command
      .add_option("--max-num-queued-reqs", o.front.max_num_queued_reqs, "requests that may wait; beyond: 503")
      ->check(kCount)
      ->capture_default_str();
  command
      .add_option("--served-model-name", o.served_model_name, "name of the model in the API (default: MODEL)")
      ->check(kNotEmpty);
  command
      .add_option("--load-format", o.front.load_format,
                  "auto: the checkpoint; dummy: random weights from config.json alone")
      ->check(CLI::IsMember({"auto", "dummy"}))
      ->capture_default_str();
  command.add_option("--seed", o.front.dummy_seed, "of --load-format dummy")
      ->check(kWholeNumber)
      ->capture_default_str();
  command.add_flag("--skip-tokenizer-init", o.skip_tokenizer_init,
                   "prompts are token ids; implied if there is no tokenizer");
  command
      .add_option("--shutdown-timeout", o.shutdown_timeout_s,
                  "seconds that SIGTERM lets running requests finish")
      ->check(CLI::Range(0.0, 1e9) & kNotNan)
      ->capture_default_str();
  command
      .add_option("--group-lost-timeout", o.group_lost_timeout_s,
                  "seconds that ranks which were lost may take to come back while none serves; then it ends")
      ->check(CLI::Range(0.0, 1e9) & kNotNan)
      ->capture_default_str();
  command
      .add_option("--peer-timeout-ms", o.front.peer_timeout_ms,
                  "a rank without a sign of life for so long counts as dead")
      ->check(kCount)
      ->capture_default_str();
  command
      .add_option(
          "--state-dir", o.state_dir,
          "folder that keeps the size, the form and the operations over restarts (default: nothing is kept)")
      ->check(kNotEmpty);
  command.add_flag("--replace-failed-ranks,!--no-replace-failed-ranks", o.replace_failed_ranks,
                   "start a new rank for one that died (default: on)");
  command.add_flag("--withhold-kill", o.withhold_kill)->group("");  // for tests: fenced ranks are not killed
  command.add_option("--threads-per-rank", o.front.threads_per_rank, "compute threads of a rank")
      ->check(kCount)
      ->capture_default_str();
  command
      .add_option("--replay-chunk-tokens", o.front.replay_chunk_tokens,
                  "tokens of a step that a rank spends on requests moving to it")
      ->check(kCount)
      ->capture_default_str();
  command
      .add_option("--instruction-set", o.form.instruction_set,
                  "kernels of every rank (default: the best this processor has)")
      ->check(CLI::IsMember({"portable", "avx2", "avx512"}));
  command
      .add_option("--quantization", o.form.quantization,
                  "int8: weights of products as 8-bit integers, made when they are loaded (default: none)")
      ->check(CLI::IsMember({"none", "int8"}));
  command
      .add_option("--activation-dtype", o.form.activation_dtype,
                  "bfloat16: rows are rounded before products with BF16 weights; auto: where that is faster "
                  "(default: float32)")
      ->check(CLI::IsMember({"float32", "bfloat16", "auto"}));
  command.add_flag("--pin-threads,!--no-pin-threads", o.pin_threads,
                   "each compute thread on a core of its own while there are enough (default: yes)");
  command.add_option("--log-level", o.front.log_level, "of the front and its ranks")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error"}))
      ->capture_default_str();
  command.add_flag("--try", o.print_examples, "print three commands to try once the server is ready");
}

tl::unexpected<Error> bad_flag(const std::string& message) { return fail(CliError::kBadFlag, message); }

Status check_counts(const front::FrontOptions& o) {
  const struct {
    const char* flag;
    std::size_t value, lowest, highest;
  } ranges[] = {{"--max-data-parallel-size", o.max_size, 1, 64},
                {"--min-data-parallel-size", o.min_size, 1, o.max_size},
                {"--data-parallel-size", o.initial_size, o.min_size, o.max_size},
                {"--max-num-seqs", o.max_num_seqs, 1, 4096},
                {"--max-num-batched-tokens", o.max_num_batched_tokens, o.max_num_seqs, 65536},
                {"--block-size", o.block_size, 1, 1024},
                {"--threads-per-rank", o.threads_per_rank, 1, 256},
                {"--replay-chunk-tokens", o.replay_chunk_tokens, 1, 65536},
                {"--peer-timeout-ms", o.peer_timeout_ms, 1, 3600000}};
  for (const auto& range : ranges) {
    if (range.value < range.lowest || range.value > range.highest) {
      return bad_flag(fmt::format("{} is {}, but must be in {}..{}", range.flag, range.value, range.lowest,
                                  range.highest));
    }
  }
  return {};
}

// What the front serves with; everything that can be wrong with the folder or the flags is found here, before
// a rank starts.
struct Prepared {
  front::ModelInfo info;
  std::optional<tokenizer::Tokenizer> tokenizer;
  std::optional<tokenizer::ChatTemplate> chat_template;
  std::unique_ptr<front::StateStore> state;
};

Status prepare_model(ServeOptions& o, Prepared& out) {
  ASSIGN_OR_RETURN(const model::ModelConfig config, model::read_config(o.model));
  ASSIGN_OR_RETURN(const model::GenerationDefaults defaults,
                   model::read_generation_defaults(o.model, config));
  for (const std::string& field : defaults.ignored) {
    spdlog::warn("generation_config.json: {} is not supported yet; ignored", field);
  }
  if (o.front.load_format == "auto") {
    ASSIGN_OR_RETURN(const auto source, checkpoint::SafetensorsFolder::open(o.model));
    RETURN_IF_ERROR(model::verify_checkpoint(config, *source));
  }
  o.front.model_path = std::filesystem::absolute(o.model).string();
  o.front.n_moe_layers = config.n_moe_layers;
  o.front.n_experts = config.n_experts;
  ASSIGN_OR_RETURN(o.front.checkpoint_fingerprint, checkpoint::fingerprint(o.model));
  if (!o.max_model_len_given) o.front.max_model_len = config.max_position_embeddings;
  if (o.front.max_model_len < 2 || o.front.max_model_len > config.max_position_embeddings) {
    return bad_flag(
        fmt::format("--max-model-len is {}, but must be in 2..{} (the model's max_position_embeddings)",
                    o.front.max_model_len, config.max_position_embeddings));
  }
  // A rank's KV must hold one sequence of full length: else a request that was admitted could never end.
  const std::size_t block_bytes = model::KvCache::bytes_per_block(config, o.front.block_size);
  const std::size_t n_needed = (o.front.max_model_len + o.front.block_size - 1) / o.front.block_size;
  if (o.front.kv_cache_bytes / block_bytes < n_needed) {
    return bad_flag(
        fmt::format("--kv-cache-memory {} holds {} tokens, but one request may have {} (--max-model-len): "
                    "give {} MiB or more",
                    o.kv_cache_memory, o.front.kv_cache_bytes / block_bytes * o.front.block_size,
                    o.front.max_model_len, (n_needed * block_bytes + (1 << 20) - 1) >> 20));
  }
  o.front.kv_tokens = o.front.kv_cache_bytes / block_bytes * o.front.block_size;
  out.info = {.served_name = o.served_model_name.empty() ? o.model : o.served_model_name,
              .path = o.model,
              .max_model_len = o.front.max_model_len,
              .vocab_size = config.vocab_size,
              .eos_token_ids = defaults.eos_token_ids,
              .created_unix_s = std::chrono::duration_cast<std::chrono::seconds>(
                                    std::chrono::system_clock::now().time_since_epoch())
                                    .count()};
  out.info.default_sampling = {.temperature = defaults.temperature,
                               .top_k = defaults.top_k,
                               .top_p = defaults.top_p,
                               .min_p = defaults.min_p};
  return {};
}

Status prepare_tokenizer(const ServeOptions& o, Prepared& out) {
  if (o.skip_tokenizer_init) return {};
  auto loaded = tokenizer::Tokenizer::load(o.model);
  if (!loaded && loaded.error().is(tokenizer::TokenizerError::kMissing)) {
    spdlog::info("{} has no tokenizer.json: prompts are token ids", o.model);
    return {};
  }
  if (!loaded) return fail(loaded.error());
  out.tokenizer = std::move(*loaded);
  auto chat_template = tokenizer::ChatTemplate::load(o.model);
  if (chat_template) {
    out.chat_template = std::move(*chat_template);
  } else if (!chat_template.error().is(tokenizer::TokenizerError::kMissing)) {
    return fail(chat_template.error());
  }
  return {};
}

// What was asked of the server while it ran counts more than what it was started with.
void take_kept_size(ServeOptions& o, const front::StateStore::Kept& kept) {
  const std::size_t size = kept.wanted_size.value_or(o.front.initial_size);
  const std::size_t possible = std::clamp<std::size_t>(size, o.front.min_size, o.front.max_size);
  if (possible != o.front.initial_size) {
    spdlog::info(
        "{}: the size was {} before the restart: starting {} ranks, not the {} of --data-parallel-size",
        o.state_dir, size, possible, o.front.initial_size);
  }
  o.front.initial_size = possible;
}

Status prepare_state(ServeOptions& o, Prepared& out) {
  front::StateStore::Kept kept;
  if (!o.state_dir.empty()) {
    ASSIGN_OR_RETURN(out.state, front::StateStore::open(o.state_dir));
    ASSIGN_OR_RETURN(kept, out.state->load(std::chrono::steady_clock::now()));
    take_kept_size(o, kept);
  }
  auto form = decide_form(o.form, kept.form);
  if (!form) return fail(o.state_dir.empty() ? form.error() : form.error().with_context(o.state_dir));
  o.front.form = *form;
  if (kept.form && *kept.form != o.front.form)
    spdlog::warn("{}: the form was {} before the restart and is {} now: answers may differ in tokens",
                 o.state_dir, describe(*kept.form), describe(o.front.form));
  return {};
}

void print_examples(const std::string& url) {
  fmt::print(R"(
Try, in another terminal:
  curl {0}/v1/chat/completions -H 'Content-Type: application/json' -d '{{"messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'
  curl -X POST {0}/scale_elastic_ep -H 'Content-Type: application/json' -d '{{"new_data_parallel_size": 4}}'
  {1} status --watch --url {0}

)",
             url, std::filesystem::proximate(std::filesystem::read_symlink("/proc/self/exe")).string());
  std::fflush(stdout);
}

// Connections leave descriptors for what ranks need: a pidfd, a channel, and two for its start.
server::http::Limits connection_limits(const front::FrontOptions& options) {
  server::http::Limits limits;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return limits;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_NOFILE, &files);
  const std::size_t reserved = 32 + 4 * 2 * options.max_size;
  const std::size_t left = files.rlim_cur > reserved ? files.rlim_cur - reserved : 1;
  if (left < limits.max_connections)
    spdlog::info("at most {} connections: the limit of open files is {}, and ranks need some", left,
                 files.rlim_cur);
  limits.max_connections = std::min<std::size_t>(limits.max_connections, left);
  return limits;
}

// Owns everything of the front process, from the first rank to the last.
class ServeProcess {
 public:
  ServeProcess(const ServeOptions& options, Prepared& prepared)
      : options_(options),
        front_(loop_, options.front, prepared.info, std::move(prepared.state)),
        server_(loop_.context(), front_, prepared.tokenizer ? &*prepared.tokenizer : nullptr,
                prepared.chat_template ? &*prepared.chat_template : nullptr,
                {.host = options.host, .port = options.port, .limits = connection_limits(options.front)}),
        signals_(loop_, [this](int number) { on_signal(number); }) {}

  int run() {
    const auto port = server_.start();
    if (!port) {
      spdlog::error("{}", port.error().message());
      return 1;
    }
    url_ = fmt::format("http://{}:{}", options_.host, *port);
    fmt::print("listening on {}\n", url_);
    std::fflush(stdout);
    front_.start([this] { on_ready(); },
                 [this](const Error&) {
                   exit_code_ = 1;
                   shut_down();
                 });
    loop_.run();
    return exit_code_;
  }

 private:
  void on_ready() {
    spdlog::info("ready: {} ranks serve {} ({})", options_.front.initial_size, front_.model().served_name,
                 describe(options_.front.form));
    if (options_.print_examples) print_examples(url_);
  }

  void on_signal(int number) {
    if (shutting_down_) {
      spdlog::warn("second signal: stopping at once");
      return front_.stop_now();
    }
    spdlog::info("{}: finishing {} requests, at most {} s; again to stop at once",
                 number == SIGTERM ? "SIGTERM" : "interrupted", front_.n_running() + front_.n_queued(),
                 options_.shutdown_timeout_s);
    shut_down();
  }

  // The port stays open meanwhile: who asks is told 503 and when to try again.
  void shut_down() {
    shutting_down_ = true;
    front_.begin_shutdown([this] {
      // A moment for what was written last to reach the clients.
      flush_.set(loop_.now() + std::chrono::milliseconds(50), [this] {
        server_.stop();
        loop_.stop();
      });
    });
  }

  const ServeOptions& options_;
  transport::EventLoop loop_;
  transport::Timer flush_{loop_};
  front::Front front_;
  server::Server server_;
  transport::SignalWatch signals_;
  std::string url_;
  int exit_code_ = 0;
  bool shutting_down_ = false;
};

int run_serve(ServeOptions& options) {
  init_log("front", spdlog::level::from_str(options.front.log_level));
  Prepared prepared;
  const auto prepare = [&]() -> Status {
    RETURN_IF_ERROR(check_counts(options.front));
    RETURN_IF_ERROR(prepare_model(options, prepared));
    RETURN_IF_ERROR(prepare_tokenizer(options, prepared));
    return prepare_state(options, prepared);
  };
  if (const Status done = prepare(); !done) {
    spdlog::error("{}", done.error().message());
    return 1;
  }
  options.front.binary = std::filesystem::read_symlink("/proc/self/exe");
  options.front.shutdown_timeout =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.shutdown_timeout_s));
  options.front.group_lost_timeout =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.group_lost_timeout_s));
  if (!options.replace_failed_ranks) options.front.replace_failed = front::FrontOptions::ReplaceFailed::kNo;
  if (!options.pin_threads) options.front.pin_threads = front::FrontOptions::PinThreads::kNo;
  if (options.withhold_kill) options.front.kill_fenced = front::FrontOptions::KillFenced::kNo;
  return ServeProcess(options, prepared).run();
}

}  // namespace

void add_serve_command(CLI::App& app, std::function<int()>& run) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command =
      app.add_subcommand("serve", "Serve a model: the OpenAI API, elastic expert parallelism");
  add_flags(*command, *options);
  command->callback([options, command, &run] {
    options->max_model_len_given = command->count("--max-model-len") > 0;
    options->front.kv_cache_bytes = parse_bytes(options->kv_cache_memory);
    run = [options] { return run_serve(*options); };
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
      return worker::run_worker(options->control_fd, options->parent_pid);
    };
  });
}

}  // namespace concertina::cli
