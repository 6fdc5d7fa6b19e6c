"""The batch on a GPU that is made up: a call takes what its slots take, so it is cheapest a crop once they are full."""

from models.batch_size import BatchSize

START_S, SLOT_S = 0.002, 0.001


def call_s(crops: int, slots: int) -> float:
    """A GPU with so many slots takes as long for one crop as for all that fit."""
    return START_S + SLOT_S * -(-crops // slots)


def grown(slots: int, *, first: int = 64, most: int = 2048, crops: int = 100_000) -> list[int]:
    """The size of each call."""
    batch, sizes = BatchSize(first, most), []
    while crops > 0:
        size = min(batch.size, crops)
        sizes.append(size)
        batch.took(size, call_s(size, slots))
        crops -= size
    return sizes


def test_it_grows_until_the_gpu_is_busy_and_stays_there() -> None:
    sizes = grown(slots=32)
    # in ms: 64 take 4, 128 6, 256 10, 512 18, 1024 34 (6 % less a crop), and 2048 66 (3 % less: not worth it)
    assert [size for size in sizes if size != 1024] == [64] * 3 + [128] * 3 + [256] * 3 + [512] * 3 + [
        2048
    ] * 3 + sizes[-1:]
    assert set(sizes[-20:-1]) == {1024}


def test_a_busy_gpu_is_left_with_the_size_that_it_began_with() -> None:
    sizes = grown(slots=1)
    assert max(sizes) == 128
    assert sizes[-2] == 64


def test_it_never_goes_beyond_the_most() -> None:
    assert max(grown(slots=100_000)) == 2048


def test_a_size_that_is_fixed_stays() -> None:
    assert set(grown(slots=100_000, first=50, most=50)) == {50}


def test_a_slow_first_call_says_nothing_of_a_size() -> None:
    batch = BatchSize(64, 128)
    for seconds in (10.0, 0.1, 0.1):
        batch.took(64, seconds)
    assert batch.size == 128


def test_calls_that_were_not_full_say_nothing() -> None:
    batch = BatchSize(64, 2048)
    for _ in range(100):
        batch.took(63, 0.001)
    assert batch.size == 64


def test_what_has_no_room_is_never_tried_again() -> None:
    batch = BatchSize(64, 2048)
    for _ in range(3):
        batch.took(64, 1.0)
    assert batch.size == 128
    batch.halve()
    for _ in range(100):
        batch.took(64, 0.001)
    assert batch.size == 64
