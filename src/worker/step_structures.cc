// How the step loop has structures: requests whose grammar is not compiled yet are held, others go on.
#include "base/log.h"
#include "worker/step_loop.h"

namespace concertina::worker {

GrammarCompiler::Answer StepLoop::tell_compiled() {
  return [this](GrammarCompiled compiled) {
    parts_.inbox.push(std::move(compiled));
    rank_.steps->ring_self();
  };
}

// A replay's, too: it is to be there when the request moves here, which it does not before.
void StepLoop::await_structure(RequestId request, const request::SharedStructure& structure) {
  if (structures_.begin(request, structure, now()) != Structures::Is::kReady) rank_.scheduler->hold(request);
}

void StepLoop::decide_structures() {
  structures_.on_time(now());
  for (const RequestId request : structures_.take_decided()) decide_structure(request);
}

// A replay catches up once this is decided, so that it does not wait for its grammar after it moved. One that
// has none fails when it is taken over: until then it is not this rank that answers.
void StepLoop::decide_structure(RequestId request) {
  const auto is = structures_.state(request);
  if (!is || is == Structures::Is::kAwaited) return;
  rank_.scheduler->let_go(request);
  if (is != Structures::Is::kFailed || rank_.scheduler->mode_of(request) != request::Mode::kLive) return;
  spdlog::error("request {} ends, its structure has no grammar here: {}", request,
                structures_.failure(request));
  const auto event = rank_.scheduler->give_up(request, request::FinishReason::kNoStructure);
  structures_.end(request);
  incoming_.on_dropped(request);
  parts_.send(cluster::StepOutput{.member = parts_.self, .tokens = {*event}});
}

// Behind a token that was drawn: those that are alone in their masks need no step of their own, and no draw,
// which is a function of the position, is made for them. What a row computes does not depend on it, since KV
// of several tokens is the same bits as of one after the other.
void StepLoop::jump_forward(const request::TokenEvent& drawn) {
  if (rank_.jump_forward == RankOptions::JumpForward::kNo || !structures_.state(drawn.request)) return;
  for (;;) {
    const request::Request* const request = rank_.scheduler->find(drawn.request);
    const auto token = request == nullptr ? std::nullopt : structures_.forced(*request);
    const auto event = token ? rank_.scheduler->append(drawn.request, *token) : std::nullopt;
    if (!event) return;
    forced_.push_back(*event);
    if (event->finish_reason != request::FinishReason::kNone) return structures_.end(drawn.request);
  }
}

}  // namespace concertina::worker
