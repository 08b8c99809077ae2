#include "server/openai/generation.h"

#include <algorithm>
#include <chrono>

#include "server/openai/prepare.h"

namespace concertina::server::openai {

namespace {
constexpr std::size_t kMaxRequestsATurn = 32, kMaxTokensATurn = 64 << 10;
constexpr Duration kKeepAliveInterval = std::chrono::seconds(15);

Time now() { return std::chrono::steady_clock::now(); }
}  // namespace

Generation::Generation(GenerationContext context, front::ClientId client, Parameters parameters,
                       std::shared_ptr<http::Responder> responder, std::function<void(Generation*)> on_over)
    : context_(std::move(context)),
      client_(client),
      parameters_(std::move(parameters)),
      responder_(std::move(responder)),
      on_over_(std::move(on_over)),
      writer_(make_writer(parameters_, context_.service.model())),
      arrived_(now()) {
  for (const auto& prompt : parameters_.prompts) {
    for (std::size_t i = 0; i < parameters_.n; ++i) {
      choices_.push_back(std::make_unique<Choice>(choices_.size(), prompt, parameters_.stop_strings));
      choices_.back()->parser = make_answer_parser(parameters_.answer, context_.formats);
      if (context_.tokenizer != nullptr)
        choices_.back()->detokenizer.emplace(*context_.tokenizer, tokenizer::SkipSpecialTokens::kYes,
                                             tokenizer::TextBegin::kHere,
                                             shown_marks(parameters_.answer, context_.formats));
    }
  }
  n_open_ = choices_.size();
}

void Generation::start() {
  const auto self = shared_from_this();
  if (const Status reserved = context_.service.reserve(choices_.size(), client_); !reserved)
    return fail(reserved.error(), std::nullopt);
  n_reserved_ = choices_.size();
  for (const auto& prompt : parameters_.prompts) context_.metrics.on_prompt(prompt.size());
  if (parameters_.stop.max_tokens == 0) {
    for (const auto& choice : choices_) end_choice(*choice, "length");
    return;
  }
  submit_some();
  if (answer_ != Answer::kNone) return;
  if (parameters_.stream ==
      Stream::kYes) {  // first: the end of the input of who reads a stream means nothing
    answer_ = Answer::kAdmitted;
    last_written_ = now();
    responder_->begin_stream("text/event-stream; charset=utf-8");
  }
  responder_->on_disconnect([weak = weak_from_this()] {
    if (const auto alive = weak.lock()) alive->abandon();
  });
}

// Not all at once: 128 choices of a prompt of 100,000 tokens would hold up every stream for tens of
// milliseconds.
void Generation::submit_some() {
  const auto self = shared_from_this();
  std::size_t n_requests = 0, n_tokens = 0;
  while (answer_ != Answer::kOver && n_submitted_ < choices_.size()) {
    if (n_requests >= kMaxRequestsATurn || n_tokens >= kMaxTokensATurn) {
      return context_.post([weak = weak_from_this()] {
        if (const auto alive = weak.lock()) alive->submit_some();
      });
    }
    Choice& choice = *choices_[n_submitted_++];
    n_requests += 1;
    n_tokens += choice.prompt.size();
    if (const Status submitted = submit(choice); !submitted) fail(submitted.error(), std::nullopt);
  }
}

Status Generation::submit(Choice& choice) {
  front::GenerationRequest request{client_, choice.prompt, parameters_.sampling, parameters_.stop};
  request.sampling.choice_index = static_cast<std::uint32_t>(choice.index % parameters_.n);
  n_reserved_ -= 1;
  ASSIGN_OR_RETURN(choice.request, context_.service.submit(std::move(request), *this));
  by_request_[choice.request] = &choice;
  return {};
}

void Generation::abandon() {
  if (answer_ == Answer::kOver) return;
  for (const auto& choice : choices_) {
    if (choice->finish_reason == nullptr) context_.metrics.on_finished("abort", now() - arrived_);
  }
  over();
}

void Generation::over() {
  answer_ = Answer::kOver;
  for (const auto& [request, choice] : by_request_) {
    if (choice->finish_reason == nullptr) context_.service.cancel(request);
  }
  by_request_.clear();
  context_.service.give_back(std::exchange(n_reserved_, 0));
  if (const auto on_over = std::exchange(on_over_, nullptr)) on_over(this);
}

void Generation::keep_alive(Time now) {
  const bool is_stream = answer_ == Answer::kAdmitted || answer_ == Answer::kStreaming;
  if (is_stream && now - last_written_ >= kKeepAliveInterval) write(": keep-alive\n\n");
}

bool Generation::is_stop_token(TokenId token) const {
  const request::StopParams& stop = parameters_.stop;
  const auto& eos = stop.eos_token_ids;
  return std::binary_search(stop.stop_token_ids.begin(), stop.stop_token_ids.end(), token) ||
         (!stop.ignore_eos && std::find(eos.begin(), eos.end(), token) != eos.end());
}

void Generation::count(Choice& choice, TokenId token) {
  const Time time = now();
  if (choice.n_tokens == 0) {
    context_.metrics.on_first_token(time - arrived_);
  } else {
    context_.metrics.on_next_token(time - choice.last_token);
  }
  choice.last_token = time;
  ++choice.n_tokens;
  choice.ids.push_back(token);
}

// The end's reason rides on the last token's chunk.
void Generation::on_token(RequestId request, TokenId token, request::FinishReason reason) {
  const auto self = shared_from_this();  // an answer that ends here lets go of this object
  const auto found = by_request_.find(request);
  if (found == by_request_.end() || found->second->finish_reason != nullptr) return;
  Choice& choice = *found->second;
  count(choice, token);
  const bool is_last = reason != request::FinishReason::kNone, is_reasoning = choice.parser->is_reasoning();
  std::string text;
  if (choice.detokenizer && !is_stop_token(token)) text = choice.detokenizer->push(token);
  if (choice.detokenizer && is_last) text += choice.detokenizer->flush();
  StopStrings::Step step = choice.stop.push(text);
  bool hit = step.hit == StopStrings::Step::Hit::kYes;
  if (!hit && is_last) step.text += choice.stop.flush();
  const tools::Events events =
      parse(choice, step.text, hit || is_last ? tools::End::kEnd : tools::End::kNotYet);
  if (is_reasoning || choice.parser->is_reasoning()) choice.n_reasoning_tokens += 1;
  hit = hit || ends_with_first_call(events);
  if (!hit && !is_last) return emit(choice, events, nullptr);
  if (hit && !is_last) context_.service.cancel(request);
  const bool is_stop = hit || reason == request::FinishReason::kStop;
  const char* const why = !is_stop ? "length" : choice.n_calls > 0 ? "tool_calls" : "stop";
  emit(choice, events, why);
  end_choice(choice, why);
}

// What is for clients: no marks, and calls with their ids.
tools::Events Generation::parse(Choice& choice, const std::string& text, tools::End end) {
  using Kind = tools::Event::Kind;
  tools::Events all, events;
  choice.parser->push(text, all);
  if (end == tools::End::kEnd) choice.parser->finish(all);
  for (tools::Event& event : all) {
    const bool is_hidden = event.kind == Kind::kReasoning &&
                           parameters_.answer.reasoning == AnswerParameters::Reasoning::kHidden;
    if (event.kind == Kind::kMark || is_hidden) continue;
    if (event.kind == Kind::kCallBegin) choice.n_calls += 1;
    if (event.kind == Kind::kCallBegin && event.call_id.empty())
      event.call_id = make_call_id(context_.formats.formats);
    events.push_back(std::move(event));
    if (ends_with_first_call(events)) break;
  }
  return events;
}

// Whether no more calls are wanted after the one that ends `events`.
bool Generation::ends_with_first_call(const tools::Events& events) const {
  return parameters_.answer.parallel == AnswerParameters::Parallel::kOne && !events.empty() &&
         events.back().kind == tools::Event::Kind::kCallEnd;
}

void Generation::emit(Choice& choice, const tools::Events& events, const char* finish_reason) {
  if (parameters_.stream == Stream::kNo) {
    for (const tools::Event& event : events) choice.parts.add(event);
    return;
  }
  const bool has_ids = parameters_.return_token_ids == ReturnTokenIds::kYes && !choice.ids.empty();
  if (events.empty() && !has_ids && finish_reason == nullptr) return;
  begin_stream();
  write(writer_->delta({choice.index, events, choice.ids, unsent_prompt(choice), finish_reason}));
  choice.ids.clear();
}

std::span<const TokenId> Generation::unsent_prompt(Choice& choice) const {
  if (std::exchange(choice.prompt_ids, Choice::Prompt::kSent) == Choice::Prompt::kSent) return {};
  return choice.prompt;
}

void Generation::begin_stream() {
  if (answer_ == Answer::kStreaming) return;
  if (answer_ == Answer::kNone) responder_->begin_stream("text/event-stream; charset=utf-8");
  answer_ = Answer::kStreaming;
  if (parameters_.endpoint == Endpoint::kCompletions) return;
  for (const auto& choice : choices_) write(writer_->first(choice->index, unsent_prompt(*choice)));
}

void Generation::write(std::string_view data) {
  last_written_ = now();
  responder_->write(data);
}

// After the last chunk of the choice.
void Generation::end_choice(Choice& choice, const char* reason) {
  if (choice.n_tokens == 0) emit(choice, {}, reason);
  choice.finish_reason = reason;
  context_.metrics.on_finished(reason, now() - arrived_);
  if (--n_open_ == 0) end_answer();
}

void Generation::end_answer() {
  Usage usage;
  for (const auto& prompt : parameters_.prompts) usage.prompt_tokens += prompt.size();
  std::size_t n_reasoning = 0;
  for (const auto& choice : choices_) {
    usage.completion_tokens += choice->n_tokens;
    n_reasoning += choice->n_reasoning_tokens;
  }
  if (parameters_.answer.reasoning != AnswerParameters::Reasoning::kInContent)
    usage.reasoning_tokens = n_reasoning;
  if (parameters_.stream == Stream::kYes) {
    write(writer_->end(usage));
    responder_->finish();
  } else {
    std::vector<WholeChoice> choices;
    for (const auto& choice : choices_)
      choices.push_back({choice->parts, choice->finish_reason, choice->ids, choice->prompt});
    responder_->send({.body = writer_->whole(choices, usage)});
  }
  over();
}

void Generation::on_failed(RequestId request, const Error& error) {
  const auto self = shared_from_this();
  if (answer_ != Answer::kOver && by_request_.contains(request)) fail(error, request);
}

// An answer of which nothing was sent becomes an error; a stream that was admitted ends with one. `cause`:
// the request that the front has given up already.
void Generation::fail(const Error& error, std::optional<RequestId> cause) {
  for (const auto& choice : choices_) {
    if (choice->finish_reason == nullptr && n_submitted_ > 0)
      context_.metrics.on_finished("error", now() - arrived_);
  }
  if (cause) by_request_.erase(*cause);
  const ApiError api_error = from_front(error);
  if (answer_ == Answer::kNone) {
    responder_->send(refusal(parameters_.endpoint, api_error));
  } else {
    write(writer_->failed(api_error));
    responder_->finish();
  }
  over();
}

}  // namespace concertina::server::openai
