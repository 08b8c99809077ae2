#include "cli/command.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <functional>

#include "cli/client_commands.h"
#include "cli/serve_command.h"

namespace concertina::cli {

int run_command(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a write that is refused is an error like others
  CLI::App app(
      "Concertina: serves Mixture-of-Experts models with expert parallelism that grows and shrinks while it "
      "plays");
  app.name("concertina");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("concertina ") + CONCERTINA_VERSION);
  std::function<int()> run;
  add_serve_command(app, run);
  add_scale_command(app, run);
  add_status_command(app, run);
  add_chat_command(app, run);
  add_worker_command(app, run);
  try {
    if (argc > 1 && argv[1][0] != '-')
      app.get_subcommand(argv[1]);  // throws for a command that does not exist
    app.parse(argc, argv);
  } catch (const CLI::OptionNotFound&) {
    std::fprintf(stderr, "there is no command \"%s\"; see concertina --help\n", argv[1]);
    return 1;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return run();
}

}  // namespace concertina::cli
