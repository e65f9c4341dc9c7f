"""`--check`: whether the package can be imported, and the sources be compiled."""

from __future__ import annotations

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
