#pragma once

namespace concertina::cli {

// The whole command line of `concertina`; the exit code. All that main() does.
int run_command(int argc, char** argv);

}  // namespace concertina::cli
