"""How many crops go to a model in one call.

A CPU is busy with a few. A GPU idles for a part of each call, a smaller one the larger the batch is, until it is busy
all the time; from there on more crops only take more memory. Where that is depends on the card and on the model, so it
is found while scoring."""

_CALLS = 3  # before a size is judged, by the quickest of them: in the first, a GPU's libraries still choose kernels
_WORTH = 0.95  # of the time a crop took at half the size


class BatchSize:
    """The size to use now, `size`: it doubles from `first` to `most` at the most, while that makes a crop cheaper."""

    def __init__(self, first: int, most: int) -> None:
        self.size, self._most, self._settled = first, most, first == most
        self._seconds_a_crop = float("inf")  # at half the size
        self._seen: list[float] = []

    def took(self, crops: int, seconds: float) -> None:
        """A call's time. One with fewer crops than `size`, as a folder's last, says nothing of that size."""
        if crops < self.size or self._settled:
            return
        self._seen.append(seconds / crops)
        if len(self._seen) < _CALLS:
            return
        quickest = min(self._seen)
        self._seen.clear()
        if quickest > _WORTH * self._seconds_a_crop:
            self.halve()
        elif 2 * self.size > self._most:
            self._settled = True
        else:
            self._seconds_a_crop = quickest
            self.size *= 2

    def halve(self) -> None:
        """Goes back to half the size, for good: more brings nothing, or has no room."""
        self.size, self._settled = max(1, self.size // 2), True
