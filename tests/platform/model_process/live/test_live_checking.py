"""`--check`: whether the package can be imported, and the sources be compiled."""

from __future__ import annotations

import json
import py_compile
import subprocess

from tests.platform.model_process.conftest import MODEL_PROCESS

from .conftest import LiveModel


def test_a_model_without_faults_passes_and_is_not_run(model: LiveModel) -> None:
    with model.running("print('ran')\n", "--check") as live:
        assert live.end() == 0
    (event,) = live.events
    assert event["event"] == "checked"
    assert event["blankly"] == "1.18.25b0"
    assert live.printed == []


def test_a_script_that_cannot_be_compiled_is_a_fault_and_other_files_are_warnings(
    model: LiveModel,
) -> None:
    (model.bot.root / "old").mkdir()
    model.bot.write("old/draft.py", "print 'Python 2'\n")
    (model.bot.root / "binary.py").write_bytes(b"\0")
    model.bot.write("fine.py", "x = 1\n")
    with model.running("import os\nif True\n    pass\n", "--check") as live:
        assert live.end() == 1
    (fault,) = live.problems("fault")
    place = (fault["severity"], fault["path"], fault["line"], fault["column"])
    assert place == ("error", "bot.py", 2, 8)
    assert fault["message"] == "SyntaxError: expected ':'"
    warnings = {problem["path"]: problem for problem in live.problems("warning")}
    assert {problem["severity"] for problem in warnings.values()} == {"warning"}
    assert list(warnings) == ["binary.py", "old/draft.py"]
    assert (warnings["old/draft.py"]["line"], warnings["old/draft.py"]["column"]) == (1, 1)


def test_a_file_that_shadows_the_package_is_a_fault(model: LiveModel) -> None:
    model.bot.write("blankly.py", "Strategy = None\n")
    with model.running("import blankly\n", "--check") as live:
        assert live.end() == 1
    (fault,) = live.problems("fault")
    assert fault["message"] == "blankly.py shadows a module of the platform."
    assert fault["path"] == "blankly.py"


def checked(model: LiveModel, script: str) -> list[tuple[str | None, int | None]]:
    """Check a script, and return where it imports what is missing."""
    with model.running(script, "--check") as live:
        code = live.end()
    problems = live.problems("fault")
    assert code == (1 if problems else 0), live.printed
    assert all(
        "neither the model's files nor its environment" in one["message"] for one in problems
    )
    return [(problem["path"], problem["line"]) for problem in problems]


def test_a_missing_package_is_a_fault_before_the_script_is_run(model: LiveModel) -> None:
    script = "import blankly, json\nimport nowhere.at.all as no, pandas\nfrom elsewhere import x\n"
    with model.running(script, "--check") as live:
        assert live.end() == 1
    first, second = live.problems("fault")
    assert first["message"] == (
        "bot.py imports `nowhere`, which neither the model's files nor its environment have: the "
        "script would end there at once."
    )
    assert first["hint"].startswith("Add the package that provides `nowhere` to the requirements.")
    assert (first["path"], first["line"]) == ("bot.py", 2)
    assert (second["path"], second["line"]) == ("bot.py", 3)
    # Which is what happens.
    with model.running(script) as live:
        assert live.end() == 1
    (fault,) = live.problems("fault")
    assert (fault["path"], fault["line"], fault["hint"]) == ("bot.py", 2, first["hint"])


def test_the_model_s_own_modules_are_followed(model: LiveModel) -> None:
    for folder in ("parts", "parts/inner", "loose"):
        (model.bot.root / folder).mkdir()
    model.bot.write("parts/__init__.py", "")
    model.bot.write("parts/inner/__init__.py", "from .deep import value\n")
    model.bot.write("parts/inner/deep.py", "import missing_in_deep\nvalue = 1\n")
    model.bot.write("parts/plain.py", "from . import other\nfrom ..parts import other\n")
    model.bot.write("parts/other.py", "'Other.'\n\nimport missing_in_other\n")
    model.bot.write("parts/unused.py", "import not_looked_at\n")
    model.bot.write("loose/one.py", "import missing_in_one\n")
    assert checked(
        model, "import parts.inner\nfrom parts import plain\nimport loose.one\nimport missing\n"
    ) == [
        ("parts/inner/deep.py", 1),
        ("parts/other.py", 3),
        ("loose/one.py", 1),
        ("bot.py", 4),
    ]


def test_what_does_not_touch_imports_may_come_before_one(model: LiveModel) -> None:
    script = """
    import logging, os, sys, warnings
    import pandas as pd
    from dataclasses import dataclass
    warnings.filterwarnings("ignore")
    log = logging.getLogger(__name__)
    logging.getLogger().setLevel("INFO")
    os.environ["X"] = os.environ.get("Y", "{}".format(1))
    pd.set_option("display.width", 80)
    if sys.version_info < (3, 8):
        import never_there
    try:
        import perhaps
    except ImportError:
        perhaps = None
    @dataclass
    class Setting:
        value: int = 1
        @property
        def twice(self):
            import later
            return later.double(self.value)
    def setup():
        sys.path.append("elsewhere")
        import later
    import missing
    """
    line = script.splitlines().index("    import missing") + 1
    assert checked(model, script) == [("bot.py", line)]


# What may be there by the time it is imported, or need not be.
NO_FAULTS = {
    "sys.path": "import sys\nsys.path.insert(0, 'lib')\nimport missing\n",
    "sys.path +=": "import sys as s\ns.path += ['lib']\nimport missing\n",
    "from sys": "from sys import path\npath += ['lib']\nimport missing\n",
    "os.sys": "import os\nos.sys.path.append('lib')\nimport missing\n",
    "sys.modules": "import sys, json\nsys.modules['missing'] = json\nimport missing\n",
    "try": "import sys\ntry:\n    import missing\nexcept ImportError:\n"
    "    sys.path.append('x')\nimport missing\n",
    "by a module": "import paths\nimport missing\n",
    "by a module perhaps": "try:\n    import paths\nfinally:\n    pass\nimport missing\n",
    "compiled": "import compiled\nimport missing\n",
    "call": "def setup():\n    import sys\nsetup()\nimport missing\n",
    "decorator": "def setup(f):\n    return f\n@setup\ndef f():\n    pass\nimport missing\n",
    "pip": "import subprocess\nsubprocess.call(['pip', 'install', 'missing'])\nimport missing\n",
    "exec": "exec('import sys')\nimport missing\n",
    "bridge": "import clr\nimport System\n",
    "elsewhere": "import in_a_folder\nimport missing\n",
    "namespace": "import namespace.part, namespace\n",
    "end": "import sys\nif True:\n    sys.exit()\nimport missing\n",
    "raise": "raise SystemExit\nimport missing\n",
    "builtin": "import sys, builtins, time, _frozen_importlib, zipimport, __main__, marshal\n",
    "future": "from __future__ import annotations\nimport _thread, os.path, xml.dom\n",
    "function": "def later():\n    import missing\n",
    "condition": "if False:\n    import missing\n",
    "relative": "from . import missing\n",
    "lazy": "import lazy\n",
}
PROGRAM = """
import json, os, sys
from blankly_run.faults import ModelFiles
from blankly_run.live.imports import missing_imports
from importlib.machinery import ModuleSpec

class Lazy:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, None) if name == "lazy" else None

sys.meta_path.append(Lazy)
root = os.getcwd()
sys.path.insert(0, root)
files = ModelFiles(root)
for name in sys.argv[1:]:
    found = missing_imports(os.path.join(root, name), files)
    print(json.dumps([problem["message"] for problem in found]))
"""


def test_what_may_be_there_is_no_fault(model: LiveModel) -> None:
    root = model.bot.root
    for folder in ("namespace", "lib", "scripts"):
        (root / folder).mkdir()
    model.bot.write("namespace/part.py", "")
    model.bot.write("lib/in_a_folder.py", "")
    model.bot.write("clr.py", "")
    model.bot.write("paths.py", "import sys\nsys.path.append('lib')\n")
    py_compile.compile(str(root / "paths.py"), str(root / "compiled.pyc"))
    for number, script in enumerate([*NO_FAULTS.values(), "import missing\n"]):
        model.bot.write(f"scripts/{number}.py", script)
    done = subprocess.run(
        [
            *(str(model.bot.python), "-c", PROGRAM),
            *(f"scripts/{number}.py" for number in range(len(NO_FAULTS) + 1)),
        ],
        cwd=root,
        env={"PYTHONPATH": str(MODEL_PROCESS)},
        capture_output=True,
        text=True,
        check=True,
    )
    *found, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert dict(zip(NO_FAULTS, found, strict=True)) == {name: [] for name in NO_FAULTS}
    assert len(last) == 1  # so the program does look
