#pragma once

#include "server/fields.h"

namespace concertina::server::dialects {

// OpenAI's /v1/responses as a chat completion's body. Nothing is kept between requests: what asks for that is
// refused by name.
ApiResult<Json> responses_to_chat(const Json& body);

}  // namespace concertina::server::dialects
