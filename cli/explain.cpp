#include "cli/explain.h"

#include "cli/command.h"
#include "reports/codes.h"

namespace mlbench::cli {

void add_explain_option(CLI::App& app, std::optional<std::string>& code) {
  app.add_option("--explain", code, "What an error code or the code of a finding means, and what to do")
      ->type_name("CODE");
}

int explain(const std::string& code) {
  print(reports::explanation(code));
  return 0;
}

}  // namespace mlbench::cli
