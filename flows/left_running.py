"""Closes the runs that were under way when `faceline up` ended, before it starts workers again.

Whatever ended the command ended them too. A server that was killed has forgotten which runs it waits to hear from, so
its automation closes none of them: they would stay Running, and keep their place until their lease is over.

Run with: python -m flows.left_running POOL..."""

import sys
from collections.abc import Sequence

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_MESSAGE = "its process ended with the server that it reported to; the next run goes on"


def close_left_running(client: SyncPrefectClient, pools: Sequence[str]) -> list[FlowRun]:
    """Marks as crashed what was under way in these pools, and the runs within those; returns them."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))
    ours = WorkPoolFilter(name=WorkPoolFilterName(any_=list(pools)))
    left = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), work_pool_filter=ours)
    if left:
        parents = FlowRunFilterParentFlowRunId(any_=[run.id for run in left])
        left += client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state, parent_flow_run_id=parents))
    for run in left:
        client.set_flow_run_state(run.id, Crashed(message=_MESSAGE))
    return left


if __name__ == "__main__":
    with get_client(sync_client=True) as connected:
        for closed in close_left_running(connected, sys.argv[1:]):
            print(f"{closed.name}: crashed, as {_MESSAGE}", flush=True)
