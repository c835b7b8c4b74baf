"""What a sink has finished, out of its lanes: exact at every moment, with few lanes behind. Pure."""

from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.spool.api import Behind, Progress
from tdbwatch.daemon.spool.stored.blocks import Lane

Changes = dict[Lane, Behind | None]


class Saved:
    """What was saved last: up to which floor, and which lanes are behind.

    The floor is no lower than anything that is finished, so that no lane says too little; a lane whose first
    unfinished entry is not beyond that is behind. All others have nothing finished beyond their first
    unfinished entry, so they hold the floor before it and cost nothing else.
    """

    def __init__(self, progress: Progress) -> None:
        self.floor = progress.floor
        self._behind = dict(progress.behind)

    def update(self, lanes: Lanes) -> tuple[int, Changes] | None:
        """The floor of now, and the lanes that are behind otherwise than before; None: all is as it was."""
        least = max(self.floor, lanes.highest)
        floor, changed = lanes.position, Changes()
        for queue in lanes:
            lane, saved = queue.lane, self._behind.get(queue.lane)
            if queue.done or (saved is not None and lane not in lanes.touched):
                continue
            behind = queue.behind() if queue.first_seq <= least else None
            if behind is None:
                floor = min(floor, queue.first_seq - 1)
            if behind != saved:
                changed[lane] = behind
        for lane in lanes.touched:
            if lane in self._behind and ((now := lanes.get(lane)) is None or now.done):
                changed[lane] = None
        lanes.touched.clear()
        return self._keep(floor, changed)

    def _keep(self, floor: int, changed: Changes) -> tuple[int, Changes] | None:
        if floor == self.floor and not changed:
            return None
        self.floor = floor
        for lane, behind in changed.items():
            if behind is None:
                self._behind.pop(lane, None)
            else:
                self._behind[lane] = behind
        return floor, changed
