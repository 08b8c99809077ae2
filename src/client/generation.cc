#include "client/generation.h"

#include <nlohmann/json.hpp>

namespace concertina::client {
namespace {

using nlohmann::json;

template <typename T>
void put(json& body, const char* name, const std::optional<T>& value) {
  if (value) body[name] = *value;
}

void append_ids(const json& object, const char* name, std::vector<TokenId>& ids) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return;
  for (const json& id : *found) ids.push_back(id.get<TokenId>());
}

void append_logprobs(const json& choice, std::vector<std::string>& logprobs) {
  const auto found = choice.find("logprobs");
  if (found == choice.end() || found->is_null()) return;
  if (found->contains("content")) {
    for (const json& one : found->at("content")) logprobs.push_back(one.dump());
    return;
  }
  const json &tokens = found->at("tokens"), &own = found->at("token_logprobs"),
             &top = found->at("top_logprobs"), &offsets = found->at("text_offset");
  for (std::size_t i = 0; i < tokens.size(); ++i)
    logprobs.push_back(json{tokens.at(i), own.at(i), top.at(i), offsets.at(i)}.dump());
}

std::string text_of(const json& choice) {
  const json& holder = choice.contains("delta") ? choice.at("delta") : choice;
  const char* const name = choice.contains("delta") ? "content" : "text";
  const auto found = holder.find(name);
  return found == holder.end() || found->is_null() ? std::string() : found->get<std::string>();
}

// Adds one event to the generation; throws json::exception where it is not what the contract says.
GenerationChunk add_event(const json& event, Generation& generation) {
  GenerationChunk chunk;
  for (const json& choice : event.at("choices")) {
    chunk.text += text_of(choice);
    append_ids(choice, "token_ids", chunk.token_ids);
    append_logprobs(choice, generation.logprobs);
    append_ids(choice, "prompt_token_ids", generation.prompt_ids);
    const json& reason = choice.at("finish_reason");
    if (!reason.is_null()) generation.finish_reason = reason.get<std::string>();
  }
  const Time time = std::chrono::steady_clock::now();
  generation.text += chunk.text;
  generation.token_ids.insert(generation.token_ids.end(), chunk.token_ids.begin(), chunk.token_ids.end());
  generation.token_times.resize(generation.token_ids.size(), time);
  return chunk;
}

// What came of one stream besides its text.
struct Ending {
  bool done = false;  // [DONE] was seen
  bool left = false;  // the caller disconnected
  std::optional<Error> error;
};

StreamControl take_event(std::string_view data, const std::string& what, Generation& generation,
                         Ending& ending,
                         const std::function<StreamControl(const GenerationChunk&)>& on_chunk) {
  if (data == "[DONE]") {
    ending.done = true;
    return StreamControl::kContinue;
  }
  try {
    const json event = json::parse(data);
    if (event.contains("error")) {
      ending.error =
          Error(ClientError::kStatus, what + ": failed while streaming: " + error_message_of(event.dump()));
      return StreamControl::kDisconnect;
    }
    const GenerationChunk chunk = add_event(event, generation);
    if (!on_chunk || on_chunk(chunk) == StreamControl::kContinue) return StreamControl::kContinue;
    ending.left = true;
  } catch (const json::exception& e) {
    ending.error = Error(ClientError::kInvalid,
                         what + ": bad event '" + std::string(data.substr(0, 200)) + "': " + e.what());
  }
  return StreamControl::kDisconnect;
}

}  // namespace

std::string target_of(const GenerationRequest& request) {
  return request.messages.empty() ? "/v1/completions" : "/v1/chat/completions";
}

std::string body_of(const GenerationRequest& request) {
  json body = {{"stream", true}, {"return_token_ids", true}};
  for (const Message& message : request.messages)
    body["messages"].push_back({{"role", message.role}, {"content", message.content}});
  if (request.messages.empty() && !request.prompt_ids.empty()) body["prompt"] = request.prompt_ids;
  if (request.messages.empty() && request.prompt_ids.empty()) body["prompt"] = request.prompt;
  put(body, "max_tokens", request.max_tokens);
  put(body, "temperature", request.temperature);
  put(body, "top_p", request.top_p);
  put(body, "min_p", request.min_p);
  put(body, "top_k", request.top_k);
  put(body, "seed", request.seed);
  if (request.ignore_eos) body["ignore_eos"] = true;
  if (!request.more.empty()) body.update(json::parse(request.more));
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string error_message_of(const std::string& body) {
  const json parsed = json::parse(body, nullptr, false);
  if (parsed.is_object() && parsed.contains("error")) {
    const json& error = parsed["error"];
    if (error.is_object() && error.contains("message") && error["message"].is_string())
      return error["message"];
  }
  return body.empty() ? "(empty answer)" : body.substr(0, 500);
}

Result<Generation> generate(const Endpoint& server, const GenerationRequest& request,
                            const std::function<StreamControl(const GenerationChunk&)>& on_chunk,
                            const StreamOptions& options) {
  const std::string what = "POST " + server.url + target_of(request);
  Generation generation;
  Ending ending;
  const auto on_data = [&](std::string_view data) {
    return take_event(data, what, generation, ending, on_chunk);
  };
  ASSIGN_OR_RETURN(const Response response,
                   stream(server, target_of(request), body_of(request), on_data, options));
  if (response.status != 200) {
    return fail(ClientError::kStatus,
                what + ": " + std::to_string(response.status) + ": " + error_message_of(response.body));
  }
  if (ending.error) return fail(*ending.error);
  if (!ending.done && !ending.left)
    return fail(ClientError::kBroken, what + ": the stream ended before [DONE]");
  return generation;
}

}  // namespace concertina::client
