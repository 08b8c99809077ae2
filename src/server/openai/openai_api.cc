#include "server/openai/openai_api.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace concertina::server::openai {

namespace {
constexpr std::size_t kMaxWarnings = 50;
// What reading a structure counts for beside reading bodies: it may take as long as a large one.
constexpr std::size_t kStructureBytes = 128 << 10;

front::ClientId client_of(const std::string& client) {
  return front::ClientId(std::hash<std::string>()(client));
}
// Of 2 KiB a schema may take tens of milliseconds to read.
bool may_hold_a_schema(const std::string& body) {
  for (const char* word : {"\"strict\"", "\"tool_choice\"", "schema\"", "structured_outputs"})
    if (body.find(word) != body.npos) return true;
  return false;
}

// Names of requests: vLLM's and SGLang's field. Nothing: all of them.
std::optional<std::vector<std::string>> read_aborted(Fields& fields) {
  std::vector<std::string> ids;
  if (const auto id = fields.text("rid")) ids.push_back(*id);
  if (const Json* list = fields.find("request_ids")) {
    if (!list->is_array()) fields.wrong("request_ids", "a list of strings", *list);
    for (const Json& id : list->is_array() ? *list : Json::array()) {
      if (id.is_string())
        ids.push_back(id.get<std::string>());
      else
        fields.wrong("request_ids", "a list of strings", id);
    }
  }
  if (fields.boolean("abort_all").value_or(false)) return std::nullopt;
  if (ids.empty() && !fields.error())
    fields.wrong("request_ids", "a list of strings, not empty", Json::array());
  return ids;
}

ParseContext with(ParseContext context, StructureChecker& structures, ParseContext::Place place) {
  context.structures = &structures;
  context.place = place;
  return context;
}
}  // namespace

OpenAiApi::OpenAiApi(front::GenerationService& service, ParseContext parse_context, Metrics& metrics,
                     HelperThreads& helpers, boost::asio::io_context& loop)
    : service_(service),
      parse_context_(with(parse_context, structures_, ParseContext::Place::kHelper)),
      loop_context_(with(parse_context, structures_, ParseContext::Place::kLoop)),
      metrics_(metrics),
      helpers_(helpers),
      post_([&loop](std::function<void()> function) { boost::asio::post(loop, std::move(function)); }),
      names_(std::make_shared<TokenNames>(parse_context.tokenizer)),
      ticker_(loop, std::chrono::seconds(1), [this] { return keep_alive(); }) {}
OpenAiApi::~OpenAiApi() = default;

OpenAiApi::Asker OpenAiApi::asker_of(const http::Request& request) {
  return {request.client, request.request_id};
}

std::string OpenAiApi::model_object(const std::string& name) const {
  const front::ModelInfo& model = service_.model();
  return fmt::format(
      R"({{"id":{},"object":"model","created":{},"owned_by":"concertina","root":{},"parent":null,"max_model_len":{}}})",
      json_string(name), model.created_unix_s, json_string(model.path), model.max_model_len);
}

// 503 until a request would be admitted: probes take this path for readiness.
void OpenAiApi::list_models(const std::shared_ptr<http::Responder>& responder) const {
  if (const Status admitted = service_.admits(); !admitted)
    return responder->send(error_response(from_front(admitted.error())));
  std::string objects = model_object(service_.model().served_name);
  for (const std::string& name : parse_context_.other_names) objects += "," + model_object(name);
  responder->send({.body = R"({"object":"list","data":[)" + objects + "]}"});
}

void OpenAiApi::show_model(const std::string& id, const std::shared_ptr<http::Responder>& responder) const {
  if (parse_context_.is_model(id)) return responder->send({.body = model_object(id)});
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
  PreparedRequest prepared = prepare(endpoint, request.body, loop_context_);
  if (prepared.parameters && prepared.parameters->structure_check == Parameters::StructureCheck::kPostponed)
    return prepare_beside(endpoint, std::move(request), responder, kStructureBytes);
  begin(endpoint, std::move(prepared), asker_of(request), responder);
}

void OpenAiApi::generate_one(http::Request request, const std::shared_ptr<http::Responder>& responder) {
  request.body = R"({"prompt":[0],"max_tokens":1,"temperature":0})";
  generate(Endpoint::kCompletions, std::move(request), responder);
}

void OpenAiApi::abort(const http::Request& request, const std::shared_ptr<http::Responder>& responder) {
  const auto body = Fields::parse(request.body);
  if (!body) return responder->send(error_response(body.error()));
  Fields fields(*body);
  const auto ids = read_aborted(fields);
  if (fields.error()) return responder->send(error_response(*fields.error()));
  const std::size_t n_aborted = abort_where([&ids](const Generation& generation) {
    return !ids ||
           std::any_of(ids->begin(), ids->end(), [&](const auto& id) { return generation.is_called(id); });
  });
  responder->send({.body = fmt::format(R"({{"aborted":{}}})", n_aborted)});
}

void OpenAiApi::cancel(const std::string& id_and_verb, const std::shared_ptr<http::Responder>& responder) {
  constexpr std::string_view kVerb = "/cancel";
  const std::string id =
      id_and_verb.substr(0, id_and_verb.size() - std::min(kVerb.size(), id_and_verb.size()));
  if (!id_and_verb.ends_with(kVerb)) {
    return responder->send(
        error_response({404, "there is only /v1/requests/ID/cancel", std::nullopt, std::nullopt}));
  }
  if (abort_where([&id](const Generation& generation) { return generation.is_called(id); }) == 0) {
    return responder->send(
        error_response({404, fmt::format("no request {} is under way", json_string(shortened(id))),
                        std::nullopt, "not_found"}));
  }
  responder->send({.body = R"({"aborted":1})"});
}

// Each that ends leaves the list.
std::size_t OpenAiApi::abort_where(const std::function<bool(const Generation&)>& is_meant) {
  std::vector<std::shared_ptr<Generation>> named;
  for (const auto& [unused, generation] : open_) {
    if (is_meant(*generation)) named.push_back(generation);
  }
  for (const auto& generation : named) generation->abort();
  return named.size();
}

// A client that goes away meanwhile takes its turn in the queue with it; but who may want a stream may have
// closed its sending side, which says nothing.
void OpenAiApi::prepare_beside(Endpoint endpoint, http::Request request,
                               const std::shared_ptr<http::Responder>& responder, std::size_t n_least_bytes) {
  Asker asker = asker_of(request);
  const std::string name = request.client;
  const std::size_t n_bytes = std::max(request.body.size(), n_least_bytes);
  const bool may_stream = request.body.find("\"stream\"") != std::string::npos;
  const auto job = helpers_.submit(
      name, n_bytes,
      [this, life = lifetime_.watch(), endpoint, asker = std::move(asker), responder,
       context = parse_context_, body = std::move(request.body)]() -> HelperThreads::Done {
        const auto prepared = std::make_shared<PreparedRequest>(prepare(endpoint, body, context));
        return [this, life, endpoint, asker, responder, prepared] {
          if (life.is_over() || unprepared_.erase(responder.get()) == 0) return;
          begin(endpoint, std::move(*prepared), asker, responder);
        };
      });
  if (!job) {
    return responder->send(refusal(
        endpoint, {503, fmt::format("{} large requests wait to be read already", helpers_.n_waiting()),
                   std::nullopt, "queue_full"}));
  }
  unprepared_[responder.get()] = {endpoint, responder};
  if (may_stream) return;
  responder->on_disconnect(lifetime_.guard([this, name, id = *job, key = responder.get()] {
    helpers_.cancel(name, id);
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

void OpenAiApi::begin(Endpoint endpoint, PreparedRequest prepared, const Asker& asker,
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
  if (parameters->request_id.empty()) parameters->request_id = asker.request_id;
  const auto generation = std::make_shared<Generation>(
      GenerationContext{
          service_, parse_context_.tokenizer, parse_context_.formats, metrics_, post_, names_,
          [this, client = asker.client_name](std::size_t n_bytes, std::function<HelperThreads::Done()> work) {
            run_aside(client, n_bytes, std::move(work));
          }},
      client_of(asker.client_name), std::move(*parameters), responder,
      [this](Generation* over) { open_.erase(over); });
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
