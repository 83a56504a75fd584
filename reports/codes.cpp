#include "reports/codes.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/near_names.h"

namespace mlbench::reports {
namespace {

constexpr Code kRequests[] = {
    {"usage", "2", "The command line is wrong.",
     "An option is not known, lacks its value, has one that is not allowed, or contradicts another.",
     "Compare with the command's --help; the message names the option."},
    {"file.missing", "2", "A file that was named is not there.", "The path leads to nothing.",
     "Check the path; it is taken relative to the current folder."},
    {"file.not_a_file", "2", "What was named is no regular file.", "The path leads to a folder, a device or a pipe.",
     "Name the file inside the folder, or copy the stream to a file first."},
    {"file.unreadable", "2", "A file is there and cannot be read.", "Its rights forbid it, or the disk fails.",
     "Check the file's rights; the message has the system's own words."},
    {"file.too_large", "2", "A text file is larger than any of its kind.",
     "Another file took the place of a configuration or an index.", "Check that the right file was named."},
    {"preset.unknown", "2", "There is no preset of that name.", "--preset names one that mlbench does not have.",
     "mlbench list presets shows them all."},
    {"method.not_in_plan", "2", "No call of this run has one of the methods that were asked for.",
     "--method picks from the calls of the plan, and the plan has none of these.",
     "Leave --method out, or take --full, whose plan has more calls."},
    {"plan.label", "2", "No call of this run has that label.",
     "--call names a call of another plan, for example one of --full without --full.",
     "Copy the label from a report, and give the options that the report was made with."},
    {"input.shape", "2", "An input of an inference method has the wrong shape.",
     "The method was called with a tensor, or with a number of values, that it does not take.",
     "The message has the expected shape beside the one that came."},
    {"input.token_range", "2", "A token is not in the vocabulary.",
     "A golden, or who calls a method, gives a token id below 0 or beyond the last.",
     "Use token ids of the model's own vocabulary."},
    {"input.position_range", "2", "A position is beyond the position table.",
     "A model with learned positions was asked for more positions than it learned.",
     "Give shorter inputs, or a model with a longer table."},
    {"input.logit_position", "2", "A logit position is no row of the call.",
     "A method that returns logits of chosen rows was asked for one that it does not have.",
     "Positions count the rows of the call from 0."},
    {"sweep.format", "2", "A sweep file is wrong.",
     "It is no JSON, names an axis that there is not, or has a value that an axis cannot take.",
     "Compare with bench/sweeps/smoke.json; the message names the place."},
    {"cluster.format", "2", "A file that describes a cluster is wrong.",
     "It is no JSON, lacks a field, has one that there is not or a value that cannot be, or does not know the type.",
     "Compare with docs/examples/eight-nodes.json; the message names the place."},
    {"cluster.devices", "2", "The cluster has fewer devices than the split takes.",
     "Shards times stages times replicas are more than nodes times devices of a node.",
     "Ask for a smaller split, or correct the file."},
    {"qualify.manifest", "2", "A folder of results has no manifest that can be trusted.",
     "There is no such folder, no qualification came to its end in it, its manifest is damaged or names files outside, or "
     "the folder holds links or files whose names have no place in a manifest.",
     "Name the folder that mlbench qualify wrote, as a whole and without links; the message says what is in the way."},
    {"qualify.document", "1", "The result of a qualification's step cannot be read.",
     "The step ended well, and its JSON is damaged or is not there.",
     "Give the same command again after removing the file that the message names."},
    {"sign.key", "2", "A key cannot sign, or check, the results of a qualification.",
     "--sign must name a private Ed25519 key in PEM that is not encrypted, --key a public one.",
     "Make one with openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout gives its public half."},
    {"bench.host_executor", "2", "The host executor is not measured.",
     "It runs a GPU backend's kernels on the processor to check them; their speed says nothing about any device.",
     "Name a device of mlbench list devices, or verify with it."},
    {"verify.format", "2", "A verification's result is damaged, or is none.",
     "A file that is imported says that it is of mlbench verify, and lacks something, or has what cannot be.",
     "Take a file that mlbench verify --json wrote; the message names the place."},
    {"bench.resume", "2", "An earlier benchmark result cannot be gone on with.",
     "It was measured with other settings, on another machine or with another build.",
     "Give the options that it was made with, or measure anew."},
    {"bench.format", "2", "A file of benchmark results cannot be read.",
     "It is damaged, of a newer version, larger than any benchmark, or in a format that mlbench does not know.",
     "Name a file of mlbench bench --json, of Google Benchmark or of llama-bench; docs/bench-formats.md describes "
     "them."},
};

constexpr Code kModels[] = {
    {"config.syntax", "2", "The configuration is not JSON.",
     "The text does not parse, nests too deeply, or gives a field twice.", "Correct it at the place that is named."},
    {"config.missing", "2", "A field of the configuration is missing.",
     "The architecture needs it and it has no default.", "Add the field that is named."},
    {"config.type", "2", "A field of the configuration has the wrong type.",
     "For example text where a number must stand.", "Correct the field that is named."},
    {"config.value", "2", "A field of the configuration has a value that makes no sense.",
     "A size is not positive, or a number lies outside the range that the message names.",
     "Correct the field that is named."},
    {"config.indivisible", "2", "Two sizes of the configuration do not fit each other.",
     "One must divide the other: key/value heads the query heads, for example.", "Correct one of the two."},
    {"config.unsupported", "2", "The configuration asks for what is known and not implemented, or for an unknown name.",
     "For example an architecture, an activation or a kind of RoPE scaling.",
     "mlbench list archs shows what is implemented."},
    {"parallel.indivisible", "2", "A size cannot be split over that many shards.",
     "Tensor or pipeline parallelism must divide heads, widths or layers evenly.", "Choose another number of shards."},
    {"parallel.unsupported", "2", "The model cannot be split this way, or its two instances are not alike.",
     "The architecture does not allow it (gpt_bigcode has one key/value head), or prefill and decode run on instances "
     "with other splits, page sizes or types; or with --disagg, its prompts cannot be cut.",
     "Run it unsplit and without --disagg, or make both instances alike."},
    {"parallel.differs", "1", "Workers differ in what must be the same bits for all of them.",
     "After an all-reduce every shard goes on with the same rows: one of them was given others, or computes with "
     "others.",
     "The message names the workers and the value; --tp 1 shows whether it comes from the split."},
    {"parallel.too_few_ranks", "2", "The launcher gave fewer ranks than the split takes.",
     "--tp times --pp ranks are needed, with --disagg twice that, of those that mpirun or srun started.",
     "Start as many, or split less."},
    {"parallel.no_ranks", "3", "Models cannot be split on this machine: ranks cannot be started.",
     "The program was built without MPI, there is no mpirun, or the ranks did not come.",
     "The message says what is missing; without --tp, --pp and --disagg nothing of it is needed."},
    {"parallel.unreachable", "3", "A rank cannot reach the program that it belongs to.",
     "A firewall stands between the hosts, or they have no network in common.",
     "The message names the addresses and the port that were tried."},
    {"parallel.stopped", "1", "A worker was told to end because of another.",
     "One rank failed, and the launcher ended the rest.", "Look for the first that failed."},
    {"checkpoint.missing", "2", "There is no checkpoint in the folder.",
     "The folder is not there, or holds no safetensors file and no index of one.",
     "Name the folder with config.json and model.safetensors."},
    {"checkpoint.unsupported", "2", "The checkpoint is in a format that is not read.",
     "The folder holds PyTorch pickles or another format.", "Convert it to safetensors first."},
    {"checkpoint.format", "2", "A safetensors file or its index is damaged.",
     "The header does not parse, or its tensors overlap or contradict their sizes.", "Fetch or write the file again."},
    {"checkpoint.truncated", "2", "A safetensors file ends too early.", "A download or copy was interrupted.",
     "Fetch the file again."},
    {"weights.missing", "2", "A tensor that the model needs is not in the checkpoint.",
     "The configuration is of another model, or the checkpoint is incomplete.",
     "Check that config.json and the checkpoint belong together."},
    {"weights.shape", "2", "A tensor has another shape than the configuration asks for.",
     "The configuration is of another model.", "Check that config.json and the checkpoint belong together."},
    {"weights.dtype", "2", "A tensor has a type that is not read.", "It is quantized, or of integers.",
     "Convert it to F64, F32, F16 or BF16."},
    {"weights.unexpected", "2", "The checkpoint has a tensor that nothing uses.",
     "A warning; with --strict an error, because a wrong name may have left a part of the model out.",
     "Check that the tensor is no part of the model; without --strict the run goes on."},
    {"weights.conflict", "none", "Tensors that the configuration declares to be tied differ.",
     "A warning: tie_word_embeddings is true, and the output layer is stored with other values.",
     "Both are used as stored; correct the configuration if that is not meant."},
    {"weights.unknown", "4", "A weight was asked for that was not loaded.",
     "A fault of mlbench: the list of an architecture's weights and its use disagree.",
     "Report it with the command that shows it."},
};

constexpr Code kGoldens[] = {
    {"golden.corrupt", "2", "The golden is a damaged HDF5 file.",
     "The HDF5 library cannot read it, crashes on it, or takes too long.", "Make or fetch the file again."},
    {"golden.format", "2", "The file is no golden, lacks a part of one, or contradicts itself.",
     "A group or an input is missing, or lengths do not match.",
     "mlbench golden check names what is wrong; docs/goldens.md describes both layouts."},
    {"golden.digest", "2", "The golden's values are not those that were written.",
     "A bit or an attribute changed after mlbench golden make wrote it.", "Make or fetch the file again."},
    {"golden.version", "2", "The golden is in a newer format.", "A newer mlbench wrote it.",
     "Use that mlbench, or make the golden again with this one."},
    {"golden.model", "2", "The golden is of another model, or of other weights.",
     "The architecture, the configuration or the digest of the weights differs.",
     "Name the model that the golden was made from; mlbench golden info shows it."},
    {"golden.shape", "2", "A dataset of the golden has a shape that the model does not give.",
     "The golden was made from a model of other sizes.", "Name the model that the golden was made from."},
    {"golden.no_limits", "2", "The golden holds no limits to trust.",
     "--trust-golden was given with a golden in Hugging Face's layout, or one made without --dtype.",
     "Make one with mlbench golden make --dtype TYPE."},
    {"golden.arithmetic", "2", "The golden's limits are for a finer arithmetic than the backend's.",
     "The backend declares that it rounds where the limits do not allow for it.",
     "Verify against the live reference, without --trust-golden."},
    {"golden.uncompared", "1", "Too little of a golden could be compared.",
     "Less than 95% of its result datasets have a known tap.",
     "The report lists what was not compared, each with the reason."},
    {"golden.reader", "4", "The process that reads goldens could not be started.",
     "The system is out of processes or memory.", "Try again when less is running."},
};

constexpr Code kCache[] = {
    {"kv.unknown_seq", "2", "The cache has no sequence of that number.", "It was never added, or was removed before.",
     "Add the sequence first."},
    {"kv.duplicate_seq", "2", "The cache already has a sequence of that number.",
     "A sequence was added or forked to twice.", "Choose another number, or remove the old one first."},
    {"kv.bad_argument", "2", "An argument of a cache operation is out of its range.",
     "For example a fork beyond the end of a sequence.", "The message names the range."},
    {"kv.state", "2", "A cache operation came at the wrong time.",
     "Between begin_forward and end_forward, or outside of them, only some are allowed.",
     "Keep the order: begin_forward, forward, end_forward."},
    {"kv.full", "2", "The cache has no page left.", "The sequences need more pages than the cache was made with.",
     "Remove sequences, or make a larger cache."},
    {"kv.chunk_too_large", "2", "A call has more rows than the cache allows.",
     "More tokens than prefill_chunk_size come at once.", "Feed the prompt in chunks."},
    {"kv.uncommitted_tree", "2", "A sequence still has a token tree.",
     "It was verified, and no path of it was committed.", "Commit the accepted nodes first."},
    {"kv.unsupported", "2", "The sequence is in a state in which this cannot be done, or the cache does not have it.",
     "For example popn on a window that has slid, a window on a cache made without them, or a transfer of entries from "
     "or to a backend that has none.",
     "The message says which."},
};

constexpr Code kBackends[] = {
    {"backend.unknown", "2", "There is no backend of that name.", "--backend names one that mlbench does not know.",
     "mlbench list backends shows them; a shared library is named by its path, with a slash."},
    {"backend.unavailable", "3", "The backend is not there.",
     "It is not part of this build, or the machine has no device for it.", "mlbench list backends says what it lacks."},
    {"backend.no_probe", "3", "The backend does not measure what its device reaches.",
     "mlbench probe asks the backend for its memory's bandwidth and its rate of matrix products, and it offers "
     "neither.",
     "A plug-in offers them through measure_rates in mlbench/plugin.h. mlbench bench works without, but shows no MFU "
     "and MBU."},
    {"bench.worker", "3", "Another mlbench cannot run beside this one.",
     "The program that --against names could not be started, ended, or is of a version that talks differently.",
     "Name a program that was built from a version near this one; the message says what it did."},
    {"backend.failed", "1", "The backend gave something unusable, or reported an error.",
     "A tap has the wrong shape, or a library that it calls failed. The run's verdict is error.",
     "The message has the backend's own words; the other runs go on."},
    {"backend.request", "2", "A plug-in refused a request without saying which rule it breaks.",
     "It returned the status of a wrong request with no code, or with one that is no dotted name.",
     "The message has the plug-in's own words; a plug-in should give a code such as kv.full."},
    {"backend.crashed", "1", "The backend's process died.",
     "A plug-in crashed or left in the middle of a call; the signal is named. The run's verdict is error.",
     "Run it with --in-process under a debugger."},
    {"backend.timeout", "1", "The backend's process did not answer in time.",
     "A call of a plug-in took longer than --time-limit. The run's verdict is error.",
     "Raise --time-limit if the call is only slow; else look for a deadlock."},
    {"plugin.load", "3", "The shared library cannot be loaded.",
     "The file is missing, is no shared library of this machine, or one of its own libraries is missing.",
     "ldd FILE shows what is missing."},
    {"plugin.symbol", "3", "The shared library is no plug-in of mlbench.",
     "It does not export the one function that a plug-in must.",
     "Export the entry function that docs/write-a-backend.md shows, as extern \"C\"."},
    {"plugin.version", "3", "The plug-in was built for another version of the interface.",
     "Its version number is not one that this mlbench speaks.", "Build it again with this version's plugin.h."},
    {"plugin.table", "3", "The plug-in's table of functions cannot be used.",
     "Its size is wrong, or a function that must be there is null.",
     "Build it again with this version's plugin.h, and fill in every function that the message names."},
};

constexpr Code kFindings[] = {
    {"memory.canary", "1", "The backend wrote outside a buffer that it was given.",
     "Bytes just before or behind an output changed during a call.",
     "Look for a loop that runs past the last row or column; the finding names the buffer."},
    {"memory.unwritten", "1", "The backend left elements of an output unwritten.",
     "The pattern that the output was filled with before the call is still there.",
     "Look for rows or tails that no thread covers."},
    {"memory.input", "1", "The backend changed one of its inputs.", "An input has other bytes after the call.",
     "Inputs are read-only: work on a copy."},
    {"tap.not_given", "1", "A tap did not come that the backend says it gives.",
     "Its answer to whether it gives the tap is yes, and a forward that was asked for it did not show it.",
     "Show the tap, or answer no with the reason: it is then listed as unsupported."},
    {"cache.positions", "1", "The backend's cache counts differently than the reference's.",
     "get_query_positions, a sequence's length or the total length disagrees after a cache operation.",
     "Compare the operations just before the call that is named."},
    {"cache.pages", "1", "The backend's cache does not give all of its pages back.",
     "A cleared cache has entries, or fewer free pages than it was made with.",
     "Look for an operation that takes a page and forgets it: clear, remove, popn, a fork, a window that slides."},
    {"untrusted.loose", "1", "Limits are larger than the signal.",
     "The declared arithmetic is so coarse that a constant would have passed, too: what passed shows nothing.",
     "Take a smaller model or a finer type, or correct the declared arithmetic."},
    {"untrusted.constant", "1", "The backend's logits do not depend on the input.",
     "Different tokens gave equal logits.",
     "Look for an output that is never computed, or for inputs that are not read."},
    {"untrusted.deaf", "1", "The reference's logits do not react to the input.",
     "The weights are all zero, or such that every input gives the same: any backend would pass.",
     "Verify with other weights."},
};

constexpr Code kStore[] = {
    {"store.unusable", "2 or 4", "The history of runs cannot be used.",
     "The file is no store of mlbench, is damaged, is of a later version, or cannot be opened or written. Found when a "
     "verdict is to be stored: 4.",
     "The message has the reason; name another file with --store, restore a copy, or go without with --no-store."},
    {"store.busy", "2 or 4", "The history of runs is held by another program.",
     "Something wrote to it for more than a minute. Found when a verdict is to be stored: 4.",
     "Look for a program that holds the file open in a transaction, end it, and try again."},
    {"store.missing", "2", "The history has no such run.", "The number was never given, or the run was removed.",
     "mlbench history list shows the runs that there are."},
    {"report.foreign", "2", "The folder holds a page that mlbench report did not make.",
     "-o names a folder with another index.html, which would be lost.", "Name another folder, or move the page away."},
    {"report.not_a_folder", "2", "What is to hold the dashboard is a file.", "-o names a file.",
     "Name a folder; --single-file writes one file."},
};

constexpr Code kMachine[] = {
    {"file.unwritable", "4", "An output could not be written; what was there before still is.",
     "The folder is missing or may not be written to, or the disk is full.", "Name a place that can be written to."},
    {"memory.exceeded", "2, 3 or 4", "The memory does not suffice.",
     "Estimated before anything is loaded: 2. When the system refuses memory during the run: 4.",
     "Take a smaller model, a shorter prompt, or a machine with more memory."},
    {"threads", "4", "The system refuses as many threads as were asked for.", "A limit on processes is set.",
     "Give a smaller --threads."},
    {"internal", "4", "A fault of mlbench or of the machine.", "Something happened that no other code covers.",
     "Report it with the command that shows it."},
};

std::vector<Code> all_codes() {
  std::vector<Code> all;
  for (const std::span<const Code> part :
       {std::span<const Code>(kRequests), std::span<const Code>(kModels), std::span<const Code>(kGoldens),
        std::span<const Code>(kCache), std::span<const Code>(kBackends), std::span<const Code>(kFindings),
        std::span<const Code>(kStore), std::span<const Code>(kMachine)}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace

std::span<const Code> codes() {
  static const std::vector<Code> all = all_codes();
  return all;
}

std::string explanation(const std::string& code) {
  const auto it = std::ranges::find(codes(), code, [](const Code& c) { return c.code; });
  if (it == codes().end()) {
    std::vector<std::string> known;
    for (const Code& c : codes()) known.emplace_back(c.code);
    throw request_error("usage", fmt::format("--explain: {} is no code{}", in_quotes(code),
                                             near_names_hint(code, known, "docs/errors.md")));
  }
  return fmt::format("{}: {}\nwhen       {}\nwhat to do {}\nexit code  {}\n", it->code, it->means, it->occurs,
                     it->remedy, it->exit);
}

}  // namespace mlbench::reports
