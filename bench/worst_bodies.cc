#include "bench/worst_bodies.h"

#include <fmt/format.h>

#include <iterator>

#include "base/random.h"

namespace concertina::bench {

namespace {

std::string letters(std::size_t n_bytes, Random& random) {
  std::string text(n_bytes, ' ');
  for (char& letter : text) letter = static_cast<char>('a' + random.below(26));
  return text;
}

std::string prompt_of(const std::string& text, const std::string& more = {}) {
  return fmt::format(R"({{"prompt": "{}", "max_tokens": 1{}}})", text, more);
}

template <typename Item>
std::string list_of(std::size_t n_bytes, const Item& item) {
  std::string text = "[";
  while (text.size() + 1 < n_bytes) text += (text.size() > 1 ? "," : "") + item();
  return text + "]";
}

std::string spaces(std::size_t n, Random&) { return prompt_of(std::string(n, ' ')); }
std::string random_letters(std::size_t n, Random& random) { return prompt_of(letters(n, random)); }
std::string chat(std::size_t n, Random&) {
  return fmt::format(R"({{"max_tokens": 1, "messages": {}}})",
                     list_of(n, [] { return std::string(R"({"role":"user","content":"a"})"); }));
}
std::string deep(std::size_t n, Random&) {
  return fmt::format(R"({{"prompt": {}1{}, "max_tokens": 1}})", std::string(n / 2, '['),
                     std::string(n / 2, ']'));
}
std::string many_keys(std::size_t n, Random&) {
  std::string more;
  for (std::size_t i = 0; more.size() < n; ++i) more += fmt::format(R"(, "key{}": {})", i, i);
  return prompt_of("a", more);
}
std::string stop_list(std::size_t n, Random& random) {
  const auto id = [&] { return std::to_string(random.below(4000)); };
  return prompt_of("a", R"(, "stop_token_ids": )" + list_of(n, id));
}
std::string ids(std::size_t n, Random& random) {
  return fmt::format(R"({{"prompt": {}, "max_tokens": 1}})",
                     list_of(n, [&] { return std::to_string(random.below(4000)); }));
}

constexpr struct {
  const char* name;
  const char* target;
  std::string (*make)(std::size_t n_bytes, Random& random);
} kKinds[] = {{"spaces", "/v1/completions", spaces},
              {"random letters", "/v1/completions", random_letters},
              {"a chat of many messages", "/v1/chat/completions", chat},
              {"deep JSON", "/v1/completions", deep},
              {"many keys", "/v1/completions", many_keys},
              {"a list of stop ids", "/v1/completions", stop_list},
              {"a list of token ids", "/v1/completions", ids}};
constexpr std::size_t kSmallest = 1 << 10, kSizes = 13;  // 1 KiB to 4 MiB

}  // namespace

WorstBody worst_body(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  const auto& kind = kKinds[n % std::size(kKinds)];
  // Less than 4 MiB with what is around it: a larger one would be refused unread.
  const std::size_t n_bytes = (kSmallest << (n / std::size(kKinds) * 5 % kSizes)) - 256;
  return {kind.name, kind.target, kind.make(n_bytes, random)};
}

}  // namespace concertina::bench
