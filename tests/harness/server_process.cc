#include "tests/harness/server_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include "client/admin.h"

namespace concertina::harness {

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::filesystem::path new_log_path() {
  std::string name = (std::filesystem::temp_directory_path() / "concertina-XXXXXX").string();
  close(mkstemp(name.data()));
  return name;
}

int open_log(const std::filesystem::path& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

pid_t spawn(const std::filesystem::path& binary, std::vector<std::string> arguments, int log,
            ServerOptions::Group group) {
  arguments.insert(arguments.begin(), binary.string());
  const pid_t pid = fork();
  if (pid != 0) return pid;
  if (group == ServerOptions::Group::kOwn) setpgid(0, 0);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

void pause_between_polls() { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }

bool is_alive(pid_t pid) {
  const std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
  const std::size_t after_name = stat.rfind(')');
  return after_name != std::string::npos && stat.compare(after_name, 3, ") Z") != 0;
}

Result<std::unique_ptr<ServerProcess>> ServerProcess::start(const ServerOptions& options) {
  std::unique_ptr<ServerProcess> server(new ServerProcess);
  server->log_path_ = new_log_path();
  std::vector<std::string> arguments{"serve", "--port", "0"};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  if (options.log == ServerOptions::Log::kPipe) {
    server->log_reader_ = std::make_unique<LogReader>(server->log_path_);
    server->pid_ = spawn(options.binary, arguments, server->log_reader_->write_end(), options.group);
    server->log_reader_->close_write_end();
  } else {
    const int log = open_log(server->log_path_);
    server->pid_ = spawn(options.binary, arguments, log, options.group);
    close(log);
  }
  constexpr std::string_view kMark = "listening on ";
  bool ended = false;
  const bool in_time = eventually([&] {
    ended = waitpid(server->pid_, nullptr, WNOHANG) == server->pid_;
    const std::string log = server->log();
    const std::size_t begin = log.find(kMark), end = log.find('\n', begin);
    if (begin == std::string::npos || end == std::string::npos) return ended;
    server->url_ = log.substr(begin + kMark.size(), end - begin - kMark.size());
    return true;
  });
  if (ended) server->pid_ = -1;
  if (ended || !in_time) {
    return fail(HarnessError::kNotStarted,
                fmt::format("the server {}; its log:\n{}",
                            ended ? "ended at its start" : "did not listen within 60 s", server->log()));
  }
  return server;
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove(log_path_, ignored);
}

std::string ServerProcess::log() const { return read_file(log_path_); }

Status ServerProcess::wait_ready(Duration timeout) const {
  if (eventually([this] { return client::is_ready(url_); }, timeout)) return {};
  return fail(HarnessError::kTimeout, fmt::format("the server was not ready in time; its log:\n{}", log()));
}

void ServerProcess::signal(int number) const { kill(pid_, number); }

Result<int> ServerProcess::wait_exit(Duration timeout) {
  int status = 0;
  if (!eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }, timeout)) {
    return fail(HarnessError::kTimeout, fmt::format("the server did not end in time; its log:\n{}", log()));
  }
  pid_ = -1;
  return exit_code_of(status);
}

Finished run_to_end(const std::filesystem::path& binary, const std::vector<std::string>& arguments) {
  const auto log = new_log_path();
  const int log_fd = open_log(log);
  const pid_t pid = spawn(binary, arguments, log_fd, ServerOptions::Group::kOurs);
  close(log_fd);
  int status = 0;
  const bool ended = eventually([&] { return waitpid(pid, &status, WNOHANG) == pid; });
  if (!ended) {
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
  }
  Finished out{ended ? exit_code_of(status) : -1, read_file(log)};
  std::filesystem::remove(log);
  return out;
}

}  // namespace concertina::harness
