"""The moments of a request at which a stage may act: a screen, a cache, a budget, a notice is one file with one `Stage`.

The stages of a pipeline are a tuple in its `Collaborators`, in the order in which they are asked. Without any, a request makes no
object of this module and pays one comparison a moment. Stages are plain calls on what is in memory: they may not wait. One that must ask
the world refuses the request, or asks beforehand and remembers.
"""

from collections.abc import Sequence

import structlog

from penstock.domain.errors import PenstockError
from penstock.domain.tokens import TokenCount
from penstock.domain.workers import WorkerRecord
from penstock.serving.admission.guards import Hold
from penstock.serving.pipeline.record import RequestRecord
from penstock.wire.chat.bodies import AnyBody

log = structlog.get_logger("penstock.pipeline")


class Stage:
    """Every moment of a request, in their order. The methods do nothing here: a stage overrides those that it needs.

    `record` has what is known so far (`record.principal`, `.call`, `.model`, `.demand`; later `.pool`, `.meter`, `.tries`). A request that
    is repeated under its Idempotency-Key is answered before any stage.
    """

    def before_admission(self, record: RequestRecord, request: AnyBody) -> Hold | None:
        """Its model is known, and no limit has been asked. May hold something. Raises the PenstockError that refuses the request."""
        return None

    def before_dispatch(self, record: RequestRecord, worker: WorkerRecord) -> None:
        """A worker was chosen; comes again for each retry. Raises the PenstockError that refuses the request."""

    def on_chunk(self, record: RequestRecord, data: bytes) -> None:
        """These bytes are about to leave: a piece of an event stream, or a whole body. It cannot change them; an error is logged."""

    def on_end(self, record: RequestRecord, count: TokenCount | None) -> None:
        """The request has ended; comes once. `count`: the tokens used; None: nothing was. An error is logged."""


class StageRun:
    """The stages of one request, and what they hold for it."""

    def __init__(self, stages: Sequence[Stage], record: RequestRecord) -> None:
        self._stages = stages
        self._record = record
        self._holds: list[Hold] = []
        self._reached = 0
        """Stages that have seen the request: they alone hear of its end."""

    def before_admission(self, request: AnyBody) -> None:
        """Raises what a stage raises; then the stages before it have let go of what they held."""
        try:
            for stage in self._stages:
                self._reached += 1
                if (hold := stage.before_admission(self._record, request)) is not None:
                    self._holds.append(hold)
        except BaseException:
            self.end(None)
            raise

    def refusal(self, worker: WorkerRecord) -> PenstockError | None:
        """Why the request may not go to this worker; None: it may."""
        try:
            for stage in self._stages:
                stage.before_dispatch(self._record, worker)
        except PenstockError as error:
            return error
        return None

    def on_chunk(self, data: bytes) -> None:
        for stage in self._stages:
            try:
                stage.on_chunk(self._record, data)
            except Exception:
                self._log(stage, "on_chunk")

    def end(self, count: TokenCount | None) -> None:
        """Once; calls after the first do nothing."""
        holds, self._holds = self._holds, []
        reached, self._reached = self._reached, 0
        for hold in holds:
            try:
                if count is None:
                    hold.release()
                else:
                    hold.settle(count)
            except Exception:
                self._log(hold, "settle")
        for stage in self._stages[:reached]:
            try:
                stage.on_end(self._record, count)
            except Exception:
                self._log(stage, "on_end")

    def _log(self, member: object, moment: str) -> None:
        """A stage that fails must not take a request's answer, slot or bill with it."""
        log.exception("stage_failed", stage=type(member).__name__, moment=moment, request_id=self._record.call.request_id)
