#include "front/configure.h"

#include <unistd.h>

namespace concertina::front {

namespace {
constexpr std::size_t kMaxConfigBytes = 4 << 20;  // a larger one ranks read themselves: a frame has its limit
}

transport::Frame configure_frame(const FrontOptions& options, const cluster::Member& member,
                                 std::span<const int> cores) {
  transport::Frame frame;
  transport::Configure& configure = *frame.mutable_configure();
  configure.set_rank(member.rank.value());
  configure.set_incarnation(member.incarnation.value());
  configure.set_model_path(options.model_path);
  configure.set_load_format(options.load_format);
  configure.set_checkpoint_fingerprint(options.checkpoint_fingerprint);
  configure.set_seed(options.dummy_seed);
  configure.set_kv_cache_bytes(options.kv_cache_bytes);
  configure.set_max_model_len(options.max_model_len);
  configure.set_max_num_seqs(options.max_num_seqs);
  configure.set_max_num_batched_tokens(options.max_num_batched_tokens);
  configure.set_block_size(options.block_size);
  configure.set_max_ranks(static_cast<std::uint32_t>(2 * options.cluster.max_size));
  configure.set_peer_timeout_ms(options.peer_timeout_ms);
  configure.set_threads_per_rank(options.threads_per_rank);
  configure.set_replay_chunk_tokens(options.replay_chunk_tokens);
  configure.set_kv_move_bytes_per_second(options.kv_move_bytes_per_second);
  configure.set_step_time_budget_ms(options.step_time_budget_ms);
  configure.set_instruction_set(options.form.instruction_set);
  for (const int core : cores) configure.add_cores(static_cast<std::uint32_t>(core));
  configure.set_quantization(options.form.quantization);
  configure.set_activation_dtype(options.form.activation_dtype);
  configure.set_device(options.device);
  configure.set_gpu_memory_utilization(options.gpu_memory_utilization);
  configure.set_log_level(options.log_level);
  if (options.config_json.size() <= kMaxConfigBytes) configure.set_config_json(options.config_json);
  if (options.weights_fd >= 0) {
    configure.set_weights_pid(static_cast<std::uint32_t>(getpid()));
    configure.set_weights_fd(static_cast<std::uint32_t>(options.weights_fd));
  }
  return frame;
}

}  // namespace concertina::front
