#pragma once

#include <string>

#include "front/options.h"
#include "server/http/message.h"

namespace concertina::cli {

server::http::Limits connection_limits(const front::FrontOptions& options);
void keep_little_memory();
std::string examples(const std::string& url);  // three commands to try

}  // namespace concertina::cli
