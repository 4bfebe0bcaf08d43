"""The blocks of the page on LangChain run as pasted, one after the other."""

import os
import re
from pathlib import Path

import pytest

pytest.importorskip("langchain")

PAGE = Path(__file__).parents[2] / "docs" / "langchain.md"


def test_the_blocks_run_as_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert capsys.readouterr().out.splitlines() == [
        "(0.5, 0.5)",
        "{'city': 'Lima'} [0.9, 0.1, 0.9, 0.1]",
        "0.9",
        "It is 19 degrees.",
        "0 0.5",
        "1 0.5",
    ]
    names["handler"].store.close()
    assert os.path.exists("runs.db")
