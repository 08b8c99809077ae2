#include "bench/callgrind.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <map>

namespace concertina::bench {

namespace {

struct Call {
  const std::string* caller;
  std::uint64_t inclusive;
};
struct Function {
  std::uint64_t self = 0;
  std::vector<Call> calls;  // of this function
  double outside = 0;       // the share of its instructions that are not for a kernel
};
using Functions = std::map<std::string, Function>;

// "void a::b<c::d>::e(int)" -> "a::b<c::d>::e"
std::string_view qualified_name(std::string_view name) {
  constexpr std::string_view kAnonymous = "(anonymous namespace)";
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i).starts_with(kAnonymous)) {
      i += kAnonymous.size() - 1;
    } else if (name[i] == '<') {
      ++depth;
    } else if (name[i] == '>') {
      --depth;
    } else if (depth == 0 && name[i] == ' ') {
      begin = i + 1;
    } else if (depth == 0 && name[i] == '(') {
      return name.substr(begin, i - begin);
    }
  }
  return name.substr(begin);
}

// Of kernels, or what a kernel gave the threads to run: an instance of the pool's function, whose name
// callgrind could not always read.
bool is_kernel(std::string_view name) {
  const bool is_given = name.find("ThreadPool::parallel_for<") != name.npos ||
                        name.find("ThreadPool12parallel_forI") != name.npos;
  return qualified_name(name).starts_with("concertina::kernels::") ||
         (is_given &&
          (name.find("concertina::kernels::") != name.npos || name.find("7kernels") != name.npos));
}
bool is_own(std::string_view name) { return qualified_name(name).starts_with("concertina::"); }

// The cost in a line "position cost".
std::uint64_t cost_of(std::string_view line) {
  std::uint64_t cost = 0;
  const std::size_t space = line.find(' ');
  if (space != std::string_view::npos)
    std::from_chars(line.data() + space + 1, line.data() + line.size(), cost);
  return cost;
}

Functions read_functions(std::istream& file) {
  Functions functions;
  auto current = functions.end(), callee = functions.end();
  bool is_call = false;  // the next cost is inclusive, of a call
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("fn=")) {
      current = functions.try_emplace(line.substr(3)).first;
    } else if (line.starts_with("cfn=")) {
      callee = functions.try_emplace(line.substr(4)).first;
    } else if (line.starts_with("calls=")) {
      is_call = true;
    } else if (!line.empty() && std::isdigit(static_cast<unsigned char>(line[0])) != 0 &&
               current != functions.end()) {
      if (is_call) {
        callee->second.calls.push_back({&current->first, cost_of(line)});
      } else {
        current->second.self += cost_of(line);
      }
      is_call = false;
    }
  }
  return functions;
}

// Libraries call one another: shares go along the calls until nothing changes much.
void share_out(Functions& functions) {
  constexpr int kRounds = 50;
  for (auto& [name, function] : functions) function.outside = is_own(name) && !is_kernel(name) ? 1 : 0;
  for (int round = 0; round < kRounds; ++round) {
    for (auto& [name, function] : functions) {
      if (is_own(name)) continue;
      double all = 0, outside = 0;
      for (const Call& call : function.calls) {
        all += static_cast<double>(call.inclusive);
        outside += static_cast<double>(call.inclusive) * functions.at(*call.caller).outside;
      }
      function.outside = all > 0 ? outside / all : 1;
    }
  }
}

}  // namespace

Result<Profile> read_callgrind(const std::string& path) {
  std::ifstream file(path);
  Functions functions = read_functions(file);
  share_out(functions);
  Profile profile;
  double outside = 0;
  for (const auto& [name, function] : functions) {
    const double part = static_cast<double>(function.self) * function.outside;
    profile.total += function.self;
    outside += part;
    if (part > 0) profile.functions.emplace_back(name, part);
  }
  if (profile.total == 0) return fail(ProfileError::kUnreadable, fmt::format("{}: no counts in it", path));
  profile.outside = static_cast<std::uint64_t>(outside);
  std::ranges::sort(profile.functions, [](const auto& a, const auto& b) { return a.second > b.second; });
  return profile;
}

}  // namespace concertina::bench
