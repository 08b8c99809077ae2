#include "server/openai/openai_api.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace concertina::server::openai {

namespace {
constexpr std::size_t kMaxWarnings = 50;

front::ClientId client_of(const std::string& client) {
  return front::ClientId(std::hash<std::string>()(client));
}
// Of 2 KiB a schema may take tens of milliseconds to read.
bool may_hold_a_schema(const std::string& body) {
  for (const char* word : {"\"strict\"", "\"tool_choice\"", "schema\"", "structured_outputs"})
    if (body.find(word) != body.npos) return true;
  return false;
}
}  // namespace

OpenAiApi::OpenAiApi(front::GenerationService& service, ParseContext parse_context, Metrics& metrics,
                     HelperThreads& helpers, boost::asio::io_context& loop)
    : service_(service),
      parse_context_(std::move(parse_context)),
      metrics_(metrics),
      helpers_(helpers),
      post_([&loop](std::function<void()> function) { boost::asio::post(loop, std::move(function)); }),
      names_(std::make_shared<TokenNames>(parse_context.tokenizer)),
      ticker_(loop, std::chrono::seconds(1), [this] { return keep_alive(); }) {}
OpenAiApi::~OpenAiApi() = default;

std::string OpenAiApi::model_object() const {
  const front::ModelInfo& model = service_.model();
  return fmt::format(
      R"({{"id":{},"object":"model","created":{},"owned_by":"concertina","root":{},"parent":null,"max_model_len":{}}})",
      json_string(model.served_name), model.created_unix_s, json_string(model.path), model.max_model_len);
}

// 503 until a request would be admitted: probes take this path for readiness.
void OpenAiApi::list_models(const std::shared_ptr<http::Responder>& responder) const {
  if (const Status admitted = service_.admits(); !admitted)
    return responder->send(error_response(from_front(admitted.error())));
  responder->send({.body = R"({"object":"list","data":[)" + model_object() + "]}"});
}

void OpenAiApi::show_model(const std::string& id, const std::shared_ptr<http::Responder>& responder) const {
  if (id == service_.model().served_name) return responder->send({.body = model_object()});
  responder->send(error_response({404,
                                  fmt::format("the model \"{}\" does not exist; this server has \"{}\"", id,
                                              service_.model().served_name),
                                  "model", "model_not_found"}));
}

void OpenAiApi::warn_once(const std::vector<std::string>& unknown) {
  for (const std::string& name : unknown) {
    if (warned_.size() < kMaxWarnings && warned_.insert(name).second) {
      spdlog::warn("the field {} of a request is not known; ignored", json_string(shortened(name)));
    }
  }
}

void OpenAiApi::generate(Endpoint endpoint, http::Request request,
                         const std::shared_ptr<http::Responder>& responder) {
  if (const Status admitted = service_.admits(); !admitted && endpoint < Endpoint::kCountTokens)
    return responder->send(refusal(endpoint, from_front(admitted.error())));
  if (request.body.size() > kInlineBytes || may_hold_a_schema(request.body))
    return prepare_beside(endpoint, std::move(request), responder);
  begin(endpoint, prepare(endpoint, request.body, parse_context_), request.client, responder);
}

// A client that goes away meanwhile takes its turn in the queue with it; but who may want a stream may have
// closed its sending side, which says nothing.
void OpenAiApi::prepare_beside(Endpoint endpoint, http::Request request,
                               const std::shared_ptr<http::Responder>& responder) {
  const std::string client = request.client;
  const std::size_t n_bytes = request.body.size();
  const bool may_stream = request.body.find("\"stream\"") != std::string::npos;
  const auto job = helpers_.submit(
      client, n_bytes,
      [this, life = lifetime_.watch(), endpoint, client, responder, context = parse_context_,
       body = std::move(request.body)]() -> HelperThreads::Done {
        const auto prepared = std::make_shared<PreparedRequest>(prepare(endpoint, body, context));
        return [this, life, endpoint, client, responder, prepared] {
          if (life.is_over() || unprepared_.erase(responder.get()) == 0) return;
          begin(endpoint, std::move(*prepared), client, responder);
        };
      });
  if (!job) {
    return responder->send(refusal(
        endpoint, {503, fmt::format("{} large requests wait to be read already", helpers_.n_waiting()),
                   std::nullopt, "queue_full"}));
  }
  unprepared_[responder.get()] = {endpoint, responder};
  if (may_stream) return;
  responder->on_disconnect(lifetime_.guard([this, client, id = *job, key = responder.get()] {
    helpers_.cancel(client, id);
    unprepared_.erase(key);
  }));
}

void OpenAiApi::refuse_unprepared() {
  const ApiError error = from_front(Error(front::FrontError::kShuttingDown, "the server is shutting down"));
  for (const auto& [unused, waiting] : std::exchange(unprepared_, {}))
    waiting.responder->send(refusal(waiting.endpoint, error));
}

// Here, where helpers have no room: what was computed is not refused.
void OpenAiApi::run_aside(const std::string& client, std::size_t n_bytes,
                          std::function<HelperThreads::Done()> work) {
  const auto job =
      helpers_.submit(client, n_bytes, [life = lifetime_.watch(), work]() -> HelperThreads::Done {
        return [life, done = work()] {
          if (!life.is_over()) done();
        };
      });
  if (!job) work()();
}

void OpenAiApi::begin(Endpoint endpoint, PreparedRequest prepared, const std::string& client,
                      const std::shared_ptr<http::Responder>& responder) {
  ApiResult<Parameters>& parameters = prepared.parameters;
  if (!parameters) return responder->send(refusal(endpoint, parameters.error()));
  warn_once(prepared.unknown);
  if (prepared.answer) return responder->send(*prepared.answer);
  if (const std::size_t n = parameters->prompts.size() * parameters->n; n > service_.max_requests()) {
    return responder->send(
        refusal(endpoint, {400,
                           fmt::format("{} prompts with n = {} are {} requests; this server takes at most {} "
                                       "at once (--max-num-seqs, --max-num-queued-reqs)",
                                       parameters->prompts.size(), parameters->n, n, service_.max_requests()),
                           "n", std::nullopt}));
  }
  const auto generation = std::make_shared<Generation>(
      GenerationContext{service_, parse_context_.tokenizer, parse_context_.formats, metrics_, post_, names_,
                        [this, client](std::size_t n_bytes, std::function<HelperThreads::Done()> work) {
                          run_aside(client, n_bytes, std::move(work));
                        }},
      client_of(client), std::move(*parameters), responder, [this](Generation* over) { open_.erase(over); });
  open_[generation.get()] = generation;
  generation->start();
  ticker_.start();
}

Ticker::Next OpenAiApi::keep_alive() {
  std::vector<std::shared_ptr<Generation>> open;  // one may end meanwhile: its client reads nothing
  for (const auto& [unused, generation] : open_) open.push_back(generation);
  for (const auto& generation : open) generation->keep_alive(std::chrono::steady_clock::now());
  return open_.empty() ? Ticker::Next::kStop : Ticker::Next::kGoOn;
}

}  // namespace concertina::server::openai
