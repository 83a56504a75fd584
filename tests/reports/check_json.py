"""Holds JSON documents against a schema, and the schema against damaged ones.

check_json.py SCHEMA DOCUMENT...: every document is valid; no document is when a field is left out, has another type, or
stands beside a field that there is not. Needs python3-jsonschema.
"""
import copy
import json
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    sys.exit("check_json.py: the Python module jsonschema is missing: apt-get install python3-jsonschema")

# Objects whose keys are free, and fields that only some documents have.
FREE = {"arithmetic"}


def places(value, path=()):
    """Every object in the document with the path to it."""
    if isinstance(value, dict):
        yield path, value
        for key, child in value.items():
            yield from places(child, path + (key,))
    if isinstance(value, list):
        # Entries of one list share a schema: some from its beginning and its end stand for all.
        for index in sorted(set(range(len(value))[:3]) | set(range(len(value))[-3:])):
            yield from places(value[index], path + (index,))


def damaged(document):
    """Copies of the document, each with one damage, and what it is."""
    for path, target in places(document):
        def copied():
            out = copy.deepcopy(document)
            at = out
            for key in path:
                at = at[key]
            return out, at

        free = bool(path) and path[-1] in FREE
        where = "/".join(map(str, path))
        for key, value in target.items():
            if not free:
                out, at = copied()
                del at[key]
                yield f"{where}: without {key}", out
            out, at = copied()
            at[key] = [[value]]
            yield f"{where}: {key} is a list of lists", out
            if isinstance(value, (int, float)):
                out, at = copied()
                at[key] = str(value)
                yield f"{where}: {key} is text", out
        out, at = copied()
        at["no_such_field"] = 1
        yield f"{where}: with no_such_field", out


def wrong_values(document):
    for verdict in ("PASSED", "", None, True):
        out = copy.deepcopy(document)
        out["verdict"] = verdict
        yield f"verdict {verdict!r}", out
    out = copy.deepcopy(document)
    out["command"] = "bench"
    yield "another command", out


def main(schema_path, *documents):
    schema = json.load(open(schema_path, encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    wrong = tried = 0
    for path in documents:
        document = json.load(open(path, encoding="utf-8"))
        for error in validator.iter_errors(document):
            print(f"{path}: {error.json_path}: {error.message[:400]}")
            for part in error.context or []:
                print(f"    {part.json_path}: {part.message[:200]}")
            wrong += 1
        for what, bad in [*damaged(document), *wrong_values(document)]:
            tried += 1
            if validator.is_valid(bad):
                print(f"{path}: is valid in spite of this damage: {what}")
                wrong += 1
    print(f"{len(documents)} documents, {tried} damaged ones, {wrong} wrong answers")
    return 1 if wrong or not documents else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
