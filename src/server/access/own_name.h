#pragma once

#include <optional>
#include <string>

#include "base/time.h"

namespace concertina::server::access {

// Whether a name's addresses, by this machine's own look-up, are all loopback's. May ask a name server: one
// that does not answer by the deadline says no. For the start; a thread may go on waiting for the answer.
bool leads_to_loopback(const std::string& name, Duration timeout);

// This machine's name, if it leads to loopback: on Debian /etc/hosts says 127.0.1.1.
std::optional<std::string> own_loopback_name(Duration timeout);

}  // namespace concertina::server::access
