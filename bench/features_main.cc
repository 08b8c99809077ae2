// What a request's features cost: streams side by side with logprobs, penalties, biases and a schema beside
// plain ones, in turn, on the same server. `./dev bench features`; instructions of each: `./dev bench
// instructions`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/check.h"
#include "base/random.h"
#include "bench/processor_time.h"
#include "bench/served.h"
#include "bench/summary.h"
#include "client/admin.h"

namespace concertina::bench {
namespace {

struct Options {
  ServedOptions served{.tokenizer = ServedOptions::Tokenizer::kLoaded};
  std::size_t n_streams = 32, n_tokens = 150, n_rounds = 5;
  std::string json_path = "build/bench_features.json";
};

constexpr std::size_t kPrompt = 20;
constexpr TokenId kVocabulary = 4000;  // ids below it are in both models' vocabularies
constexpr std::size_t kMaxDiscarded = 10;

// A schema whose answer is never over within the tokens that are asked for.
constexpr const char* kSchema =
    R"({"response_format": {"type": "json_schema", "json_schema": {"name": "people", "schema": {
    "type": "array", "minItems": 1000, "items": {"type": "object", "additionalProperties": false,
    "properties": {"name": {"type": "string", "maxLength": 24}, "age": {"type": "integer"}, "team": {"enum": ["red", "blue"]}},
    "required": ["name", "age", "team"]}}}}})";

std::string biases(std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += fmt::format("{}\"{}\": 1", out.empty() ? "" : ", ", 7 * i);
  return "{\"logit_bias\": {" + out + "}}";
}

struct Feature {
  std::string name, more;               // a JSON object of the fields that ask for it
  Summary tokens_s, rank_us, front_us;  // the latter two: processor time a token
};

std::vector<Feature> make_features() {
  return {{"plain", "", {}, {}, {}},
          {"logprobs 0", R"({"logprobs": 0})", {}, {}, {}},
          {"logprobs 5", R"({"logprobs": 5})", {}, {}, {}},
          {"logprobs 20", R"({"logprobs": 20})", {}, {}, {}},
          {"penalties",
           R"({"frequency_penalty": 0.5, "presence_penalty": 0.5, "repetition_penalty": 1.1})",
           {},
           {},
           {}},
          {"logit_bias, 300 ids", biases(300), {}, {}, {}},
          {"bad_words, 3", R"({"bad_words": ["ship", "king", "the old man"]})", {}, {}, {}},
          {"schema", kSchema, {}, {}, {}}};
}

std::vector<client::GenerationRequest> make_requests(const Options& options, const Feature& feature,
                                                     std::uint64_t seed) {
  Random random(seed);
  std::vector<client::GenerationRequest> requests(options.n_streams);
  for (client::GenerationRequest& request : requests) {
    for (std::size_t i = 0; i < kPrompt; ++i)
      request.prompt_ids.push_back(static_cast<TokenId>(random.below(kVocabulary)));
    request.max_tokens = options.n_tokens;
    request.ignore_eos = true;
    request.temperature = 0.8;
    request.seed = static_cast<std::int64_t>(random.next() >> 1);
    request.more = feature.more;
  }
  return requests;
}

double ranks_s(const harness::ServerProcess& server) {
  const auto cluster = client::fetch_cluster(server.url());
  CHECK(cluster.has_value(), "{}", cluster.error().message());
  double sum = 0;
  for (const auto& rank : cluster->ranks) sum += process_s(static_cast<pid_t>(rank.pid));
  return sum;
}

enum class Kept : std::uint8_t { kNo, kYes };

// A front's processor time has its ended children in it: no rank may end meanwhile.
Kept measure(const harness::ServerProcess& server, const Options& options, std::uint64_t seed,
             Feature& feature) {
  const LoadWatch watch([&] { return used_s(server); });
  const double front_s = process_s(server.pid()), before_s = ranks_s(server);
  harness::Load load(server.url(), make_requests(options, feature, seed), harness::Load::Restart::kNo);
  const double rate = rate_of(load.join());
  const auto n_tokens = static_cast<double>(options.n_streams * options.n_tokens);
  if (watch.other_load() > kMaxOtherLoad) return Kept::kNo;
  feature.tokens_s.values.push_back(rate);
  feature.rank_us.values.push_back(1e6 * (ranks_s(server) - before_s) / n_tokens);
  feature.front_us.values.push_back(1e6 * (process_s(server.pid()) - front_s) / n_tokens);
  return Kept::kYes;
}

bool has_all(const std::vector<Feature>& features, std::size_t n_rounds) {
  for (const Feature& feature : features) {
    if (feature.tokens_s.values.size() < n_rounds) return false;
  }
  return true;
}

int run(const Options& options) {
  const auto server = start_server(options.served);
  const Status ready = server->wait_ready();
  CHECK(ready.has_value(), "{}", ready.error().message());
  std::vector<Feature> features = make_features();
  measure(*server, options, 0, features[0]);  // what a first run costs is nobody's
  features[0] = make_features()[0];
  std::size_t n_discarded = 0;
  for (std::uint64_t seed = 1; !has_all(features, options.n_rounds) && n_discarded < kMaxDiscarded; ++seed) {
    for (Feature& feature : features) {
      if (feature.tokens_s.values.size() >= options.n_rounds) continue;
      if (measure(*server, options, seed, feature) == Kept::kNo) ++n_discarded;
    }
  }
  fmt::print("{} streams, {} tokens each, {} ranks x {} threads; {} runs thrown away for other load\n",
             options.n_streams, options.n_tokens, options.served.n_ranks, options.served.n_threads,
             n_discarded);
  fmt::print("{:<22} {:>28} {:>8} {:>16} {:>16}\n", "", "tokens/s (lowest..highest)", "", "ranks, us/token",
             "front, us/token");
  nlohmann::ordered_json json{{"model", options.served.model}, {"streams", options.n_streams}};
  const double plain = features[0].tokens_s.median();
  for (const Feature& feature : features) {
    fmt::print("{:<22} {:>8.0f} ({:>8.0f}..{:>8.0f}) {:>7.1f}% {:>16.1f} {:>16.1f}\n", feature.name,
               feature.tokens_s.median(), feature.tokens_s.lowest(), feature.tokens_s.highest(),
               100 * feature.tokens_s.median() / plain, feature.rank_us.median(), feature.front_us.median());
    json["features"].push_back({{"name", feature.name},
                                {"tokens_s", feature.tokens_s.json()},
                                {"rank_us", feature.rank_us.json()},
                                {"front_us", feature.front_us.json()}});
  }
  write_json(options.json_path, json);
  return has_all(features, options.n_rounds) ? 0 : 1;
}

}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) {
  concertina::bench::Options options;
  CLI::App app("What logprobs, penalties, biases and a schema cost");
  app.add_option("--binary", options.served.binary, "concertina")->required();
  app.add_option("--model", options.served.model, "checkpoint folder")->required();
  app.add_option("--ranks", options.served.n_ranks, "of the server")->capture_default_str();
  app.add_option("--threads", options.served.n_threads, "of a rank")->capture_default_str();
  app.add_option("--streams", options.n_streams, "side by side")->capture_default_str();
  app.add_option("--tokens", options.n_tokens, "of a stream")->capture_default_str();
  app.add_option("--rounds", options.n_rounds, "of each feature that count")->capture_default_str();
  app.add_option("--flags", options.served.flags, "more flags of serve, joined by =");
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::bench::run(options);
}
