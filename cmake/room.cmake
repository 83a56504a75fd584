# mlbench_room(NAME SOURCES ... LINKS ... PRIVATE_LINKS ...): a folder of the program as a static library. The link lists are the
# diagram of which room may know which.
function(mlbench_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(mlbench_${name} STATIC ${ROOM_SOURCES})
  add_library(mlbench::${name} ALIAS mlbench_${name})
  target_link_libraries(mlbench_${name} PUBLIC ${ROOM_LINKS} PRIVATE mlbench_flags ${ROOM_PRIVATE_LINKS})
  target_include_directories(mlbench_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_features(mlbench_${name} PUBLIC cxx_std_20)
endfunction()
