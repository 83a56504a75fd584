# The one place that says how our own code is compiled.
add_library(mlbench_flags INTERFACE)
target_compile_features(mlbench_flags INTERFACE cxx_std_20)
target_include_directories(mlbench_flags INTERFACE ${PROJECT_SOURCE_DIR})
# No contraction into fused multiply-adds: results then differ between machines through libm and BLAS only.
target_compile_options(mlbench_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual
  -Wcast-align -Wformat=2 -Werror -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Leaving out members that have defaults is what designated initialisers are for.
  target_compile_options(mlbench_flags INTERFACE -Wno-missing-field-initializers)
else()
  target_compile_options(mlbench_flags INTERFACE
    -Wduplicated-cond -Wduplicated-branches -Wlogical-op -Wno-missing-field-initializers)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # At -O3 it takes inlined operations on std::string for copies that overlap (GCC bug 105651).
  target_compile_options(mlbench_flags INTERFACE -Wno-restrict)
endif()
if(MLBENCH_SANITIZE)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 takes instrumented code of <regex> and <functional> for reads of what was never written.
    target_compile_options(mlbench_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
  target_compile_options(mlbench_flags INTERFACE -fsanitize=${MLBENCH_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(mlbench_flags INTERFACE -fsanitize=${MLBENCH_SANITIZE})
endif()
