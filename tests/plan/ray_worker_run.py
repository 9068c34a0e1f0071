"""Plans a pool on two workers of Ray and prints its figures; run with an interpreter that has Ray."""

import hashlib
import json
import sys

from large_pools import large, reference

from tieline.rim.executors import RayWorkers

if __name__ == "__main__":
    with RayWorkers(2) as workers:
        plan = large(reference(int(sys.argv[1])), 64, int(sys.argv[2]), executor=workers)
    print(json.dumps({
        "cost": plan.cost.hex(), "bound": plan.bound.hex(),
        "bits": hashlib.sha256(plan.power_w.tobytes() + plan.stored_wh.tobytes()).hexdigest(),
    }))  # fmt: skip
