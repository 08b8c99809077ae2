#include "front/frames.h"

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
  configure.set_max_ranks(static_cast<std::uint32_t>(2 * options.max_size));
  configure.set_peer_timeout_ms(options.peer_timeout_ms);
  configure.set_threads_per_rank(options.threads_per_rank);
  configure.set_replay_chunk_tokens(options.replay_chunk_tokens);
  configure.set_step_time_budget_ms(options.step_time_budget_ms);
  configure.set_instruction_set(options.form.instruction_set);
  for (const int core : cores) configure.add_cores(static_cast<std::uint32_t>(core));
  configure.set_quantization(options.form.quantization);
  configure.set_activation_dtype(options.form.activation_dtype);
  configure.set_log_level(options.log_level);
  if (options.config_json.size() <= kMaxConfigBytes) configure.set_config_json(options.config_json);
  if (options.weights_fd >= 0) {
    configure.set_weights_pid(static_cast<std::uint32_t>(getpid()));
    configure.set_weights_fd(static_cast<std::uint32_t>(options.weights_fd));
  }
  return frame;
}

transport::Frame assign_frame(const request::Request& request, Attempt attempt, request::Mode mode) {
  transport::Frame frame;
  transport::Assign& assign = *frame.mutable_assign();
  assign.set_request(request.id.value());
  assign.set_attempt(attempt.value());
  assign.mutable_tokens()->Add(request.tokens.begin(), request.tokens.end());
  assign.set_n_prompt_tokens(request.n_prompt_tokens);
  assign.set_replay(mode == request::Mode::kReplay);
  transport::Sampling& sampling = *assign.mutable_sampling();
  sampling.set_temperature(request.sampling.temperature);
  sampling.set_top_k(request.sampling.top_k);
  sampling.set_top_p(request.sampling.top_p);
  sampling.set_min_p(request.sampling.min_p);
  sampling.set_seed(request.sampling.seed);
  sampling.set_choice_index(request.sampling.choice_index);
  transport::Stop& stop = *assign.mutable_stop();
  stop.set_max_tokens(request.stop.max_tokens);
  stop.set_ignore_eos(request.stop.ignore_eos);
  stop.mutable_eos_token_ids()->Add(request.stop.eos_token_ids.begin(), request.stop.eos_token_ids.end());
  stop.mutable_stop_token_ids()->Add(request.stop.stop_token_ids.begin(), request.stop.stop_token_ids.end());
  return frame;
}

transport::Frame feed_frame(RequestId request, TokenId token) {
  transport::Frame frame;
  frame.mutable_feed()->set_request(request.value());
  frame.mutable_feed()->add_tokens(token);
  return frame;
}

transport::Frame take_over_frame(const request::Request& request, Attempt attempt) {
  transport::Frame frame;
  transport::TakeOver& take_over = *frame.mutable_take_over();
  take_over.set_request(request.id.value());
  take_over.set_attempt(attempt.value());
  take_over.mutable_generated()->Add(
      request.tokens.begin() + static_cast<std::ptrdiff_t>(request.n_prompt_tokens), request.tokens.end());
  return frame;
}

transport::Frame drop_frame(RequestId request) {
  transport::Frame frame;
  frame.mutable_drop()->set_request(request.value());
  return frame;
}

}  // namespace concertina::front
