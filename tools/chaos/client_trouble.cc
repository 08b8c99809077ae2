#include "tools/chaos/client_trouble.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "client/generation.h"
#include "client/http.h"

namespace concertina::chaos {
namespace {

using nlohmann::json;

constexpr std::size_t kVocabulary = 4093, kMaxStopIds = 1024, kMaxChoices = 128;

// The longest prompts of the demo model leave room for few tokens: what counts is what is sent, not made.
std::string large_request(Random& random, std::size_t n_choices) {
  json prompt = json::array(), stops = json::array();
  for (std::size_t i = 900 + random.below(100); i > 0; --i) prompt.push_back(random.below(kVocabulary));
  const std::size_t first = random.below(kVocabulary - kMaxStopIds);
  for (std::size_t i = 0; i < kMaxStopIds; ++i) stops.push_back(first + i);
  return json{{"prompt", std::move(prompt)},
              {"stop_token_ids", std::move(stops)},
              {"n", n_choices},
              {"max_tokens", 4},
              {"temperature", 0.9},
              {"stream", true}}
      .dump();
}

}  // namespace

void ClientTrouble::disconnect() {
  client::GenerationRequest request{.prompt_ids = {1, 2, 3}, .max_tokens = 500, .ignore_eos = true};
  std::size_t n = 0;
  const auto ended = client::generate(url_, request, [&](const client::GenerationChunk&) {
    return ++n < 5 ? client::StreamControl::kContinue : client::StreamControl::kDisconnect;
  });
  const bool is_busy = !ended && ended.error().message().find(": 503:") != std::string::npos;
  if (!ended && !is_busy) note_problem(ended.error().message());
  ++n_disconnected_;
}

// The last has few choices and is left the time to be answered. The queue of 1,024 has room for all, and for
// the streams that are compared.
void ClientTrouble::fill_channel(Random random) {
  cut_all();
  const Time until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2000 + random.below(3000));
  for (const std::size_t n_choices : {kMaxChoices, 16 + random.below(kMaxChoices - 16), 8 + random.below(24)})
    start(large_request(random, n_choices), until);
  start(large_request(random, 2), until + std::chrono::seconds(30));
}

void ClientTrouble::start(std::string body, Time until) {
  threads_.emplace_back([this, body = std::move(body), until] { send(body, until); });
}

void ClientTrouble::cut_all() {
  is_over_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  is_over_ = false;
}

void ClientTrouble::send(const std::string& body, Time until) {
  ++n_sent_;
  const auto on_data = [&](std::string_view data) {
    const json event = json::parse(data, nullptr, false);
    if (event.is_object() && event.contains("error")) note_problem("in a stream: " + std::string(data));
    return client::StreamControl::kContinue;
  };
  const auto answer =
      client::stream(url_, "/v1/completions", body, on_data,
                     {.interrupted = [&] { return is_over_ || std::chrono::steady_clock::now() > until; }});
  if (!answer) {
    if (answer.error().is(client::ClientError::kInterrupted)) {
      ++n_cut_;
    } else {
      note_problem(answer.error().message());
    }
  } else if (answer->status == 200) {
    ++n_answered_;
  } else if (answer->status == 503 && answer->body.find("queue_full") != std::string::npos) {
    ++n_refused_;
  } else {
    note_problem(fmt::format("status {}: {}", answer->status, answer->body));
  }
}

void ClientTrouble::note_problem(const std::string& text) {
  if (text.find("it is given up") != std::string::npos) ++n_given_up_;
  std::lock_guard lock(mutex_);
  if (problem_.empty()) problem_ = "a client of many choices, or one that left: " + text;
}

std::string ClientTrouble::problem() const {
  std::lock_guard lock(mutex_);
  return problem_;
}

std::string ClientTrouble::summary() const {
  return fmt::format(
      "{} clients gone, {} large requests to fill a stopped rank's channel ({} answered, {} cut, {} refused "
      "by a full queue)",
      n_disconnected_.load(), n_sent_.load(), n_answered_.load(), n_cut_.load(), n_refused_.load());
}

}  // namespace concertina::chaos
