#pragma once

#include "server/fields.h"

namespace concertina::server::dialects {

// Anthropic's /v1/messages as a chat completion's body.
// The code of a request that wants its conversation kept here.
inline constexpr const char* kThreadUnsupported = "thread_unsupported_request";

enum class Wants { kAnswer, kCount };  // kCount: /v1/messages/count_tokens, which has no max_tokens
ApiResult<Json> anthropic_to_chat(const Json& body, Wants wants);

}  // namespace concertina::server::dialects
