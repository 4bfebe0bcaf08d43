"""What a scorer still has to score, shared out among workers: processes of any number of machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agentprm.store import tables as t
from agentprm.store.admission import admitted, check_units
from agentprm.store.database import Database
from agentprm.store.encode import Encoder, microseconds
from agentprm.store.filters import require_filters
from agentprm.store.inserter import Inserter
from agentprm.store.nouns import resolve
from agentprm.store.rows import Rows
from agentprm.store.statements import Statements
from agentprm.store.unscored import Unscored
from agentprm.types import Scorer, Scores, new_id, utc_now

__all__ = ["ScoreJob"]

_DIED = "its workers were killed, or crashed"
_FREE: dict[str, Any] = {"worker": None, "until": None}
_claim, _job = t.score_claim.c, t.score_job.c


class ScoreJob:
    """One scorer's work on what matches a selector, shared by every worker that opens it with the same two.

    A trajectory is *claimed* for `lease_s` seconds, which `keep` renews; scores and the end of the claim are one
    transaction, so that a worker which was killed leaves nothing half done, and its claims return. After `tries`
    attempts a trajectory has failed, until the job is opened again. An unfinished job goes on where it
    was; a finished one is begun again and looks at everything. With `follow` it keeps to what has ended. Workers that
    join a run say when it `began`: they find its job also when it has been finished meanwhile.

    Raises InvalidScores when the scorer's unit or sight is not that of its earlier scores.
    """

    def __init__(
        self,
        database: Database,
        scorer: Scorer,
        selector: Mapping[str, Any] | None = None,
        *,
        tries: int = 3,
        lease_s: float = 60.0,
        follow: bool = False,
        began: datetime | None = None,
    ) -> None:
        given = {name: value for name, value in (selector or {}).items() if value is not None}
        require_filters(given, {"id", "limit", "outcome", "without", "ended", "status"})
        check_units(database, [Scores(new_id(), scorer.spec, scorer.unit, (), sees=scorer.sees)])
        self.tries, self.lease_s = tries, lease_s
        self._database = database
        self._inserter = Inserter(Statements(database.dialect))
        self._insert: Any = sqlite.insert if database.is_sqlite else postgresql.insert
        number = self._number(scorer)
        self._id = self._open(number, json.dumps(given, sort_keys=True, default=str), began or utc_now())
        takes_running = not follow and scorer.sees != "episode"
        self.unscored = Unscored(database, number, given, takes_running=takes_running)
        """What there is to do."""

    @property
    def id(self) -> UUID:
        """Its name in the table `score_job`."""
        return self._id

    def _number(self, scorer: Scorer) -> int:
        rows = Rows()
        noun = Encoder(native_uuid=not self._database.is_sqlite).scorer(scorer.spec, scorer.unit, scorer.sees, rows)
        with self._database.changing() as connection:
            return resolve(connection.connection.cursor(), self._inserter.sql, rows.nouns, ())[noun]

    def _open(self, scorer_id: int, selector: str, began: datetime) -> UUID:
        """Find the job that is not finished, or begin one; what failed before this run is tried again."""
        row = {"id": new_id(), "scorer_id": scorer_id, "selector": selector, "started_at": microseconds(utc_now())}
        row |= {"place": 0, "n_scored": 0, "n_none": 0}
        is_open = sa.or_(_job.ended_at.is_(None), _job.ended_at >= microseconds(began))
        query = sa.select(_job.id).where(_job.scorer_id == scorer_id, _job.selector == selector, is_open)
        query = query.order_by(_job.started_at.desc()).limit(1)
        found: UUID | None = None
        while found is None:
            with self._database.changing() as connection:
                found = connection.scalar(query)
                if found is None:  # another may begin it at the same time, and is found the next time round
                    connection.execute(self._insert(t.score_job).values(**row).on_conflict_do_nothing())
                else:
                    again = sa.update(t.score_claim).where(_claim.job_id == found)
                    before = _claim.failed_at < microseconds(began)
                    connection.execute(again.where(before).values(failed_at=None, tries=0))
        return found

    # What is to be done.

    def claim(self, worker: str, n: int) -> list[UUID]:
        """Return at most `n` trajectories that are this worker's now; none where none can be had just now.

        One that was tried before comes alone: a whole batch, or a worker, may have failed on it.
        """
        while True:
            if not (claimed := self._claim(worker, n)):
                if self._fill():
                    continue
                return []
            unscored = self.unscored.among(claimed)
            if len(unscored) < len(claimed):  # another job, or a live scorer, was quicker
                with self._database.changing() as connection:
                    connection.execute(self._delete(worker, set(claimed) - set(unscored)))
            if unscored:
                return unscored

    def _claim(self, worker: str, n: int) -> list[UUID]:
        is_free = sa.or_(_claim.until.is_(None), _claim.until < self._now())
        query = sa.select(_claim.trajectory_id, _claim.tries).where(self._open_ones(), is_free)
        query = query.order_by(_claim.tries, _claim.trajectory_id).limit(n).with_for_update(skip_locked=True)
        with self._database.changing() as connection:
            self._give_up(connection, is_free)
            found = connection.execute(query).all()
            chosen = [row.trajectory_id for row in found if not row.tries] or [row.trajectory_id for row in found[:1]]
            taken = {"worker": worker, "until": self._now() + int(self.lease_s * 1e6), "tries": _claim.tries + 1}
            if chosen:
                mine = sa.update(t.score_claim).where(_claim.job_id == self.id, _claim.trajectory_id.in_(chosen))
                connection.execute(mine.values(**taken))
        return chosen

    def _give_up(self, connection: sa.Connection, is_free: sa.ColumnElement[bool]) -> None:
        over = sa.select(_claim.trajectory_id).where(self._open_ones(), is_free, _claim.tries >= self.tries)
        keys = connection.scalars(over.with_for_update(skip_locked=True)).all()
        if keys:
            failed = {"failed_at": self._now(), "error": sa.func.coalesce(_claim.error, _DIED), **_FREE}
            which = (_claim.job_id == self.id, _claim.trajectory_id.in_(keys))
            connection.execute(sa.update(t.score_claim).where(*which).values(**failed))

    def _fill(self) -> bool:
        """Queue what comes next; tell whether there was anything to look through."""
        with self._database.reading() as connection:
            place = connection.execute(sa.select(_job.place).where(_job.id == self.id)).scalar_one()
        upto, found = self.unscored.after(place)
        if upto == place and not (found := self.unscored.running()):
            return False
        rows = [{"job_id": self.id, "trajectory_id": key, "tries": 0} for key in found]
        with self._database.changing() as connection:
            if rows:
                connection.execute(self._insert(t.score_claim).on_conflict_do_nothing(), rows)
            # Claims first and the job last, here and in `finish`: who locks in one order never waits in a circle.
            moved = sa.update(t.score_job).where(_job.id == self.id, _job.place == place)
            connection.execute(moved.values(place=upto))
        return True

    # What was done.

    def finish(self, worker: str, given: Sequence[Scores]) -> list[Scores]:
        """Store scores and end their claims, in one transaction; return what was stored.

        Where a claim went to another worker meanwhile, that one's scores count. Raises what `Store.add` raises.
        """
        rows, _ = admitted(self._database, given)
        ids = [scores.trajectory_id for scores in given]
        with self._database.changing() as connection:
            held = sa.select(_claim.trajectory_id).where(*self._of(worker, ids)).with_for_update()
            mine = set(connection.scalars(held))
            kept = [scores for scores in given if scores.trajectory_id in mine]
            rows = rows if len(kept) == len(given) else self._only(mine, rows)
            fresh = self._inserter.put(connection.connection.cursor(), rows)
            connection.execute(self._delete(worker, mine))
            none = sum(all(value is None for value in scores.values) for scores in kept)
            counts = {"n_scored": _job.n_scored + len(kept) - none, "n_none": _job.n_none + none}
            connection.execute(sa.update(t.score_job).where(_job.id == self.id).values(**counts))
        self._inserter.remember(fresh)
        return kept

    def _only(self, mine: set[UUID], rows: Rows) -> Rows:
        parts, only = rows.by_trajectory(), Rows()
        for key in mine:
            only.extend(parts.get(key.bytes if self._database.is_sqlite else key, Rows()))
        return only

    def fail(self, worker: str, key: UUID, error: str) -> bool:
        """End a claim because the scorer raised; tell whether that was the last try."""
        mine = self._of(worker, [key])
        with self._database.changing() as connection:
            tries = connection.scalar(sa.select(_claim.tries).where(*mine).with_for_update())
            is_last = tries is not None and tries >= self.tries
            said = {"error": error, "failed_at": self._now() if is_last else None, **_FREE}
            connection.execute(sa.update(t.score_claim).where(*mine).values(**said))
        return is_last

    def keep(self, worker: str) -> None:
        """Renew a worker's claims: it is alive."""
        with self._database.changing() as connection:
            mine = sa.update(t.score_claim).where(*self._of(worker))
            connection.execute(mine.values(until=self._now() + int(self.lease_s * 1e6)))

    def give_back(self, worker: str) -> None:
        """End a worker's claims unscored, as if they had not been made."""
        with self._database.changing() as connection:
            mine = sa.update(t.score_claim).where(*self._of(worker))
            connection.execute(mine.values(tries=_claim.tries - 1, **_FREE))

    def release(self, worker: str) -> None:
        """End the claims of a worker that is dead; each counts as a try."""
        with self._database.changing() as connection:
            connection.execute(sa.update(t.score_claim).where(*self._of(worker)).values(**_FREE))

    def workers(self) -> list[str]:
        """Return the workers that hold claims."""
        query = sa.select(_claim.worker).where(_claim.job_id == self.id, _claim.worker.is_not(None)).distinct()
        with self._database.reading() as connection:
            return sorted(connection.scalars(query))

    def end(self) -> bool:
        """Finish the job if nothing is queued and nobody works on it any more; tell whether that is so."""
        with self._database.changing() as connection:
            if connection.execute(sa.select(_claim.job_id).where(self._open_ones()).limit(1)).first() is not None:
                return False
            mine = sa.update(t.score_job).where(_job.id == self.id, _job.ended_at.is_(None))
            connection.execute(mine.values(ended_at=microseconds(utc_now())))
        return True

    # SQL.

    def _open_ones(self) -> sa.ColumnElement[bool]:
        return (_claim.job_id == self.id) & _claim.failed_at.is_(None)

    def _of(self, worker: str, ids: Sequence[UUID] | None = None) -> tuple[sa.ColumnElement[bool], ...]:
        theirs = (_claim.job_id == self.id, _claim.worker == worker)
        return theirs if ids is None else (*theirs, _claim.trajectory_id.in_(ids))

    def _delete(self, worker: str, ids: set[UUID]) -> sa.Delete:
        return sa.delete(t.score_claim).where(*self._of(worker, sorted(ids)))

    def _now(self) -> sa.ColumnElement[int]:
        """Return, as SQL, the database's own time: machines disagree."""
        if self._database.is_sqlite:
            return sa.literal(microseconds(utc_now()))
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)
