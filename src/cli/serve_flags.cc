#include "cli/serve_flags.h"

#include <CLI/CLI.hpp>

#include "cli/error.h"
#include "cli/validators.h"

namespace concertina::cli {

namespace {
const CLI::Range kCount(0, 1 << 30);  // a minus sign would wrap around
}  // namespace

void add_serve_flags(CLI::App& command, ServeOptions& o) {
  command.option_defaults()->take_last();  // of a flag given twice: ./dev serve puts its defaults first
  command.add_option("model", o.model, "folder of a Hugging Face checkpoint")->required();
  add_http_flags(command, o.http);
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
  command
      .add_option(
          "--safetensors-load-strategy", o.load_strategy,
          "eager: weights are copied into memory that all ranks share, and the files may change; lazy: ranks "
          "map the files, and running requests fail if these change")
      ->check(CLI::IsMember({"eager", "lazy"}))
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
      .add_option("--step-time-budget-ms", o.front.step_time_budget_ms,
                  "how long a step may take for prompts' sake while any rank decodes; 0: any time")
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
                {"--step-time-budget-ms", o.step_time_budget_ms, 0, 3600000},
                {"--peer-timeout-ms", o.peer_timeout_ms, 20, 3600000}};
  for (const auto& range : ranges) {
    if (range.value < range.lowest || range.value > range.highest) {
      return fail(CliError::kBadFlag, fmt::format("{} is {}, but must be in {}..{}", range.flag, range.value,
                                                  range.lowest, range.highest));
    }
  }
  return {};
}

}  // namespace concertina::cli
