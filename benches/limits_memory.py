"""How much memory the rate limiter takes for each user, and whether those forgotten give it back.

    python benches/limits_memory.py [--users 1000000] [--json]

So many users with a limit for each minute, hour and day, and of concurrent requests, make one
request each; then 19 more each, half a minute apart; then everybody is forgotten when the day is
over, and as many others come: they must fit where the first were. The limits are 100 an hour and
1,000 a day: each request of the hour is remembered by itself, those of the day in slots. What is
measured is what the process has in memory (Linux: the proportional set size), before and after.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cascadeflow._native import LimitPolicy, LimitRefusal, RateLimiter

SECOND = 1_000_000_000
DAY = 86_400 * SECOND


def resident() -> int:
    """Bytes of memory that this process has."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/smaps_rollup has no Pss")


def request(limiter: RateLimiter, policy: LimitPolicy, users: int, lot: str, now_ns: int) -> None:
    """Lets each user make one request."""
    for number in range(users):
        permit = limiter.acquire(((f"user:{lot}{number:08}", policy),), 0, now_ns)
        assert not isinstance(permit, LimitRefusal), permit
        permit.release()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    if not sys.platform.startswith("linux"):
        sys.exit("this reads /proc, which only Linux has")

    policy = LimitPolicy(per_minute=(60, 59), per_hour=100, per_day=1_000, concurrent=4)
    limiter, users = RateLimiter(), arguments.users
    before = resident()
    request(limiter, policy, users, "a", 0)
    after_one = resident()
    for count in range(1, 20):
        request(limiter, policy, users, "a", count * 30 * SECOND)
    after_twenty = resident()
    evicted = limiter.evict(2 * DAY)
    request(limiter, policy, users, "b", 2 * DAY)
    again = resident()
    found = {
        "users": users,
        "bytes_per_user_after_1_request": round((after_one - before) / users),
        "bytes_per_user_after_20_requests": round((after_twenty - before) / users),
        "evicted": evicted,
        "bytes_per_user_of_as_many_others_after_1_request": round((again - before) / users),
    }
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name.replace('_', ' ')}: {value:,}")


if __name__ == "__main__":
    main()
