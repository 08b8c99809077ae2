#include "tools/chaos/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "client/http.h"

namespace concertina::chaos {
namespace {

std::string metric(const std::string& metrics, const std::string& name) {
  const std::size_t at = metrics.find("\n" + name + "{");
  if (at == std::string::npos) return "?";
  const std::size_t begin = metrics.find("} ", at) + 2;
  return metrics.substr(begin, metrics.find('\n', begin) - begin);
}

void print_metrics(const std::string& url) {
  const auto answer = client::request(url, "GET", "/metrics");
  const std::string text = answer ? answer->body : "";
  fmt::print("{} ranks lost, {} requests rescued from them, {} starts failed, {} lines of log dropped\n",
             metric(text, "concertina_failed_ranks_total"), metric(text, "concertina_rescued_requests_total"),
             metric(text, "concertina_failed_starts_total"), metric(text, "concertina_log_dropped_total"));
}

void print_footprints(const harness::Footprint& before, const harness::Footprint& after) {
  fmt::print(
      "before and after: {} and {} processes, {} and {} descriptors, {} and {} mapped regions, {} and {} "
      "MB\n",
      before.n_processes, after.n_processes, before.n_descriptors, after.n_descriptors, before.n_mappings,
      after.n_mappings, before.resident_kb / 1024, after.resident_kb / 1024);
}

bool leaks(const harness::Footprint& before, const harness::Footprint& after) {
  return after.n_processes > before.n_processes || after.n_descriptors > before.n_descriptors + 8 ||
         after.n_mappings > before.n_mappings || after.resident_kb > before.resident_kb + 96 * 1024;
}

}  // namespace

std::size_t n_given_up(const std::vector<harness::StreamRecord>& records) {
  return static_cast<std::size_t>(std::count_if(records.begin(), records.end(), [](const auto& record) {
    return record.error.find("it is given up") != std::string::npos;
  }));
}

int report(const harness::ServerProcess& server, Outcome outcome) {
  const harness::Comparison& compared = outcome.compared;
  fmt::print("{}\n", fmt::join(outcome.done, "\n"));
  print_metrics(server.url());
  fmt::print("{} streams, {} tokens: {} failed, {} differing, {} given up\n", compared.n_streams,
             compared.n_tokens, compared.n_failed, compared.n_differing, outcome.n_given_up);
  print_footprints(outcome.before, outcome.after);
  std::vector<std::string>& problems = outcome.problems;
  if (leaks(outcome.before, outcome.after)) problems.push_back("something was left behind");
  if (compared.n_failed + compared.n_differing > 0) problems.push_back(compared.first_problem);
  if (outcome.n_given_up > 0) problems.push_back("requests were given up");
  if (!problems.empty()) fmt::print("{}\nseed {}\n{}", fmt::join(problems, "\n"), outcome.seed, server.log());
  fmt::print("{}\n", problems.empty() ? "no client could tell" : "FAILED");
  return problems.empty() ? 0 : 1;
}

}  // namespace concertina::chaos
