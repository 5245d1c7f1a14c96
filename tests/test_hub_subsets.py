"""A set on the Hub that holds several, as LLaVA-Med's and many medical ones do: which is read."""

import pytest
from test_hub_clients import DATA, _config, _parquet

from blipvqa import load_splits
from blipvqa.config.knobs import ConfigError
from blipvqa.data.formats import SourceError

SUBSET = """- config_name: {0}
  data_files:
  - split: train
    path: {0}/train-*
"""


def put(hub, *names: str, more: str = "") -> None:
    """A set with these configurations, each of other pictures and of another number of rows."""
    readme = f"---\nconfigs:\n{''.join(map(SUBSET.format, names))}{more}---\n"
    tables = {f"{name}/train-00000-of-00001.parquet": _parquet(100 * n, 20 + 10 * n) for n, name in enumerate(names)}
    hub.put("datasets", DATA, {"README.md": readme.encode()} | tables)


def rows(**overrides) -> int:
    return sum(map(len, load_splits(_config(**overrides)).values()))


def test_one_of_several_is_asked_for_by_name_and_none_is_taken_for_another(hub):
    put(hub, "closed", "open")
    with pytest.raises(SourceError, match=r"holds several sets: set data.subset to one of \['closed', 'open'\]"):
        rows()
    assert rows(data__subset="open") == 30
    assert rows(data__subset="closed") == 20
    with pytest.raises(SourceError, match=r"has no 'opened': set data.subset to one of \['closed', 'open'\]"):
        rows(data__subset="opened")
    hub.stop()
    assert (rows(data__subset="open"), rows(data__subset="closed")) == (30, 20)
    for way_out in ("../x", "a/../../x", ""):
        with pytest.raises(ConfigError, match=r"data\.subset"):
            _config(data__subset=way_out)


def test_the_set_s_own_default_needs_no_name(hub):
    put(hub, "closed", "open", more="  default: true\n")
    assert rows() == 30
    assert rows(data__subset="closed") == 20 and rows() == 30
