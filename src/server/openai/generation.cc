#include "server/openai/generation.h"

#include <algorithm>
#include <chrono>

namespace concertina::server::openai {

namespace {
Time now() { return std::chrono::steady_clock::now(); }
}  // namespace

Generation::Generation(GenerationContext context, Parameters parameters,
                       std::shared_ptr<http::Responder> responder, std::function<void(Generation*)> on_over)
    : context_(context),
      parameters_(std::move(parameters)),
      responder_(std::move(responder)),
      on_over_(std::move(on_over)),
      writer_(parameters_.endpoint, context.service.model().served_name, parameters_.include_usage,
              parameters_.return_token_ids),
      arrived_(now()) {
  for (const auto& prompt : parameters_.prompts) {
    for (std::size_t i = 0; i < parameters_.n; ++i) {
      choices_.push_back(std::make_unique<Choice>(choices_.size(), prompt, &parameters_.stop_strings));
      if (context_.tokenizer != nullptr)
        choices_.back()->detokenizer.emplace(*context_.tokenizer, tokenizer::SkipSpecialTokens::kYes);
    }
  }
}

void Generation::start() {
  for (const auto& choice : choices_) {
    front::GenerationRequest request{choice->prompt, parameters_.sampling, parameters_.stop};
    request.sampling.choice_index = static_cast<std::uint32_t>(choice->index % parameters_.n);
    const auto id = context_.service.submit(std::move(request), *this);
    if (!id) {
      const ApiError error = from_front(id.error());
      for (const auto& [submitted, unused] : by_request_) context_.service.cancel(submitted);
      responder_->send(error_response(error));
      return over();
    }
    choice->request = *id;
    by_request_[*id] = choice.get();
    ++n_open_;
  }
  for (const auto& prompt : parameters_.prompts) context_.metrics.on_prompt(prompt.size());
  responder_->on_disconnect([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->abandon();
  });
}

void Generation::abandon() {
  if (answer_ == Answer::kOver) return;
  for (const auto& [request, choice] : by_request_) {
    context_.service.cancel(request);
    if (choice->finish_reason == nullptr) context_.metrics.on_finished("abort", now() - arrived_);
  }
  over();
}

void Generation::over() {
  answer_ = Answer::kOver;
  by_request_.clear();
  if (const auto on_over = std::exchange(on_over_, nullptr)) on_over(this);
}

void Generation::on_tokens(RequestId request, std::span<const TokenId> tokens) {
  const auto self = shared_from_this();  // an answer that ends here lets go of this object
  const auto found = by_request_.find(request);
  if (found == by_request_.end()) return;
  for (const TokenId token : tokens) {
    if (answer_ == Answer::kOver || found->second->finish_reason != nullptr) return;
    on_token(*found->second, token);
  }
}

bool Generation::is_stop_token(TokenId token) const {
  const auto has = [token](const std::vector<TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  return has(parameters_.stop.stop_token_ids) ||
         (!parameters_.stop.ignore_eos && has(parameters_.stop.eos_token_ids));
}

void Generation::on_token(Choice& choice, TokenId token) {
  const Time time = now();
  if (choice.n_tokens == 0) {
    context_.metrics.on_first_token(time - arrived_);
  } else {
    context_.metrics.on_next_token(time - choice.last_token);
  }
  choice.last_token = time;
  ++choice.n_tokens;
  choice.ids.push_back(token);
  std::string text;
  if (choice.detokenizer && !is_stop_token(token)) text = choice.detokenizer->push(token);
  StopStrings::Step step = choice.stop.push(text);
  if (step.hit == StopStrings::Step::Hit::kYes) {
    emit(choice, std::move(step.text), nullptr);
    context_.service.cancel(choice.request);
    return end_choice(choice, "stop");
  }
  emit(choice, std::move(step.text), nullptr);
}

void Generation::emit(Choice& choice, std::string text, const char* finish_reason) {
  if (parameters_.stream == Stream::kNo) {
    choice.text += text;
    return;
  }
  const bool has_ids = parameters_.return_token_ids == ReturnTokenIds::kYes && !choice.ids.empty();
  if (text.empty() && !has_ids && finish_reason == nullptr) return;
  begin_stream();
  responder_->write(writer_.delta(choice.index, text, choice.ids, unsent_prompt(choice), finish_reason));
  choice.ids.clear();
}

std::span<const TokenId> Generation::unsent_prompt(Choice& choice) const {
  if (std::exchange(choice.prompt_ids, Choice::Prompt::kSent) == Choice::Prompt::kSent) return {};
  return choice.prompt;
}

void Generation::begin_stream() {
  if (answer_ != Answer::kNone) return;
  answer_ = Answer::kStreaming;
  responder_->begin_stream("text/event-stream; charset=utf-8");
  if (parameters_.endpoint == Endpoint::kCompletions) return;
  for (const auto& choice : choices_) responder_->write(writer_.first(choice->index, unsent_prompt(*choice)));
}

void Generation::on_finished(RequestId request, scheduler::FinishReason reason) {
  const auto self = shared_from_this();
  const auto found = by_request_.find(request);
  if (found == by_request_.end() || found->second->finish_reason != nullptr) return;
  Choice& choice = *found->second;
  std::string rest = choice.detokenizer ? choice.detokenizer->flush() : std::string();
  StopStrings::Step last = choice.stop.push(rest);
  const bool hit = last.hit == StopStrings::Step::Hit::kYes;
  emit(choice, hit ? std::move(last.text) : last.text + choice.stop.flush(), nullptr);
  end_choice(choice, hit || reason == scheduler::FinishReason::kStop ? "stop" : "length");
}

void Generation::end_choice(Choice& choice, const char* reason) {
  choice.finish_reason = reason;
  if (parameters_.stream == Stream::kYes) emit(choice, "", reason);
  context_.metrics.on_finished(reason, now() - arrived_);
  if (--n_open_ == 0) end_answer();
}

void Generation::end_answer() {
  Usage usage;
  for (const auto& prompt : parameters_.prompts) usage.prompt_tokens += prompt.size();
  for (const auto& choice : choices_) usage.completion_tokens += choice->n_tokens;
  if (parameters_.stream == Stream::kYes) {
    if (parameters_.include_usage == IncludeUsage::kYes) responder_->write(writer_.usage(usage));
    responder_->write(ChunkWriter::done());
    responder_->finish();
  } else {
    std::vector<ChunkWriter::Choice> choices;
    for (const auto& choice : choices_)
      choices.push_back({choice->text, choice->finish_reason, choice->ids, choice->prompt});
    responder_->send({.body = writer_.whole(choices, usage)});
  }
  over();
}

// An answer of which nothing was sent becomes an error; a stream that has begun ends with one.
void Generation::on_failed(RequestId request, const Error& error) {
  const auto self = shared_from_this();
  if (answer_ == Answer::kOver || !by_request_.contains(request)) return;
  for (const auto& [other, choice] : by_request_) {
    if (choice->finish_reason != nullptr) continue;
    if (other != request) context_.service.cancel(other);
    context_.metrics.on_finished("error", now() - arrived_);
  }
  const ApiError api_error = from_front(error);
  if (answer_ == Answer::kStreaming) {
    responder_->write("data: " + error_body(api_error) + "\n\n");
    responder_->write(ChunkWriter::done());
    responder_->finish();
  } else {
    responder_->send(error_response(api_error));
  }
  over();
}

}  // namespace concertina::server::openai
