#include "cli/server_address.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/escape.h"

namespace concertina::cli {

void add_server_flags(CLI::App& command, client::Endpoint& server) {
  command.add_option("--url", server.url, "of the server")->capture_default_str();
  command.add_option("--api-key", server.api_key, "key, if the server wants one")
      ->envname("CONCERTINA_API_KEY");
}

void print_error(const std::string& message) { fmt::print(stderr, "{}\n", escaped(message)); }

}  // namespace concertina::cli
