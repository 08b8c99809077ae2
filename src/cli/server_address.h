#pragma once

#include <string>

#include "client/http.h"

namespace CLI {
class App;
}

namespace concertina::cli {

// --url and --api-key of the commands that talk to a running server; the key also from CONCERTINA_API_KEY.
void add_server_flags(CLI::App& command, client::Endpoint& server);

// A message that may hold what a server said: escaped, to stderr.
void print_error(const std::string& message);

}  // namespace concertina::cli
