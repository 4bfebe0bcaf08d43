"""SQL of one's own: for reading only, by the engine's own word."""

import pytest

from agentprm import Store
from agentprm.credit import sql
from agentprm.errors import StoreError

WRITES = ["DELETE FROM trajectory", "UPDATE trajectory SET status = 'failed'", "CREATE TABLE mine (id INTEGER)",
          "INSERT INTO env (name) VALUES ('x')", "DROP VIEW v_step", "DELETE FROM trajectory RETURNING id"]  # fmt: skip
FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(params=["lite", "elephant"])
def filled(request):
    found = request.getfixturevalue(request.param)
    return found if request.param == "lite" else found[0]


def test_a_statement_with_parameters_is_a_table(filled, made):
    table = sql(
        filled,
        "SELECT policy, count(*) AS n FROM v_trajectory WHERE policy <> :not GROUP BY policy",
        **{"not": "ppo@0"},
    )
    assert sorted(table.columns) == ["n", "policy"]
    assert table.n == sum(t.policy != "ppo@0" for t, _ in made)


@pytest.mark.parametrize("statement", WRITES)
def test_the_engine_refuses_to_write(filled, made, statement):
    with pytest.raises(StoreError, match=r"read-?only"):
        sql(filled, statement)
    assert sql(filled, "SELECT count(*) AS n FROM trajectory").n == len(made)


def test_one_statement_is_one(filled, made):
    with pytest.raises(StoreError):
        sql(filled, "COMMIT; DELETE FROM trajectory")
    assert sql(filled, "SELECT count(*) AS n FROM trajectory").n == len(made)


def test_what_is_wrong_is_said_in_a_line(filled):
    with pytest.raises(StoreError, match=r"refused the statement: .*nonesuch") as caught:
        sql(filled, "SELECT * FROM nonesuch")
    assert "\n" not in str(caught.value)


def test_a_statement_that_takes_too_long_is_given_up(filled, made):
    with pytest.raises(StoreError, match=r"interrupt|timeout"):
        sql(filled, FOREVER, timeout_s=0.2)
    assert sql(filled, "SELECT count(*) AS n FROM trajectory", timeout_s=60).n == len(made)


def test_the_store_can_still_write_afterwards(store):
    sql(store, "SELECT 1 AS n")
    from credit_world import episode, fill

    assert fill(store, episode(["x"], [0.5], 1.0))


def test_attaching_makes_no_file(tmp_path):
    with Store(tmp_path / "runs.db") as store, pytest.raises(StoreError, match="too many attached databases"):
        sql(store, f"ATTACH '{tmp_path / 'other.db'}' AS other")
    assert not (tmp_path / "other.db").exists()
