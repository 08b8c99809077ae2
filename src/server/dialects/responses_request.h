#pragma once

#include "server/dialects/kept_items.h"
#include "server/fields.h"

namespace concertina::server::dialects {

// OpenAI's /v1/responses as a chat completion's body. Nothing is kept between requests but the items in
// `kept` (null: none): what asks for more is refused by name.
ApiResult<Json> responses_to_chat(const Json& body, const KeptItems* kept = nullptr);

}  // namespace concertina::server::dialects
