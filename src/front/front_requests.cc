#include "base/check.h"
#include "base/log.h"
#include "front/front.h"
#include "transport/control_channel.h"

namespace concertina::front {

using deployment::DeploymentError;

namespace {
constexpr Duration kLookTimeout = std::chrono::seconds(1);  // at files of the checkpoint
}  // namespace

// What may wait, those counted for which a rank has room now. Nobody is shut out by another's hundreds: while
// some client has several waiting, one that has none gets a place beyond the bound, of which there are as
// many again.
Status Front::reserve(std::size_t n_requests, ClientId client) {
  RETURN_IF_ERROR(admits());
  const std::size_t n_waiting = n_queued() + n_reserved_, bound = options_.max_num_queued_reqs;
  const bool fits = n_waiting + n_requests <= bound + journal().n_free_places();
  const bool is_crowded_out = n_requests == 1 && journal().n_queued_of(client) == 0 &&
                              journal().n_queued() > journal().n_clients_queued() && n_waiting < 2 * bound;
  if (!fits && !is_crowded_out) {
    return fail(FrontError::kQueueFull,
                fmt::format("{} requests are waiting already (--max-num-queued-reqs)", n_waiting));
  }
  n_reserved_ += n_requests;
  return {};
}

void Front::give_back(std::size_t n_requests) { n_reserved_ -= n_requests; }

Result<RequestId> Front::submit(GenerationRequest request, GenerationListener& listener) {
  CHECK(n_reserved_ > 0, "a request without a reserved place");
  n_reserved_ -= 1;
  RETURN_IF_ERROR(admits());
  if (request.prompt_ids.size() >= options_.max_model_len) {
    return fail(
        FrontError::kPromptTooLong,
        fmt::format(
            "the prompt has {} tokens, and the model's length is {} tokens, prompt and answer together",
            request.prompt_ids.size(), options_.max_model_len));
  }
  RETURN_IF_ERROR(check_vocabulary(request));
  const ClientId client = request.client;
  ASSIGN_OR_RETURN(request::Request made, to_request(std::move(request)));
  const RequestId id = next_request_;
  next_request_ = next_request_.next();
  running_.insert_or_assign(id, Running{&listener, *requests_.enter()});
  made.id = id;
  deployment_.submit(std::move(made), client, loop_.now(), effects_);
  carry_out();
  return id;
}

// The API checks ids that clients name; those that come of texts are the tokenizer's, whose files may have
// tokens that the model has not. A rank that is given one ends, and then the next rank.
Status Front::check_vocabulary(const GenerationRequest& request) const {
  const auto check = [this](std::span<const TokenId> ids, const char* where) -> Status {
    for (const TokenId id : ids) {
      if (id >= 0 && static_cast<std::size_t>(id) < model_.vocab_size) continue;
      return fail(
          FrontError::kUnknownToken,
          fmt::format("token {} of {} is none of the model's, which has {}: its tokenizer has more tokens",
                      id, where, model_.vocab_size));
    }
    return {};
  };
  RETURN_IF_ERROR(check(request.prompt_ids, "the prompt"));
  if (request.rules) {
    for (const auto& word : request.rules->bad_words) RETURN_IF_ERROR(check(word, "bad_words"));
    const request::ThinkingBudget& thinking = request.rules->thinking;
    for (const auto& mark : {thinking.end, thinking.begin})
      RETURN_IF_ERROR(check(mark, "the marks of a thought"));
  }
  if (!request.structure) return {};
  if (const auto& begin = request.structure->thought_begin)
    RETURN_IF_ERROR(check(std::span(&*begin, 1), "the begin of a thought"));
  return check(request.structure->begins_after, "the end of a thought");
}

namespace {
Status too_large(std::string why) { return fail(DeploymentError::kTooLarge, std::move(why)); }

Status check_bounds(const request::Request& made) {
  if (const std::size_t n = made.stop.stop_token_ids.size(); n > request::kMaxStopTokenIds)
    return too_large(fmt::format("it has {} different stop_token_ids, and at most {} are allowed", n,
                                 request::kMaxStopTokenIds));
  if (!made.structure) return {};
  if (const std::size_t n = made.structure->source.size(); n > request::kMaxStructureBytes)
    return too_large(
        fmt::format("its structure has {} bytes, and at most {} are read", n, request::kMaxStructureBytes));
  if (const std::size_t n = made.structure->begins_after.size(); n > request::kMaxThoughtEndTokens)
    return too_large(fmt::format("its structure begins after {} tokens, and at most {} are allowed", n,
                                 request::kMaxThoughtEndTokens));
  return {};
}
}  // namespace

// The API has bounds of its own; these keep what a rank is sent within one message, however long it becomes.
Result<request::Request> Front::to_request(GenerationRequest request) const {
  request::Request made;
  made.n_prompt_tokens = request.prompt_ids.size();
  made.tokens = std::move(request.prompt_ids);
  made.sampling = request.sampling;
  made.stop = std::move(request.stop);
  made.rules = std::move(request.rules);
  made.logprobs = request.logprobs;
  made.priority = request.priority;
  made.structure = std::move(request.structure);
  request::sort_ids(made.stop.stop_token_ids);
  RETURN_IF_ERROR(check_bounds(made));
  const std::size_t n_tokens = std::min(
      options_.max_model_len, made.n_prompt_tokens + std::min(made.stop.max_tokens, options_.max_model_len));
  if (const std::size_t n_bytes = deployment::assign_bytes(made, n_tokens);
      n_bytes > transport::kMaxFrameBytes)
    return fail(DeploymentError::kTooLarge,
                fmt::format("with {} tokens it may need {} bytes on its way to a rank, and a message has at "
                            "most {}",
                            n_tokens, n_bytes, transport::kMaxFrameBytes));
  return made;
}

void Front::cancel(RequestId request) {
  const auto gone = running_.extract(request);
  deployment_.cancel(request, loop_.now(), effects_);
  carry_out();
}

void Front::execute(const deployment::EmitFailed& failed) {
  const bool may_be_files = failed.error.is(DeploymentError::kNonfiniteLogits) &&
                            options_.weight_loading == FrontOptions::WeightLoading::kLazy;
  if (may_be_files && look_at_checkpoint_ && checkpoint_change_.empty()) return tell_after_a_look(failed);
  tell_failed(failed);
}

// A file system that does not answer keeps nobody.
void Front::tell_after_a_look(const deployment::EmitFailed& failed) {
  await_look_.push_back(failed);
  if (await_look_.size() > 1) return;  // a look is under way
  look_timer_.set(loop_.now() + kLookTimeout, [this] {
    spdlog::warn("{}: could not look within {} ms whether the files changed", options_.model_path,
                 to_ms(kLookTimeout));
    tell_awaiting_look();
  });
  look_at_checkpoint_(lifetime_.guard([this] { tell_awaiting_look(); }));
}

// Those whom a change of the files has ended meanwhile are not there any more.
void Front::tell_awaiting_look() {
  look_timer_.cancel();
  for (const deployment::EmitFailed& failed : std::exchange(await_look_, {})) tell_failed(failed);
}

// Every request of a broken checkpoint fails: its rank has said so once.
void Front::tell_failed(const deployment::EmitFailed& failed) {
  const bool is_said = failed.error.is(DeploymentError::kNonfiniteLogits);
  spdlog::log(is_said ? spdlog::level::debug : spdlog::level::err, "request {}: {}", failed.request,
              failed.error.message());
  const auto over = running_.extract(failed.request);
  if (!over.empty()) over.mapped().listener->on_failed(failed.request, failed.error);
}

void Front::execute(const deployment::EmitToken& token) {
  const auto found = running_.find(token.request);
  if (found == running_.end()) return;
  GenerationListener& listener = *found->second.listener;
  const auto over = token.reason == request::FinishReason::kNone ? decltype(running_)::node_type{}
                                                                 : running_.extract(found);
  listener.on_token(token.request, token.token, token.reason, token.logprobs);
}

void Front::execute(const deployment::EmitPromptLogprobs& scored) {
  const auto found = running_.find(scored.logprobs.request);
  if (found != running_.end())
    found->second.listener->on_prompt_logprobs(scored.logprobs.request, scored.logprobs);
}

void Front::fail_all_requests(const Error& error) {
  for (const RequestId request : journal().live_requests())
    deployment_.cancel(request, loop_.now(), effects_);
  carry_out();  // ranks that live drop them
  // One by one: an answer of several choices ends with the first of them and cancels its others, whose
  // listener is gone then.
  while (!running_.empty()) {
    const auto next = running_.extract(running_.begin());
    next.mapped().listener->on_failed(next.key(), error);
  }
}

}  // namespace concertina::front
