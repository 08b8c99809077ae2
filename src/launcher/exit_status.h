#pragma once

#include "deployment/ending.h"

namespace concertina::launcher {

deployment::Ending ending_of_status(int wait_status);  // as waitpid gives it

}  // namespace concertina::launcher
