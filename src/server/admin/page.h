#pragma once

#include <string_view>

namespace concertina::server::admin {

// What a browser shows at "/": ranks and their load, once a second, and two buttons that scale. It asks
// /cluster as any client does.
std::string_view page();

}  // namespace concertina::server::admin
