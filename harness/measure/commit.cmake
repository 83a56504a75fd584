# cmake -DSOURCE=DIR -DOUT=FILE.h -P commit.cmake: which commit the tree stands at, and whether files differ from it, as
# a header that is written only where that has changed. Run with every build; "unknown" where there is no git checkout.
cmake_minimum_required(VERSION 3.25)
set(commit "unknown")
set(changed false)
find_package(Git QUIET)
function(git result)  # locks nothing: other git commands may be at work
  execute_process(COMMAND ${CMAKE_COMMAND} -E env GIT_OPTIONAL_LOCKS=0 ${GIT_EXECUTABLE} -C ${SOURCE} ${ARGN}
    OUTPUT_VARIABLE text RESULT_VARIABLE status ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT status EQUAL 0)
    set(text "")
  endif()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()
if(GIT_FOUND)
  git(top rev-parse --show-toplevel)
  file(REAL_PATH ${SOURCE} source)
  if(top STREQUAL source)  # and not a release unpacked inside some other checkout
    git(head rev-parse --short=12 HEAD)
    git(difference status --porcelain --untracked-files=no)
    if(head MATCHES "^[0-9a-f]+$")
      set(commit ${head})
      if(NOT difference STREQUAL "")
        set(changed true)
      endif()
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT "#pragma once

namespace mlbench::measure {

inline constexpr const char* kCommit = \"@commit@\";
inline constexpr bool kChanged = @changed@;

}  // namespace mlbench::measure
")
