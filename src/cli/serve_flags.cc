#include "cli/serve_flags.h"

#include <algorithm>
#include <iterator>

namespace concertina::cli {

namespace {

using front::FrontOptions;
constexpr std::size_t kHourMs = 3600000;

Flags rank_flags(FrontOptions& o, bool& pin_threads) {
  return {
      // What bounds another comes before it, so that the one that is wrong is named.
      count("--max-data-parallel-size", o.cluster.max_size, {1, 64}, "the most that a scale may ask for"),
      count("--min-data-parallel-size", o.cluster.min_size,
            {1, {"--max-data-parallel-size", o.cluster.max_size}},
            "the fewest ranks that hold the weights; a scale below is refused"),
      count("--data-parallel-size", o.cluster.initial_size,
            {{"--min-data-parallel-size", o.cluster.min_size},
             {"--max-data-parallel-size", o.cluster.max_size}},
            "ranks at the start; each holds a share of every layer's experts"),
      toggle("--replace-failed-ranks", o.cluster.replace_failed, FrontOptions::ReplaceFailed::kNo,
             FrontOptions::ReplaceFailed::kYes, "start a new rank for one that died"),
      toggle("--rebalance", o.rebalance, FrontOptions::Rebalance::kNo, FrontOptions::Rebalance::kYes,
             "move running requests between ranks that carry unequal shares"),
      // For tests: fenced ranks are not killed.
      toggle("--withhold-kill", o.kill_fenced, FrontOptions::KillFenced::kYes, FrontOptions::KillFenced::kNo,
             "")
          .hidden(),
      count("--peer-timeout-ms", o.peer_timeout_ms, {20, kHourMs},
            "a rank without a sign of life for so long counts as dead"),
      seconds("--group-lost-timeout", o.cluster.group_lost_timeout,
              "how long no epoch may serve, once one has, before the server ends"),
      seconds("--shutdown-timeout", o.shutdown_timeout, "how long SIGTERM lets running requests finish"),
      count("--threads-per-rank", o.threads_per_rank, {1, 256}, "compute threads of a rank"),
      toggle("--pin-threads", pin_threads, false, true,
             "each compute thread on a core of its own while there are enough"),
  };
}

Flags step_flags(ServeOptions& all) {
  FrontOptions& o = all.front;
  return {
      size("--kv-cache-memory", all.kv_cache_bytes, "KV cache of each rank: 256MiB, 4GiB, or bytes")
          .or_else("by memory and model; on a GPU what weights and buffers leave"),
      count("--max-model-len", all.max_model_len, {2, kMany}, "tokens of prompt and answer together")
          .or_else("the model's"),
      count("--max-num-seqs", o.max_num_seqs, {1, 4096}, "sequences in one step of a rank"),
      count("--max-num-batched-tokens", o.max_num_batched_tokens, {{"--max-num-seqs", o.max_num_seqs}, 65536},
            "tokens in one step of a rank"),
      count("--step-time-budget-ms", o.step_time_budget_ms, {0, kHourMs},
            "how long a step may take for prompts' sake while any rank decodes; 0: any time"),
      count("--block-size", o.block_size, {1, 1024}, "tokens of a KV block"),
      count("--max-num-queued-reqs", o.max_num_queued_reqs, {0, kMany},
            "requests that may wait; beyond: 503"),
      count("--replay-chunk-tokens", o.replay_chunk_tokens, {1, 65536},
            "tokens of a step that a rank spends on requests that move to it"),
      size("--kv-move-bandwidth", o.kv_move_bytes_per_second,
           "KV a second that a rank copies for requests that move to it; 0: as much as it can",
           Zero::kIsRight),
  };
}

Flags model_flags(ServeOptions& o) {
  using Loading = FrontOptions::WeightLoading;
  using Priorities = front::ModelInfo::Priorities;
  return {
      texts("--served-model-name", "A,B", o.served_model_names,
            "what requests call the model; answers say the first")
          .or_else("the path"),
      text("--chat-template", "FILE", o.chat_template, "a Jinja template for chats").or_else("the model's"),
      text("--tool-call-parser", "NAME", o.tool_call_parser,
           "how the model writes calls of tools: hermes, mistral, ...; auto: as its chat template does"),
      text("--reasoning-parser", "NAME", o.reasoning_parser,
           "how the model marks what it thinks: qwen3, deepseek_r1, ...; auto: as its chat template does"),
      choice("--load-format", o.front.load_format, {"auto", "dummy"},
             "auto: the checkpoint; dummy: random weights from config.json alone"),
      count("--seed", o.front.dummy_seed, kAnyNumber, "of --load-format dummy"),
      choice("--safetensors-load-strategy", o.front.weight_loading,
             {{"eager", Loading::kEager}, {"lazy", Loading::kLazy}},
             "eager: weights are copied into memory that all ranks share, and the files may change; lazy: "
             "ranks map "
             "the files, and running requests fail if these change"),
      toggle("--skip-tokenizer-init", o.skip_tokenizer_init, false, true,
             "prompts are token ids; implied if there is no tokenizer"),
      choice("--scheduling-policy", o.priorities,
             {{"fcfs", Priorities::kRefused}, {"priority", Priorities::kServed}},
             "priority: requests with a lower \"priority\" go first, whose client's they may be"),
      text("--state-dir", "DIR", o.state_dir,
           "folder that keeps the size, the form and the operations over restarts")
          .or_else("none"),
  };
}

// What a rank computes on and in.
Flags form_flags(ServeOptions& o) {
  return {
      text("--device", "cpu|cuda|cuda:N", o.front.device,
           "what ranks compute on; cuda: one rank on one NVIDIA Hopper GPU"),
      share("--gpu-memory-utilization", o.front.gpu_memory_utilization,
            "share of a GPU's memory that a rank may take: weights, buffers and KV"),
      choice("--instruction-set", o.form.instruction_set, {"portable", "avx2", "avx512"},
             "kernels of every rank")
          .or_else("the best there is"),
      choice("--quantization", o.form.quantization, {"none", "int8"},
             "int8: weights of products as 8-bit integers, made when they are loaded")
          .or_else("none"),
      choice("--activation-dtype", o.form.activation_dtype, {"float32", "bfloat16", "auto"},
             "bfloat16: rows are rounded before products with BF16 weights; auto: where that is faster")
          .or_else("float32"),
      choice("--log-level", o.front.log_level, {"trace", "debug", "info", "warning", "error"},
             "of the front and its ranks"),
      toggle("--try", o.print_examples, false, true, "print three commands to try once the server is ready"),
  };
}

}  // namespace

Flags serve_flags(ServeOptions& o) {
  Flags all = http_flags(o.http);
  for (Flags part : {rank_flags(o.front, o.pin_threads), step_flags(o), model_flags(o), form_flags(o)})
    std::move(part.begin(), part.end(), std::back_inserter(all));
  return all;
}

}  // namespace concertina::cli
