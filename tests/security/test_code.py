"""No line of raypose runs what it reads: proven from the code, and the proof from examples of what it must find."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import raypose

PACKAGE = Path(raypose.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# Whatever it is called on: Python objects out of bytes, commands out of text, archives unpacked onto the disk.
NEVER_CALLED = {
    *("eval", "exec", "compile", "__import__", "system", "popen", "unpack_archive", "extractall", "extract"),
    *("load_state_dict_from_url", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all"),
}
METHODS = {"eval", "compile"}  # of models and regular expressions; only the built-in functions run text
NEVER_IMPORTED = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "tarfile", "commands"}
ONLY_THE_ERROR = {"UnpicklingError"}
# The one module that reads archives, by no path that they name; tests/datasets/test_prepare.py gives it evil ones.
READS_ARCHIVES = PACKAGE / "datasets" / "archive.py"
YAML_LOADERS = {"SafeLoader", "CSafeLoader"}


def dotted(node: ast.expr) -> str:
    """`a.b` of a name and its attributes; what comes of a call or an index is left out."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_given(call: ast.Call, keyword: str, value: object) -> bool:
    return any(k.arg == keyword and isinstance(k.value, ast.Constant) and k.value.value is value for k in call.keywords)


def call_faults(call: ast.Call) -> Iterator[str]:
    name = dotted(call.func)
    last = name.rsplit(".", 1)[-1]
    if last in NEVER_CALLED and not (last in METHODS and "." in name):
        yield f"calls {name}"
    if name == "torch.load" and not is_given(call, "weights_only", True):
        yield "calls torch.load without weights_only=True"
    if name.startswith("torch.hub.") and last != "get_dir":
        yield f"calls {name}"
    if name in ("yaml.load", "yaml.load_all"):
        loaders = [dotted(given).rsplit(".", 1)[-1] for given in [*call.args[1:], *(k.value for k in call.keywords)]]
        if not YAML_LOADERS & set(loaders):
            yield f"calls {name} without a safe loader"
    for keyword, value in (("shell", True), ("allow_pickle", True), ("weights_only", False)):
        if is_given(call, keyword, value):
            yield f"calls {name} with {keyword}={value}"


def faults(text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            found += [f"line {node.lineno}: {fault}" for fault in call_faults(node)]
        if isinstance(node, ast.Import):
            found += [f"line {node.lineno}: imports {a.name}" for a in node.names if a.name in NEVER_IMPORTED]
        if isinstance(node, ast.ImportFrom) and node.module in NEVER_IMPORTED:
            names = {alias.name for alias in node.names} - ONLY_THE_ERROR
            found += [f"line {node.lineno}: imports {', '.join(sorted(names))} of {node.module}"] * bool(names)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_nothing_that_is_read_is_run(module: Path) -> None:
    found = faults(module.read_text(encoding="utf-8"))
    assert [f for f in found if not (module == READS_ARCHIVES and f.endswith(": imports tarfile"))] == []


@pytest.mark.parametrize(
    "line",
    [
        *("torch.load(path)", "torch.load(path, weights_only=False)", "torch.load(path, weights_only=safe)"),
        *("torch.hub.load_state_dict_from_url(url, weights_only=True)", "torch.hub.load('a/b', 'c')"),
        *("import pickle", "from pickle import loads", "from pickle import UnpicklingError, load", "import marshal"),
        *("import tarfile", "archive.extractall(folder)", "zipfile.ZipFile(f).extract(name)"),
        *("shutil.unpack_archive(file)", "numpy.load(f, allow_pickle=True)"),
        *("yaml.load(text)", "yaml.load(text, yaml.Loader)", "yaml.load(text, Loader=yaml.FullLoader)"),
        *("yaml.unsafe_load(text)", "eval(text)", "exec(text)", "os.system(text)", "compile(text, '', 'exec')"),
        *("subprocess.run(text, shell=True)", "subprocess.Popen(args=text, shell=True)", "os.popen(text)"),
    ],
)
def test_the_proof_sees_what_it_should(line: str) -> None:
    assert len(faults(line)) >= 1


@pytest.mark.parametrize(
    "line",
    [
        *("torch.load(path, map_location='cpu', weights_only=True)", "model.eval()", "re.compile(text)"),
        *("yaml.load(text, Loader=yaml.SafeLoader)", "from pickle import UnpicklingError", "json.loads(text)"),
        *("subprocess.run([text], shell=False)", "torch.hub.get_dir()"),
    ],
)
def test_the_proof_lets_the_rest_pass(line: str) -> None:
    assert faults(line) == []
