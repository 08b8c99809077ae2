#include "server/paths.h"

#include <cctype>
#include <map>

namespace concertina::server {

std::string percent_decoded(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto hex = [&](std::size_t at) {
      return at < text.size() && std::isxdigit(static_cast<unsigned char>(text[at]));
    };
    if (text[i] == '%' && hex(i + 1) && hex(i + 2)) {
      out.push_back(static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16)));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string without_extra_slashes(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || !out.ends_with('/')) out.push_back(c);
  }
  if (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

std::string path_of_alias(const std::string& path) {
  static const std::map<std::string, std::string> kAliases{
      {"/chat/completions", "/v1/chat/completions"},
      {"/completions", "/v1/completions"},
      {"/responses", "/v1/responses"},
      {"/messages", "/v1/messages"},
      {"/messages/count_tokens", "/v1/messages/count_tokens"},
      {"/models", "/v1/models"},
      {"/v1/v1/chat/completions", "/v1/chat/completions"},  // Anthropic's clients add "/v1" themselves
      {"/v1/v1/messages", "/v1/messages"},
      {"/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"},
      {"/v1/tokenize", "/tokenize"},
      {"/v1/detokenize", "/detokenize"},
      {"/apply-template", "/render"},  // llama-server's
      {"/v1/chat/completions/render", "/render"},
      {"/v1/health", "/health"},
      {"/ping", "/health"},  // SageMaker's
      {"/health/decode", "/health_generate"},
      {"/get_server_info", "/server_info"},  // SGLang's, and its next two
      {"/get_model_info", "/server_info"},
      {"/model_info", "/server_info"},
      {"/props", "/server_info"},  // llama-server's
      {"/get_load", "/load"},
      {"/flush_cache", "/reset_prefix_cache"},
      {"/abort_request", "/abort_requests"},
  };
  const auto found = kAliases.find(path);
  return found == kAliases.end() ? path : found->second;
}

}  // namespace concertina::server
