#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/escape.h"
#include "cli/client_commands.h"
#include "cli/flag.h"
#include "cli/server_address.h"
#include "client/admin.h"

namespace concertina::cli {

namespace {

struct ScaleOptions {
  client::Endpoint server{"http://127.0.0.1:8000"};
  std::size_t size = 0;
  std::vector<std::uint32_t> retire;
  std::uint32_t drain_timeout_s = 120;
  bool wait = false;
};

Flags flags_of(ScaleOptions& o) {
  return {count("size", o.size, {1, 1000000}, "ranks wanted").or_else(""),
          count("--drain-timeout", o.drain_timeout_s, {1, kMany},
                "seconds until an operation that is not committed is rolled back"),
          toggle("--wait", o.wait, false, true, "return when the operation has ended, and show its phases")};
}

int run_scale(ScaleOptions& options) {
  if (const Status fits = check_flags(flags_of(options)); !fits) {
    print_error(fits.error().message());
    return 1;
  }
  client::ScaleCall call{.new_size = options.size, .drain_timeout_s = options.drain_timeout_s};
  for (const std::uint32_t rank : options.retire) call.retire.emplace_back(rank);
  call.answer = options.wait ? client::ScaleAnswer::kWhenEnded : client::ScaleAnswer::kAtOnce;
  const auto reply = client::scale(options.server, call, std::chrono::seconds(options.drain_timeout_s + 60));
  if (!reply) {
    print_error(reply.error().message());
    return 1;
  }
  fmt::print("{} (operation {})\n", escaped(reply->message), escaped(reply->operation_id));
  if (!options.wait) return 0;
  const auto operation = client::fetch_operation(options.server, reply->operation_id);
  if (!operation) return 0;  // too old to be shown: the answer above counts
  for (const auto& [phase, time_ms] : operation->phases_ms)
    fmt::print("  {:<12}{:9.1f} ms\n", escaped(phase), time_ms);
  fmt::print("  {} requests moved, {:.1f} MB of experts loaded, longest pause {:.2f} ms\n",
             operation->moved_requests, static_cast<double>(operation->moved_bytes) / 1e6,
             operation->max_pause_ms);
  return 0;
}

}  // namespace

void add_scale_command(CLI::App& app, std::function<int()>& run) {
  auto options = std::make_shared<ScaleOptions>();
  CLI::App* command = app.add_subcommand("scale", "Change the number of ranks of a running server");
  add_flags(*command, flags_of(*options));
  command->get_option("size")->required();
  command
      ->add_option("--retire", options->retire,
                   "ranks that leave, as 1,2 or given twice; with the size unchanged they are replaced")
      ->delimiter(',')
      ->expected(1)
      ->type_name("RANK,...")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_server_flags(*command, options->server);
  command->callback([options, &run] { run = [options] { return run_scale(*options); }; });
}

}  // namespace concertina::cli
