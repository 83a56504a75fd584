#include "golden/hdf5_reader.h"

#include <sys/stat.h>

#include <exception>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file_map.h"
#include "golden/hdf5_error.h"

namespace mlbench::golden {
namespace {

// deflate, the densest of the filters that a file may use without plug-ins, packs at most 1032 bytes into one.
constexpr std::uint64_t kMaxRatio = 1100;
constexpr std::size_t kMaxObjects = 1'000'000;
constexpr std::size_t kMaxText = 64U << 20U;  // of all attributes, names included

Error corrupt(const std::string& path, const std::string& what) {
  return request_error("golden.corrupt", fmt::format("{}: {}", path, what));
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

// An attribute's value as text, or nothing where it is neither one string nor one number.
std::optional<std::string> attribute_value(hid_t attribute) {
  const TypeHandle type(H5Aget_type(attribute));
  const SpaceHandle space(H5Aget_space(attribute));
  if (!type.valid() || !space.valid() || H5Sget_simple_extent_npoints(space.get()) != 1) return std::nullopt;
  const H5T_class_t type_class = H5Tget_class(type.get());
  if (type_class == H5T_STRING) return text_attribute(attribute, type.get());
  if (type_class == H5T_INTEGER && H5Tget_sign(type.get()) == H5T_SGN_NONE) {
    unsigned long long value = 0;
    if (H5Aread(attribute, H5T_NATIVE_ULLONG, &value) >= 0) return fmt::format("{}", value);
  } else if (type_class == H5T_INTEGER) {
    long long value = 0;
    if (H5Aread(attribute, H5T_NATIVE_LLONG, &value) >= 0) return fmt::format("{}", value);
  } else if (type_class == H5T_FLOAT) {
    double value = 0.0;
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &value) >= 0) return fmt::format("{}", value);
  }
  return std::nullopt;
}

// Gathers attributes of one object after the other, as long as their text stays within bounds.
struct AttributeReader {
  std::size_t text_left = kMaxText;
  Attributes* out = nullptr;
  bool too_long = false;

  // False when the library fails.
  bool read(hid_t object, Attributes& attributes) {
    out = &attributes;
    return H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, this) >= 0;
  }

  static herr_t visit(hid_t object, const char* name, const H5A_info_t*, void* data) {
    auto& reader = *static_cast<AttributeReader*>(data);
    const AttributeHandle attribute(H5Aopen(object, name, H5P_DEFAULT));
    if (!attribute.valid()) return 0;
    const auto value = attribute_value(attribute.get());
    if (!value) return 0;
    const std::size_t length = std::string_view(name).size() + value->size();
    reader.too_long = length > reader.text_left;
    if (reader.too_long) return -1;
    reader.text_left -= length;
    (*reader.out)[name] = *value;
    return 0;
  }
};

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
  FileInfo& info;
  AttributeReader attributes;
  std::exception_ptr failure;

  void visit(hid_t group, const char* name, const H5L_info_t& link) {
    DatasetInfo found;
    found.path = std::string("/") + name;
    if (link.type == H5L_TYPE_HARD) {
      H5O_info_t object;
      if (H5Oget_info_by_name2(group, name, &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0) {
        throw corrupt(path, fmt::format("{}: {}", in_quotes(found.path), library_reason()));
      }
      if (object.type == H5O_TYPE_GROUP) return add_group(group, name, found.path);
      if (object.type != H5O_TYPE_DATASET) return;
      found.object = object.addr;
      describe(group, name, found);
    }
    info.datasets.push_back(std::move(found));
    check_count();
  }

  void add_group(hid_t parent, const char* name, const std::string& group_path) {
    const GroupHandle group(H5Gopen2(parent, name, H5P_DEFAULT));
    if (!group.valid()) throw corrupt(path, fmt::format("{}: {}", in_quotes(group_path), library_reason()));
    info.groups.push_back({group_path, {}});
    check_count();
    read_attributes(group.get(), group_path, info.groups.back().attributes);
  }

  void check_count() const {
    if (info.datasets.size() + info.groups.size() > kMaxObjects)
      throw corrupt(path, fmt::format("more than {} groups and datasets", kMaxObjects));
  }

  void read_attributes(hid_t object, const std::string& name, Attributes& out) {
    if (attributes.read(object, out)) return;
    throw corrupt(
        path, fmt::format("attributes of {}: {}", in_quotes(name),
                          attributes.too_long ? fmt::format("more than {} bytes in all", kMaxText) : library_reason()));
  }

  void describe(hid_t group, const char* name, DatasetInfo& found) {
    const DatasetHandle dataset(H5Dopen2(group, name, H5P_DEFAULT));
    const SpaceHandle space(dataset.valid() ? H5Dget_space(dataset.get()) : H5I_INVALID_HID);
    const int rank = space.valid() ? H5Sget_simple_extent_ndims(space.get()) : -1;
    if (rank < 0) throw corrupt(path, fmt::format("dataset {}: {}", in_quotes(found.path), library_reason()));
    std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
    if (H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr) < 0) {
      throw corrupt(path, fmt::format("dataset {}: {}", in_quotes(found.path), library_reason()));
    }
    std::uint64_t bytes = 0;
    for (const hsize_t dim : dims) {
      found.shape.push_back(dim > static_cast<hsize_t>(std::numeric_limits<Index>::max())
                                ? std::numeric_limits<Index>::max()
                                : static_cast<Index>(dim));
    }
    if (H5Sget_simple_extent_type(space.get()) == H5S_NULL) return;
    if (!memory_bytes(found.shape, bytes) || bytes / kMaxRatio > file_bytes) {
      throw corrupt(path, fmt::format("dataset {} of shape {} cannot stand in a file of {} bytes",
                                      in_quotes(found.path), to_string(found.shape), file_bytes));
    }
    found.kind = kind_of(dataset.get());
    read_attributes(dataset.get(), found.path, found.attributes);
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
  Walk walk{path_, file_bytes_, info, {}, nullptr};
  const herr_t status = H5Lvisit(file_.get(), H5_INDEX_NAME, H5_ITER_INC, visit_link, &walk);
  if (walk.failure) std::rethrow_exception(walk.failure);
  if (status < 0) throw corrupt(path_, library_reason());
  walk.read_attributes(file_.get(), "/", info.attributes);
  return info;
}

std::uint64_t Hdf5Reader::stored_bytes(const std::string& dataset) const {
  const DatasetHandle opened(H5Dopen2(file_.get(), dataset.c_str(), H5P_DEFAULT));
  if (!opened.valid())
    throw corrupt(path_, fmt::format("dataset {} cannot be opened: {}", in_quotes(dataset), library_reason()));
  return H5Dget_storage_size(opened.get());
}

void Hdf5Reader::read(const std::string& dataset, std::vector<double>& out) const {
  read_values(path_, file_.get(), dataset, H5T_NATIVE_DOUBLE, out);
}

void Hdf5Reader::read(const std::string& dataset, std::vector<std::int64_t>& out) const {
  read_values(path_, file_.get(), dataset, H5T_NATIVE_INT64, out);
}

}  // namespace mlbench::golden
