#include "transport/codec.h"
#include "transport/codec_parts.h"
#include "transport/error.h"

namespace concertina::transport {

using cluster::FromRank;

namespace {

void write(const cluster::RankHello& message, Frame& frame) {
  Hello& out = *frame.mutable_hello();
  out.set_rank(message.member.rank.value());
  out.set_incarnation(message.member.incarnation.value());
  write(message.address, *out.mutable_link());
  write(message.kv_address, *out.mutable_kv());
  out.set_kv_blocks_total(message.kv_blocks_total);
  out.set_block_size(message.block_size);
  out.set_max_num_seqs(message.max_num_seqs);
  out.set_version(message.identity.version);
  out.set_build_id(message.identity.build_id);
  out.set_kernel_digest(message.identity.kernel_digest);
  out.set_instruction_set(message.identity.instruction_set);
}
Result<FromRank> read(const Hello& in, const cluster::Member& from) {
  const cluster::Member said{RankId(in.rank()), Incarnation(in.incarnation())};
  if (said != from) {
    return fail(TransportError::kUnknownMessage,
                fmt::format("HELLO of rank {} (start {}) on the channel of rank {} (start {})", said.rank,
                            said.incarnation, from.rank, from.incarnation));
  }
  return cluster::RankHello{from,
                            read(in.link()),
                            read(in.kv()),
                            in.kv_blocks_total(),
                            in.block_size(),
                            in.max_num_seqs(),
                            {in.version(), in.build_id(), in.kernel_digest(), in.instruction_set()}};
}

void write(const cluster::LoadProgress& message, Frame& frame) {
  frame.mutable_progress()->set_loaded_bytes(message.loaded_bytes);
  frame.mutable_progress()->set_total_bytes(message.total_bytes);
}
void write(const cluster::RankPrepared& message, Frame& frame) {
  frame.mutable_prepared()->set_epoch(message.epoch.value());
  frame.mutable_prepared()->set_moved_bytes(message.moved_bytes);
}

using Cause = cluster::RankPrepareFailed::Cause;
void write(const cluster::RankPrepareFailed& message, Frame& frame) {
  PrepareFailed& out = *frame.mutable_prepare_failed();
  out.set_epoch(message.epoch.value());
  out.set_error(message.error);
  out.set_peer_unreachable(message.cause == Cause::kPeer);
  out.set_no_room(message.cause == Cause::kRoom);
}
cluster::RankPrepareFailed read(const PrepareFailed& in, const cluster::Member& from) {
  return {from, Epoch(in.epoch()), in.error(),
          in.peer_unreachable() ? Cause::kPeer
          : in.no_room()        ? Cause::kRoom
                                : Cause::kOwn};
}

void write(const cluster::RankFlipped& message, Frame& frame) {
  frame.mutable_flipped()->set_epoch(message.epoch.value());
  frame.mutable_flipped()->set_pause_ms(message.pause_ms);
}
void write(const cluster::RankFrozen& message, Frame& frame) {
  frame.mutable_frozen()->set_ballot(message.ballot.value());
}
void write(const cluster::Heartbeat& message, Frame& frame) {
  frame.mutable_heartbeat()->set_progress(message.progress);
  frame.mutable_heartbeat()->set_loaded(message.loaded);
}
void write(const cluster::PeerSuspected& message, Frame& frame) {
  Suspect& out = *frame.mutable_suspect();
  out.set_rank(message.whom.value());
  out.set_epoch(message.epoch.value());
  out.set_step(message.step.value());
  out.set_exchange(message.exchange);
  out.set_what(message.what);
}
cluster::PeerSuspected read(const Suspect& in, const cluster::Member& from) {
  return {from, RankId(in.rank()), Epoch(in.epoch()), in.what(), StepId(in.step()), in.exchange()};
}
void write(const cluster::LeaveAsked&, Frame& frame) { frame.mutable_leave_asked(); }
void write(const cluster::RankFailed& message, Frame& frame) {
  frame.mutable_failed()->set_error(message.error);
}

void write(const cluster::RankStats& stats, Stats& out) {
  out.set_running(static_cast<std::uint32_t>(stats.n_running));
  out.set_waiting(static_cast<std::uint32_t>(stats.n_waiting));
  out.set_kv_blocks_used(static_cast<std::uint32_t>(stats.kv_blocks_used));
  out.set_kv_blocks_total(static_cast<std::uint32_t>(stats.kv_blocks_total));
  out.set_preemptions(stats.n_preemptions);
  out.set_nonfinite_logits(stats.n_nonfinite_logits);
  for (const auto& [rank, ms] : stats.waited_ms) {
    PeerWait& wait = *out.add_waits();
    wait.set_rank(rank.value());
    wait.set_ms(ms);
  }
  MoeTimes& times = *out.mutable_moe_times();
  times.set_layers(stats.moe_times.n_layers);
  times.set_route_ms(stats.moe_times.route_ms);
  times.set_dispatch_ms(stats.moe_times.dispatch_ms);
  times.set_wait_ms(stats.moe_times.wait_ms);
  times.set_compute_ms(stats.moe_times.compute_ms);
  times.set_combine_ms(stats.moe_times.combine_ms);
  KvMoves& moves = *out.mutable_kv_moves();
  moves.set_requests(stats.kv_moves.n_requests);
  moves.set_tokens_copied(stats.kv_moves.n_tokens_copied);
  moves.set_tokens_recomputed(stats.kv_moves.n_tokens_recomputed);
  moves.set_copies_failed(stats.kv_moves.n_copies_failed);
}
cluster::RankStats read(const Stats& in) {
  const MoeTimes& times = in.moe_times();
  const KvMoves& moves = in.kv_moves();
  cluster::RankStats stats{.n_running = in.running(),
                           .n_waiting = in.waiting(),
                           .kv_blocks_used = in.kv_blocks_used(),
                           .kv_blocks_total = in.kv_blocks_total(),
                           .n_preemptions = in.preemptions(),
                           .n_nonfinite_logits = in.nonfinite_logits(),
                           .moe_times = {times.layers(), times.route_ms(), times.dispatch_ms(),
                                         times.wait_ms(), times.compute_ms(), times.combine_ms()},
                           .kv_moves = {moves.requests(), moves.tokens_copied(), moves.tokens_recomputed(),
                                        moves.copies_failed()}};
  for (const PeerWait& wait : in.waits()) stats.waited_ms.emplace_back(RankId(wait.rank()), wait.ms());
  return stats;
}
void write(const cluster::RankReport& message, Frame& frame) { write(message.stats, *frame.mutable_stats()); }

void write(const request::PromptLogprobs& scored, PromptLogprobs& out) {
  out.set_request(scored.request.value());
  out.set_attempt(scored.attempt.value());
  out.set_first_position(scored.first_position);
  out.set_each(static_cast<std::uint32_t>(scored.n_each));
  for (const request::TokenLogprob& one : scored.logprobs) {
    out.add_tokens(one.token);
    out.add_logprobs(one.logprob);
  }
  out.mutable_ranks()->Add(scored.ranks.begin(), scored.ranks.end());
}
template <typename Tokens, typename Logprobs>
std::vector<request::TokenLogprob> logprobs_of(const Tokens& tokens, const Logprobs& logprobs) {
  std::vector<request::TokenLogprob> read;
  for (int i = 0; i < std::min(tokens.size(), logprobs.size()); ++i) read.push_back({tokens[i], logprobs[i]});
  return read;
}
request::PromptLogprobs read(const PromptLogprobs& in) {
  return {.request = RequestId(in.request()),
          .attempt = Attempt(in.attempt()),
          .first_position = in.first_position(),
          .n_each = in.each(),
          .logprobs = logprobs_of(in.tokens(), in.logprobs()),
          .ranks = {in.ranks().begin(), in.ranks().end()}};
}

void write(const cluster::StepOutput& message, Frame& frame) {
  StepOutput& out = *frame.mutable_step_output();
  out.set_epoch(message.step.epoch.value());
  out.set_step(message.step.step.value());
  for (const request::TokenEvent& token : message.tokens) {
    Output& token_out = *out.add_outputs();
    token_out.set_request(token.request.value());
    token_out.set_attempt(token.attempt.value());
    token_out.set_position(token.position);
    token_out.set_token(token.token);
    token_out.set_finish_reason(static_cast<std::uint32_t>(token.finish_reason));
  }
  for (const auto& of_token : message.logprobs) {
    Logprobs& logprobs_out = *out.add_logprobs();
    for (const request::TokenLogprob& one : of_token) {
      logprobs_out.add_tokens(one.token);
      logprobs_out.add_logprobs(one.logprob);
    }
  }
  for (const request::PromptLogprobs& scored : message.prompt_logprobs)
    write(scored, *out.add_prompt_logprobs());
  for (const request::CaughtUp& caught_up : message.caught_up) {
    CaughtUp& up_out = *out.add_caught_up();
    up_out.set_request(caught_up.request.value());
    up_out.set_attempt(caught_up.attempt.value());
    up_out.set_n_generated(caught_up.n_generated);
  }
  if (message.stats) write(*message.stats, *out.mutable_stats());
}
cluster::StepOutput read(const StepOutput& in, const cluster::Member& from) {
  cluster::StepOutput message{.member = from};
  message.tokens.reserve(static_cast<std::size_t>(in.outputs_size()));
  for (const Output& token : in.outputs()) {
    message.tokens.push_back({RequestId(token.request()), Attempt(token.attempt()), token.position(),
                              token.token(), static_cast<request::FinishReason>(token.finish_reason())});
  }
  for (const Logprobs& one : in.logprobs())
    message.logprobs.push_back(logprobs_of(one.tokens(), one.logprobs()));
  for (const PromptLogprobs& scored : in.prompt_logprobs()) message.prompt_logprobs.push_back(read(scored));
  for (const CaughtUp& up : in.caught_up())
    message.caught_up.push_back({RequestId(up.request()), Attempt(up.attempt()), up.n_generated()});
  if (in.has_stats()) message.stats = read(in.stats());
  message.step = {Epoch(in.epoch()), StepId(in.step())};
  return message;
}

}  // namespace

Frame frame_of(const FromRank& message) {
  Frame frame;
  std::visit([&frame](const auto& m) { write(m, frame); }, message);
  return frame;
}

Result<FromRank> from_rank_of(const Frame& frame, const cluster::Member& from) {
  switch (frame.message_case()) {
    case Frame::kHello:
      return read(frame.hello(), from);
    case Frame::kProgress:
      return cluster::LoadProgress{from, frame.progress().loaded_bytes(), frame.progress().total_bytes()};
    case Frame::kPrepared:
      return cluster::RankPrepared{from, Epoch(frame.prepared().epoch()), frame.prepared().moved_bytes()};
    case Frame::kPrepareFailed:
      return read(frame.prepare_failed(), from);
    case Frame::kFlipped:
      return cluster::RankFlipped{from, Epoch(frame.flipped().epoch()), frame.flipped().pause_ms()};
    case Frame::kFrozen:
      return cluster::RankFrozen{from, Ballot(frame.frozen().ballot())};
    case Frame::kHeartbeat:
      return cluster::Heartbeat{from, frame.heartbeat().progress(), frame.heartbeat().loaded()};
    case Frame::kSuspect:
      return read(frame.suspect(), from);
    case Frame::kLeaveAsked:
      return cluster::LeaveAsked{from};
    case Frame::kFailed:
      return cluster::RankFailed{from, frame.failed().error()};
    case Frame::kStats:
      return cluster::RankReport{from, read(frame.stats())};
    case Frame::kStepOutput:
      return read(frame.step_output(), from);
    default:
      return unknown_message(frame);
  }
}

}  // namespace concertina::transport
