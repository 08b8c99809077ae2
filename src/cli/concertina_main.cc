#include <csignal>
#include <functional>

#include <CLI/CLI.hpp>

#include "cli/client_commands.h"
#include "cli/serve_command.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("Concertina: serves Mixture-of-Experts models with expert parallelism that grows and shrinks while it plays");
  app.name("concertina");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("concertina ") + CONCERTINA_VERSION);
  std::function<int()> run;
  concertina::cli::add_serve_command(app, run);
  concertina::cli::add_scale_command(app, run);
  concertina::cli::add_status_command(app, run);
  concertina::cli::add_chat_command(app, run);
  concertina::cli::add_worker_command(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return run();
}
