// Clients and operators: requests, whose tokens are compared with the undisturbed stream, and operations.
#include <fmt/format.h>

#include "sim/front.h"
#include "sim/rank.h"
#include "sim/toy_model.h"

namespace concertina::sim {

using cluster::Member;
using std::chrono::milliseconds;

void Front::submit(std::size_t index) {
  if (is_over_ || is_shutting_down_) return;
  if (!coordinator().has_served()) {  // 503: it comes again
    ++n_refused_;
    world_.schedule.after(milliseconds(20), [this, index] {
      --n_refused_;
      submit(index);
    });
    return;
  }
  Random random(world_.scenario.seed * 1000 + index);
  Stream stream;
  request::Request& request = stream.request;
  request.id = RequestId(next_request_++);
  request.n_prompt_tokens = 1 + random.below(30);
  for (std::size_t i = 0; i < request.n_prompt_tokens; ++i)
    request.tokens.push_back(static_cast<TokenId>(random.below(world_.scenario.shape.vocab_size)));
  request.stop.max_tokens = 1 + random.below(50);
  if (random.below(2) == 0) request.stop.eos_token_ids = {0};
  const std::size_t max_length =
      std::min(world_.scenario.limits.max_model_len,
               world_.scenario.limits.n_blocks * world_.scenario.limits.block_size);
  stream.expected = undisturbed(world_.scenario.shape, request.tokens, request.stop, max_length);
  request::Request copy = request;
  streams_[request.id] = std::move(stream);
  deployment_->submit(std::move(copy), request::ClientId(index % 3), now(), effects_);
  carry_out();
}

void Front::execute(const deployment::EmitToken& token) {
  ++world_.coverage.n_tokens;
  last_token_ = now();
  Stream& stream = streams_.at(token.request);
  const std::size_t position = stream.n_emitted++;
  const bool is_right = position < stream.expected.size() && stream.expected[position] == token.token;
  if (!is_right) {
    world_.violate(fmt::format("request {}: token {} is {}, undisturbed it is {}", token.request, position,
                               token.token,
                               position < stream.expected.size() ? stream.expected[position] : -1));
  }
  if (token.reason != request::FinishReason::kNone) finish(token.request);
}

void Front::execute(const deployment::EmitFailed& failed) {
  world_.note(fmt::format("request {}: {}", failed.request, failed.error.message()));
  streams_.erase(failed.request);
  ++n_finished_;
}

void Front::finish(RequestId request) {
  const Stream& stream = streams_.at(request);
  if (stream.n_emitted != stream.expected.size())
    world_.violate(fmt::format("request {} ends after {} tokens of {}", request, stream.n_emitted,
                               stream.expected.size()));
  streams_.erase(request);
  ++n_finished_;
}

void Front::cancel_some_request() {
  if (is_over_ || streams_.empty()) return;
  auto stream = streams_.begin();
  std::advance(stream, world_.random.below(streams_.size()));
  const RequestId request = stream->first;
  streams_.erase(stream);
  ++n_finished_;
  deployment_->cancel(request, now(), effects_);
  carry_out();
}

void Front::request_scale() {
  if (is_over_) return;
  cluster::ScaleRequested scale{.id = fmt::format("op-{}", ++n_operations_)};
  Random& random = world_.random;
  scale.target_size = 1 + random.below(world_.scenario.cluster.max_size);
  scale.drain_timeout = milliseconds(1 + random.below(random.below(3) == 0 ? 30 : 2000));
  const cluster::EpochPlan* active = coordinator().active_epoch();
  if (active != nullptr && random.below(3) == 0) {
    std::vector<Member> left = active->members;
    if (random.below(2) == 0) scale.target_size = std::min(left.size(), world_.scenario.cluster.max_size);
    std::size_t n_retired = left.size() > scale.target_size    ? left.size() - scale.target_size
                            : left.size() == scale.target_size ? 1 + random.below(left.size())
                                                               : 0;
    for (; n_retired > 0; --n_retired) {
      const auto drawn = left.begin() + static_cast<std::ptrdiff_t>(random.below(left.size()));
      scale.retire.push_back(drawn->rank);
      left.erase(drawn);
    }
  }
  const auto record = deployment_->scale(scale, now(), effects_);
  world_.note(fmt::format("scale to {}: {}", scale.target_size, record ? "taken" : record.error().message()));
  carry_out();
}

// Leaves are not granted any more; what runs goes on to its end, short of ranks or not.
void Front::begin_shutdown() {
  is_shutting_down_ = true;
  tell(cluster::ShutdownBegun{});
}

}  // namespace concertina::sim
