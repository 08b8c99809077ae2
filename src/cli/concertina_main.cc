#include "cli/command.h"

int main(int argc, char** argv) { return concertina::cli::run_command(argc, argv); }
