#include "golden/hdf5_reader.h"

#include <sys/stat.h>

#include <exception>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file_map.h"

namespace mlbench::golden {
namespace {

// deflate, the densest of the filters that a file may use without plug-ins, packs at most 1032 bytes into one.
constexpr std::uint64_t kMaxRatio = 1100;
constexpr std::size_t kMaxDatasets = 1'000'000;
constexpr std::size_t kMaxText = 1U << 20U;

Error corrupt(const std::string& path, const std::string& what) {
  return request_error("golden.corrupt", fmt::format("{}: {}", path, what));
}

// The most specific message on HDF5's error stack.
std::string library_reason() {
  std::string reason;
  const auto visit = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
    if (error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, visit, &reason);
  return reason.empty() ? "unknown reason" : reason;
}

// Bytes that the values take in memory, or nothing where the shape cannot be.
bool memory_bytes(const Shape& shape, std::uint64_t& bytes) {
  bytes = sizeof(double);
  for (const Index dim : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(dim), &bytes)) return false;
  }
  return true;
}

std::string text_attribute(hid_t attribute, hid_t type) {
  if (H5Tis_variable_str(type) > 0) {
    char* text = nullptr;
    const TypeHandle memory(H5Tcopy(type));
    if (H5Aread(attribute, memory.get(), &text) < 0 || text == nullptr) return "";
    std::string out = text;
    H5free_memory(text);
    return out;
  }
  const std::size_t size = H5Tget_size(type);
  if (size == 0 || size > kMaxText) return "";
  std::string text(size, '\0');
  if (H5Aread(attribute, type, text.data()) < 0) return "";
  return text.substr(0, text.find('\0'));
}

herr_t visit_attribute(hid_t object, const char* name, const H5A_info_t*, void* out) {
  auto& attributes = *static_cast<std::map<std::string, std::string>*>(out);
  const AttributeHandle attribute(H5Aopen(object, name, H5P_DEFAULT));
  if (!attribute.valid()) return 0;
  const TypeHandle type(H5Aget_type(attribute.get()));
  const SpaceHandle space(H5Aget_space(attribute.get()));
  if (!type.valid() || !space.valid() || H5Sget_simple_extent_npoints(space.get()) != 1) return 0;
  switch (H5Tget_class(type.get())) {
    case H5T_STRING: attributes[name] = text_attribute(attribute.get(), type.get()); break;
    case H5T_INTEGER: {
      long long value = 0;
      if (H5Aread(attribute.get(), H5T_NATIVE_LLONG, &value) >= 0) attributes[name] = fmt::format("{}", value);
      break;
    }
    case H5T_FLOAT: {
      double value = 0.0;
      if (H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &value) >= 0) attributes[name] = fmt::format("{}", value);
      break;
    }
    default: break;
  }
  return 0;
}

ValueKind kind_of(hid_t dataset) {
  const PropertyHandle creation(H5Dget_create_plist(dataset));
  if (!creation.valid() || H5Pget_external_count(creation.get()) != 0) return ValueKind::other;
  if (H5Pget_layout(creation.get()) == H5D_VIRTUAL) return ValueKind::other;
  const TypeHandle type(H5Dget_type(dataset));
  if (!type.valid()) return ValueKind::other;
  const H5T_class_t type_class = H5Tget_class(type.get());
  return type_class == H5T_FLOAT ? ValueKind::real : type_class == H5T_INTEGER ? ValueKind::integer : ValueKind::other;
}

struct Walk {
  const std::string& path;
  std::uint64_t file_bytes;
  std::vector<DatasetInfo>& datasets;
  std::exception_ptr failure;

  void visit(hid_t group, const char* name, const H5L_info_t& link) {
    DatasetInfo info;
    info.path = std::string("/") + name;
    if (link.type == H5L_TYPE_HARD) {
      H5O_info_t object;
      if (H5Oget_info_by_name2(group, name, &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0) {
        throw corrupt(path, fmt::format("{}: {}", in_quotes(info.path), library_reason()));
      }
      if (object.type != H5O_TYPE_DATASET) return;
      info.object = object.addr;
      describe(group, name, info);
    }
    datasets.push_back(std::move(info));
    if (datasets.size() > kMaxDatasets) throw corrupt(path, fmt::format("more than {} datasets", kMaxDatasets));
  }

  void describe(hid_t group, const char* name, DatasetInfo& info) const {
    const DatasetHandle dataset(H5Dopen2(group, name, H5P_DEFAULT));
    const SpaceHandle space(dataset.valid() ? H5Dget_space(dataset.get()) : H5I_INVALID_HID);
    const int rank = space.valid() ? H5Sget_simple_extent_ndims(space.get()) : -1;
    if (rank < 0) throw corrupt(path, fmt::format("dataset {}: {}", in_quotes(info.path), library_reason()));
    std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
    if (H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr) < 0) {
      throw corrupt(path, fmt::format("dataset {}: {}", in_quotes(info.path), library_reason()));
    }
    std::uint64_t bytes = 0;
    for (const hsize_t dim : dims) {
      info.shape.push_back(dim > static_cast<hsize_t>(std::numeric_limits<Index>::max())
                               ? std::numeric_limits<Index>::max()
                               : static_cast<Index>(dim));
    }
    if (H5Sget_simple_extent_type(space.get()) == H5S_NULL) return;
    if (!memory_bytes(info.shape, bytes) || bytes / kMaxRatio > file_bytes) {
      throw corrupt(path, fmt::format("dataset {} of shape {} cannot stand in a file of {} bytes", in_quotes(info.path),
                                      to_string(info.shape), file_bytes));
    }
    info.kind = kind_of(dataset.get());
  }
};

herr_t visit_link(hid_t group, const char* name, const H5L_info_t* link, void* data) {
  auto& walk = *static_cast<Walk*>(data);
  try {
    walk.visit(group, name, *link);
    return 0;
  } catch (...) {  // not through C code
    walk.failure = std::current_exception();
    return -1;
  }
}

template <class T>
void read_values(const std::string& path, hid_t file, const std::string& name, hid_t type, std::vector<T>& out) {
  const DatasetHandle dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT));
  const SpaceHandle space(dataset.valid() ? H5Dget_space(dataset.get()) : H5I_INVALID_HID);
  if (!space.valid() || H5Sget_simple_extent_npoints(space.get()) != static_cast<hssize_t>(out.size())) {
    throw corrupt(path, fmt::format("dataset {} cannot be opened: {}", in_quotes(name), library_reason()));
  }
  if (H5Dread(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data()) < 0) {
    throw corrupt(path, fmt::format("dataset {} cannot be read: {}", in_quotes(name), library_reason()));
  }
}

}  // namespace

Hdf5Reader::Hdf5Reader(const std::string& path) : path_(path) {
  require_regular_file(path);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) file_bytes_ = static_cast<std::uint64_t>(status.st_size);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);  // no filter of a file's choosing is loaded
  file_ = FileHandle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  if (!file_.valid()) throw corrupt(path, fmt::format("cannot be opened as HDF5: {}", library_reason()));
}

FileInfo Hdf5Reader::info() const {
  FileInfo info;
  Walk walk{path_, file_bytes_, info.datasets, nullptr};
  const herr_t status = H5Lvisit(file_.get(), H5_INDEX_NAME, H5_ITER_INC, visit_link, &walk);
  if (walk.failure) std::rethrow_exception(walk.failure);
  if (status < 0) throw corrupt(path_, library_reason());
  if (H5Aiterate2(file_.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, visit_attribute, &info.attributes) < 0) {
    throw corrupt(path_, fmt::format("attributes: {}", library_reason()));
  }
  return info;
}

void Hdf5Reader::read(const std::string& dataset, std::vector<double>& out) const {
  read_values(path_, file_.get(), dataset, H5T_NATIVE_DOUBLE, out);
}

void Hdf5Reader::read(const std::string& dataset, std::vector<std::int64_t>& out) const {
  read_values(path_, file_.get(), dataset, H5T_NATIVE_INT64, out);
}

}  // namespace mlbench::golden
