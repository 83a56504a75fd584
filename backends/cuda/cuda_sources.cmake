# CUDA as a device of backends/gpu, where cmake/cuda.cmake has found the toolkit: kernels and the runtime around them.
# mlbench_flags is for the host's compiler alone: of nvcc's intermediate code it would complain.
function(mlbench_nvcc_options target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON)
  target_compile_options(${target} PRIVATE --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra)
  # fmt takes nvcc for a compiler of C++11 and then contradicts itself; and nvcc cannot check format strings.
  target_compile_definitions(${target} PRIVATE FMT_USE_CONSTEXPR=1 FMT_CONSTEVAL= FMT_USE_CONSTEVAL=0)
  target_link_libraries(${target} PRIVATE fmt::fmt)
endfunction()
add_library(mlbench_cuda_kernels OBJECT cuda_kernels.cu)
mlbench_nvcc_options(mlbench_cuda_kernels)

if(MLBENCH_NCCL_HEADERS)
  set(nccl nccl_library.cpp)
  set_source_files_properties(nccl_library.cpp PROPERTIES INCLUDE_DIRECTORIES ${MLBENCH_NCCL_HEADERS})
else()
  set(nccl without_nccl.cpp)
endif()

# CUDA's own runtime is linked in: a program and a library that it opens may each have one.
mlbench_room(cuda_runtime
  SOURCES cublas_library.cpp cublas_product.cpp cuda_api.cpp ${nccl} $<TARGET_OBJECTS:mlbench_cuda_kernels>
  LINKS mlbench::gpu CUDA::cudart_static
  PRIVATE_LINKS fmt::fmt)
set_target_properties(mlbench_cuda_runtime PROPERTIES POSITION_INDEPENDENT_CODE ON)

# cuBLASLt and NCCL are opened when a device is used, so that what links this also loads where there is no CUDA. They
# are looked for where the toolkit stands, and where else the program or library says. RPATH, not RUNPATH: it counts for
# what a library itself needs, too.
target_link_options(mlbench_cuda_runtime INTERFACE
  "LINKER:--disable-new-dtags" "LINKER:-rpath,/usr/local/cuda/lib64:${CUDAToolkit_LIBRARY_DIR}")
