#include "server/openai/generation.h"

#include <algorithm>
#include <chrono>

#include "server/openai/prepare.h"

namespace concertina::server::openai {

namespace {
constexpr std::size_t kMaxRequestsATurn = 32, kMaxTokensATurn = 64 << 10;
constexpr std::size_t kInlineBytes = 64 << 10;  // of a whole answer: some 100 us
constexpr Duration kKeepAliveInterval = std::chrono::seconds(15);

Time now() { return std::chrono::steady_clock::now(); }

bool is_stop(const End& end) {
  return end.finish_reason != nullptr && end.finish_reason == std::string_view("stop");
}
}  // namespace

Generation::Generation(GenerationContext context, front::ClientId client, Parameters parameters,
                       std::shared_ptr<http::Responder> responder, std::function<void(Generation*)> on_over)
    : context_(std::move(context)),
      client_(client),
      parameters_(std::move(parameters)),
      rules_(parameters_.rules),
      structure_(parameters_.structure ? request::SharedStructure(*parameters_.structure)
                                       : request::SharedStructure()),
      responder_(std::move(responder)),
      on_over_(std::move(on_over)),
      writer_(make_writer(parameters_, context_.service.model())),
      arrived_(now()) {
  if (context_.names == nullptr) context_.names = std::make_shared<TokenNames>(context_.tokenizer);
  for (std::size_t prompt = 0; prompt < parameters_.prompts.size(); ++prompt) {
    for (std::size_t i = 0; i < parameters_.n; ++i) {
      choices_.push_back(std::make_unique<Choice>(choices_.size(), prompt, parameters_, context_.tokenizer,
                                                  context_.formats));
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
  if (parameters_.stop.max_tokens == 0 && !wants_scores_alone()) {
    for (const auto& choice : choices_) {
      const End end{"length"};
      emit(*choice, {}, end);
      end_choice(*choice, end);
    }
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

// A rank scores a prompt while it computes it, for a token that nobody is told of.
bool Generation::wants_scores_alone() const {
  return parameters_.stop.max_tokens == 0 && parameters_.logprobs.n_prompt_top.has_value();
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
    n_tokens += choice.prompt().size();
    if (const Status submitted = submit(choice); !submitted) fail(submitted.error(), std::nullopt);
  }
}

Status Generation::submit(Choice& choice) {
  front::GenerationRequest request{.client = client_,
                                   .prompt_ids = choice.prompt(),
                                   .sampling = parameters_.sampling,
                                   .stop = parameters_.stop,
                                   .rules = rules_,
                                   .logprobs = parameters_.logprobs,
                                   .priority = parameters_.priority,
                                   .structure = structure_};
  request.stop.max_tokens = std::max<std::size_t>(1, request.stop.max_tokens);
  request.sampling.choice_index = static_cast<std::uint32_t>(choice.index % parameters_.n);
  n_reserved_ -= 1;
  ASSIGN_OR_RETURN(choice.request, context_.service.submit(std::move(request), *this));
  by_request_[choice.request] = &choice;
  return {};
}

bool Generation::is_called(const std::string& id) const {
  const std::string& own = parameters_.request_id;
  return !own.empty() && (id == own || id == "chatcmpl-" + own || id == "cmpl-" + own);
}

void Generation::abort() {
  const auto self = shared_from_this();
  const End end{"abort"};
  for (const auto& choice : choices_) {
    if (answer_ == Answer::kOver || choice->end.finish_reason != nullptr) continue;
    const auto submitted = std::find_if(by_request_.begin(), by_request_.end(),
                                        [&](const auto& entry) { return entry.second == choice.get(); });
    if (submitted != by_request_.end()) {
      context_.service.cancel(submitted->first);
      by_request_.erase(submitted);
    }
    emit(*choice, choice->answer.read("", tools::End::kEnd), end);
    end_choice(*choice, end);
  }
}

void Generation::abandon() {
  if (answer_ == Answer::kOver) return;
  for (const auto& choice : choices_) {
    if (choice->end.finish_reason == nullptr) context_.metrics.on_finished("abort", now() - arrived_);
  }
  over();
}

void Generation::over() {
  answer_ = Answer::kOver;
  for (const auto& [request, choice] : by_request_) {
    if (choice->end.finish_reason == nullptr) context_.service.cancel(request);
  }
  by_request_.clear();
  context_.service.give_back(std::exchange(n_reserved_, 0));
  if (const auto on_over = std::exchange(on_over_, nullptr)) on_over(this);
}

void Generation::keep_alive(Time now) {
  const bool is_stream = answer_ == Answer::kAdmitted || answer_ == Answer::kStreaming;
  if (is_stream && now - last_written_ >= kKeepAliveInterval) write(": keep-alive\n\n");
}

void Generation::count(Choice& choice) {
  if (parameters_.stop.max_tokens == 0) return;
  const Time time = now();
  if (choice.n_tokens == 1) {
    context_.metrics.on_first_token(time - arrived_);
    choice.first_token = time;
  } else {
    context_.metrics.on_next_token(time - choice.last_token);
  }
  choice.last_token = time;
}

// The end's reason rides on the last token's chunk.
void Generation::on_token(RequestId request, TokenId token, request::FinishReason reason,
                          std::span<const request::TokenLogprob> logprobs) {
  const auto self = shared_from_this();  // an answer that ends here lets go of this object
  const auto found = by_request_.find(request);
  if (found == by_request_.end() || found->second->end.finish_reason != nullptr) return;
  Choice& choice = *found->second;
  Choice::Step step = choice.push(token, reason, logprobs);
  count(choice);
  const bool is_last = step.end.finish_reason != nullptr;
  tools::Events events = choice.answer.read(step.text, is_last ? tools::End::kEnd : tools::End::kNotYet);
  if (choice.answer.is_over() && !is_last) step.end.finish_reason = "stop";
  const bool is_over = step.is_hit || choice.answer.is_over();
  if (is_over && reason == request::FinishReason::kNone) context_.service.cancel(request);
  if (choice.answer.has_calls() && is_stop(step.end)) step.end.finish_reason = "tool_calls";
  emit(choice, std::move(events), step.end);
  if (step.end.finish_reason != nullptr) end_choice(choice, step.end);
}

void Generation::on_prompt_logprobs(RequestId request, const request::PromptLogprobs& scored) {
  const auto found = by_request_.find(request);
  if (found != by_request_.end()) found->second->push_prompt(scored);
}

void Generation::emit(Choice& choice, tools::Events events, const End& end) {
  if (std::string echo = choice.take_echo(); !echo.empty())
    events.insert(events.begin(), {tools::Event::Kind::kContent, std::move(echo), 0, 0, {}});
  if (parameters_.stream == Stream::kNo) {
    for (const tools::Event& event : events) choice.parts.add(event);
    return;
  }
  const bool has_ids = parameters_.return_token_ids == ReturnTokenIds::kYes && !choice.ids.empty();
  if (events.empty() && !has_ids && choice.logprobs.empty() && end.finish_reason == nullptr) return;
  begin_stream();
  write(writer_->delta({.choice = choice.index,
                        .events = events,
                        .logprobs = choice.logprobs.take(*context_.names),
                        .ids = choice.ids,
                        .prompt = unsent_prompt(choice),
                        .end = end,
                        .usage = usage_of(choice)}));
  choice.ids.clear();
}

Usage Generation::usage_of(const Choice& choice) const {
  Usage usage{choice.prompt().size(), choice.n_tokens, {}};
  if (choice.n_tokens > 0) {
    usage.prompt_ms = to_ms(choice.first_token - arrived_);
    usage.predicted_ms = to_ms(choice.last_token - choice.first_token);
  }
  if (parameters_.answer.reasoning != AnswerParameters::Reasoning::kInContent)
    usage.reasoning_tokens = choice.answer.n_reasoning_tokens();
  return usage;
}

PromptView Generation::prompt_of(const Choice& choice) const {
  const bool is_told = choice.prompt_index() < parameters_.prompt_ids.size();
  return {choice.prompt().size(),
          is_told ? parameters_.prompt_ids[choice.prompt_index()] : std::string_view()};
}

PromptView Generation::unsent_prompt(Choice& choice) const {
  const bool is_sent = std::exchange(choice.prompt_ids, Choice::Prompt::kSent) == Choice::Prompt::kSent;
  return is_sent ? PromptView{choice.prompt().size()} : prompt_of(choice);
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
void Generation::end_choice(Choice& choice, const End& end) {
  choice.end = end;
  context_.metrics.on_finished(end.finish_reason, now() - arrived_);
  if (--n_open_ == 0) end_answer();
}

void Generation::end_answer() {
  Usage usage;
  for (const auto& prompt : parameters_.prompts) usage.prompt_tokens += prompt.size();
  for (const auto& choice : choices_) {
    const Usage one = usage_of(*choice);
    usage.completion_tokens += one.completion_tokens;
    usage.prompt_ms = std::max(usage.prompt_ms, one.prompt_ms);
    usage.predicted_ms = std::max(usage.predicted_ms, one.predicted_ms);
    if (one.reasoning_tokens)
      usage.reasoning_tokens = usage.reasoning_tokens.value_or(0) + *one.reasoning_tokens;
  }
  if (parameters_.stream == Stream::kNo) return send_whole(usage);
  write(writer_->end(usage));
  responder_->finish();
  over();
}

// About as many as it has.
std::size_t Generation::whole_bytes() const {
  constexpr std::size_t kLogprobBytes = 64, kIdBytes = 6;
  std::size_t n_bytes = 0;
  for (const auto& choice : choices_) {
    n_bytes += choice->parts.content.size() + choice->parts.reasoning.size();
    for (const ToolCall& call : choice->parts.calls) n_bytes += call.arguments.size();
    n_bytes += kLogprobBytes * choice->logprobs.n_logprobs() + prompt_of(*choice).ids.size();
    if (choice->prompt_logprobs) n_bytes += kLogprobBytes * choice->prompt_logprobs->n_logprobs();
    if (parameters_.return_token_ids == ReturnTokenIds::kYes) n_bytes += kIdBytes * choice->ids.size();
  }
  return n_bytes + (parameters_.repeated_fields ? parameters_.repeated_fields->size() : 0);
}

std::string Generation::whole(const Usage& usage, TokenNames& names) {
  std::vector<WholeChoice> choices;
  for (const auto& choice : choices_)
    choices.push_back({choice->parts, choice->end, choice->logprobs.take(names),
                       choice->prompt_logprobs ? choice->prompt_logprobs->whole(names) : "null", choice->ids,
                       prompt_of(*choice)});
  return writer_->whole(choices, usage);
}

void Generation::send_whole(const Usage& usage) {
  const std::size_t n_bytes = whole_bytes();
  if (n_bytes <= kInlineBytes || !context_.aside) {
    responder_->send({.body = whole(usage, *context_.names)});
    return over();
  }
  answer_ = Answer::kWriting;
  context_.aside(n_bytes, [self = shared_from_this(), usage]() -> std::function<void()> {
    TokenNames names(self->context_.tokenizer);
    const auto body = std::make_shared<std::string>(self->whole(usage, names));
    return [self, body] {
      if (self->answer_ != Answer::kWriting) return;
      self->responder_->send({.body = std::move(*body)});
      self->over();
    };
  });
}

void Generation::on_failed(RequestId request, const Error& error) {
  const auto self = shared_from_this();
  if (answer_ < Answer::kWriting && by_request_.contains(request)) fail(error, request);
}

// An answer of which nothing was sent becomes an error; a stream that was admitted ends with one. `cause`:
// the request that the front has given up already.
void Generation::fail(const Error& error, std::optional<RequestId> cause) {
  for (const auto& choice : choices_) {
    if (choice->end.finish_reason == nullptr && n_submitted_ > 0)
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
