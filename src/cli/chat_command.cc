#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <iostream>
#include <memory>

#include "base/escape.h"
#include "cli/client_commands.h"
#include "cli/server_address.h"
#include "client/generation.h"

namespace concertina::cli {

namespace {

struct ChatOptions {
  client::Endpoint server{"http://127.0.0.1:8000"};
  std::string system;
  std::optional<double> temperature;
  std::optional<std::size_t> max_tokens;
  std::optional<std::int64_t> seed;
};

std::atomic<bool> interrupted{false};  // set by a signal handler, which can reach nothing else

// Ctrl-C must end a read at the prompt (no SA_RESTART) and an answer alike.
void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
}

class Chat {
 public:
  explicit Chat(const ChatOptions& options) : options_(options), on_terminal_(isatty(STDIN_FILENO) != 0) {
    reset();
  }

  int run() {
    catch_interrupts();
    if (const auto there = client::request(options_.server, "GET", "/version"); !there) {
      print_error(there.error().message());
      return 1;
    }
    if (on_terminal_) fmt::print("/reset begins again, /quit or Ctrl-D ends, Ctrl-C stops an answer\n");
    std::string line;
    while (read_line(line)) {
      if (line.empty()) continue;
      if (line == "/quit" || line == "/exit") break;
      if (line == "/reset") {
        reset();
      } else if (line.starts_with('/')) {
        fmt::print("there is no command {}; /reset begins again, /quit ends\n", escaped(line));
      } else if (!answer(line)) {
        return 1;
      }
    }
    if (on_terminal_) fmt::print("\n");
    return 0;
  }

 private:
  void reset() {
    history_.clear();
    if (!options_.system.empty()) history_.push_back({"system", options_.system});
  }

  bool read_line(std::string& line) {
    if (on_terminal_) {
      fmt::print("> ");
      std::fflush(stdout);
    }
    return static_cast<bool>(std::getline(std::cin, line)) && !interrupted;
  }

  bool answer(const std::string& line) {
    history_.push_back({"user", line});
    client::GenerationRequest request{.messages = history_,
                                      .max_tokens = options_.max_tokens,
                                      .temperature = options_.temperature,
                                      .seed = options_.seed};
    std::string text;
    const auto generated = client::generate(options_.server, request,
                                            [&](const client::GenerationChunk& chunk) {
                                              text += chunk.text;
                                              fmt::print("{}", escaped(chunk.text, Keep::kLinesAndTabs));
                                              std::fflush(stdout);
                                              return client::StreamControl::kContinue;
                                            },
                                            {.interrupted = [] { return interrupted.load(); }});
    fmt::print("\n");
    const bool stopped = !generated && generated.error().is(client::ClientError::kInterrupted);
    interrupted = false;
    if (!generated && !stopped) {
      print_error(generated.error().message());
      history_.pop_back();
      return on_terminal_;  // a person may try again
    }
    history_.push_back({"assistant", text});
    return true;
  }

  const ChatOptions& options_;
  const bool on_terminal_;
  std::vector<client::Message> history_;
};

}  // namespace

void add_chat_command(CLI::App& app, std::function<int()>& run) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "Talk to a running server");
  add_server_flags(*command, options->server);
  command->add_option("--system", options->system, "system message");
  command->add_option("--temperature", options->temperature, "0: greedy (default: the model's)");
  command->add_option("--max-tokens", options->max_tokens, "tokens of an answer");
  command->add_option("--seed", options->seed, "of sampling");
  command->callback([options, &run] { run = [options] { return Chat(*options).run(); }; });
}

}  // namespace concertina::cli
