import time

from recsys.clock import ReplayClock, WallClock

LOG_END = 1_514_782_800_000


def test_the_wall_clock_tells_the_machines_time_in_milliseconds() -> None:
    before = int(time.time() * 1000)
    now = WallClock().now_ms()
    assert before - 1 <= now <= time.time() * 1000 + 1


def test_a_replay_starts_just_after_the_last_event_so_that_it_is_visible() -> None:
    assert LOG_END < ReplayClock(LOG_END).now_ms() < LOG_END + 60_000


def test_a_replay_goes_on_at_the_speed_of_time() -> None:
    hour_ago = time.monotonic_ns() - 3_600 * 10**9
    now = ReplayClock(LOG_END, hour_ago).now_ms()
    assert 3_600_000 <= now - LOG_END <= 3_660_000


def test_a_replay_never_goes_back() -> None:
    clock = ReplayClock(LOG_END)
    times = [clock.now_ms() for _ in range(100)]
    assert times == sorted(times)
