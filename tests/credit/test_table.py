"""Tables as text, and on their way out."""

import sys
from uuid import UUID

import pytest

from agentprm.credit import Table
from agentprm.errors import MissingExtra

ID = UUID("01a1fb7c-b188-7000-8653-aade0feeb745")
COLUMNS = ("trajectory", "action", "n", "delta")
TABLE = Table(
    "Rows", COLUMNS, ((ID, "go to\nthe door " * 9, 2, -0.5), (ID, "x", 3, None)), "S", "a note", "model@12345678"
)


def test_text_fits_in_eighty_columns_by_shortening_words():
    lines = TABLE.to_text(80).splitlines()
    assert max(map(len, lines)) == 80
    assert lines[0] == "Rows"
    assert lines[2].startswith("aade0feeb745  go to the door go")
    assert "…" in lines[2]
    assert lines[2].endswith("2  -0.500")
    assert lines[-2:] == ["scores by model@12345678", "a note"]
    assert len(TABLE.to_text(200).splitlines()[2]) > 100


def test_numbers_stand_right_and_what_is_unknown_is_blank():
    lines = Table("T", ("a", "value"), (("x", 1.0), ("long", None)), "").to_text().splitlines()
    assert lines == ["T", "a     value", "x     1.000", "long"]


def test_a_long_table_says_how_much_is_left_out():
    table = Table("T", ("i",), tuple((i,) for i in range(30)), "")
    assert repr(table).endswith("... 10 more rows")
    assert "more rows" not in table.to_text()


def test_n_counts_what_the_rows_stand_for():
    assert TABLE.n == 5
    assert Table("T", ("x",), ((1,), (2,)), "").n == 2
    assert Table("T", ("n",), (), "").n == 0


def test_an_empty_table_says_why():
    assert repr(Table("T", ("n",), (), "", "record some")) == "T: no rows\nrecord some"


@pytest.mark.parametrize(("module", "method"), [("pandas", "to_pandas"), ("pyarrow", "to_arrow")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, module, method):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"needs {module}.*agentprm\[report\]"):
        getattr(TABLE, method)()


def test_arrow_and_parquet_keep_values_and_say_where_they_come_from(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'agentprm[report]'")
    from pyarrow import parquet

    TABLE.to_parquet(tmp_path / "t.parquet")
    read = parquet.read_table(tmp_path / "t.parquet")
    assert read.column_names == list(TABLE.columns)
    assert read.to_pylist()[1] == {"trajectory": str(ID), "action": "x", "n": 3, "delta": None}
    assert read.schema.metadata[b"scorer"] == b"model@12345678"
