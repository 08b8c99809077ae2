#include "bench/long_streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <thread>

#include "base/check.h"
#include "base/random.h"
#include "client/http.h"

namespace concertina::bench {

namespace {
constexpr std::size_t kVocabulary = 4093;  // ids that every model of ours has
}

void LongStreams::add_to(CLI::App& app) {
  app.add_option("--binary", binary, "concertina")->required();
  app.add_option("--model", model, "checkpoint folder")->required();
  app.add_option("--streams", n_streams, "streams side by side")->capture_default_str();
  app.add_option("--tokens", n_tokens, "tokens of a stream")->capture_default_str();
  app.add_option("--context", context, "tokens of each prompt; 0: 5 to 60")->capture_default_str();
  app.add_option("--kv-cache-memory", kv_cache_memory, "of each rank, as serve's");
  app.add_option("--flag", flags, "one more of serve, as --flag=--max-num-seqs=8; may be repeated");
}

std::unique_ptr<harness::ServerProcess> LongStreams::start(std::size_t n_ranks,
                                                           std::vector<std::string> more) const {
  std::vector<std::string> arguments{model, "--data-parallel-size", std::to_string(n_ranks)};
  arguments.insert(arguments.end(),
                   {"--max-model-len", std::to_string(std::max<std::size_t>(1024, context + n_tokens + 16))});
  if (!kv_cache_memory.empty()) arguments.insert(arguments.end(), {"--kv-cache-memory", kv_cache_memory});
  if (context > 0) arguments.emplace_back("--skip-tokenizer-init");
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  arguments.insert(arguments.end(), more.begin(), more.end());
  auto server = harness::ServerProcess::start({.binary = binary, .arguments = arguments});
  CHECK(server.has_value(), "{}", server.error().message());
  CHECK((*server)->wait_ready(), "{}", (*server)->log());
  return std::move(*server);
}

std::vector<client::GenerationRequest> LongStreams::requests(std::uint64_t seed) const {
  auto requests = harness::make_requests(seed, n_streams, n_tokens, kVocabulary, 60);
  if (context == 0) return requests;
  Random random(seed ^ 0xc0);
  for (client::GenerationRequest& request : requests) {
    request.prompt_ids.resize(context);
    for (TokenId& token : request.prompt_ids) token = static_cast<TokenId>(random.below(kVocabulary));
  }
  return requests;
}

void wait_for_each(const harness::Load& load, std::size_t n, std::size_t n_tokens) {
  const Time deadline = std::chrono::steady_clock::now() + std::chrono::minutes(10);
  const auto have_all = [&] {
    const auto views = load.views();
    return static_cast<std::size_t>(std::count_if(views.begin(), views.end(), [&](const auto& view) {
             return view.n_tokens >= n_tokens || view.n_finished > 0;
           })) >= n;
  };
  while (!have_all()) {
    CHECK(std::chrono::steady_clock::now() < deadline, "{} streams had not {} tokens each in 10 minutes", n,
          n_tokens);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

double metric(const std::string& url, const std::string& name, std::optional<RankId> except) {
  const auto answer = client::request(url, "GET", "/metrics");
  CHECK(answer.has_value() && answer->status == 200, "/metrics does not answer");
  std::istringstream lines(answer->body);
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name, 0) != 0 || (line[name.size()] != '{' && line[name.size()] != ' ')) continue;
    if (except && line.find(fmt::format("rank=\"{}\"", *except)) != std::string::npos) continue;
    sum += std::stod(line.substr(line.rfind(' ')));
  }
  return sum;
}

double rate(const std::vector<harness::StreamRecord>& records, Time from, Time to) {
  std::size_t n = 0;
  for (const auto& record : records) {
    const auto& times = record.generation.token_times;
    n += static_cast<std::size_t>(std::lower_bound(times.begin(), times.end(), to) -
                                  std::lower_bound(times.begin(), times.end(), from));
  }
  return 1e3 * static_cast<double>(n) / to_ms(to - from);
}

}  // namespace concertina::bench
