"""Where something odd was taken without a word, or noticed only after slow work: each is refused first, by name."""

import pytest

from blipvqa.config.paths import project_path, project_root
from blipvqa.errors import InputError
from blipvqa.transfer import write_transfer


@pytest.mark.parametrize("place", ["missing/place", "file"])
def test_a_root_that_is_no_folder_is_refused(root, monkeypatch, place):
    (root / "file").write_text("")
    monkeypatch.setenv("BLIPVQA_ROOT", str(root / place))
    with pytest.raises(InputError, match=f"BLIPVQA_ROOT is '.*{place}', which is no folder"):
        project_path("outputs")
    assert not (root / "missing").exists()


def test_a_root_in_the_home_folder_is_found(root, monkeypatch):
    (root / "project").mkdir()
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("BLIPVQA_ROOT", "~/project")
    assert project_root() == (root / "project").resolve()


def test_a_table_of_runs_is_refused_before_the_first_is_asked(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr("blipvqa.transfer.evaluate_elsewhere", lambda *pair, **_: asked.append(pair))
    with pytest.raises(ValueError, match="'two' is of task caption"):
        write_transfer([tiny("one"), tiny("two", task="caption")], [tiny("set")])
    assert not asked
