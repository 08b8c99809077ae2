#pragma once

#include <string>

namespace concertina::server {

// "//v1/models/" -> "/v1/models": base URLs are typed with and without slashes.
std::string without_extra_slashes(const std::string& path);
// What other servers of this API, and clients whose base URL has a "/v1" too few or too many, call a path of
// ours:
// "/chat/completions" -> "/v1/chat/completions". Others stay as they are.
std::string path_of_alias(const std::string& path);
// "%2F" -> "/"; what is not a proper escape stays.
std::string percent_decoded(const std::string& text);

}  // namespace concertina::server
