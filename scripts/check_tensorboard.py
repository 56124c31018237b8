#!/usr/bin/env python3
"""Reads the event files under FOLDER (telemetry.tensorboard_dir) with TensorBoard itself and looks at what it makes of them.

    python3 scripts/check_tensorboard.py FOLDER [--updates N]

Run it with scripts/check_tensorboard.sh, which installs tensorboard. Both of its readers are asked: the one that loads
events in Python, and every record with its checksums. Prints each run's tags with their number of points, first and last
step and last value; exits 0 if all that must be there is there, 1 otherwise.
"""

import argparse
import math
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tensorboard.backend.event_processing import event_accumulator, event_file_loader  # noqa: E402

# What a loop that answers, is rated and learns must have written.
WANTED = {
    "policy": [
        "train/reward",
        "train/reward_std",
        "train/kl",
        "train/entropy",
        "train/clip_ratio/region_mean",
        "train/completions/mean_length",
        "train/completions/clipped_ratio",
        "train/frac_reward_zero_std",
        "train/policy_loss",
        "train/sampling/importance_sampling_ratio/mean",
        "understudy/publish_to_first_token_s",
    ],
    "reward": ["train/loss", "train/grad_norm", "train/step_time"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--updates", type=int, default=1, help="fewest points of train/reward")
    asked = parser.parse_args()
    wrong = []
    for run, wanted in WANTED.items():
        folder = os.path.join(asked.folder, run)
        files = sorted(os.path.join(folder, name) for name in os.listdir(folder))
        # Raises where a checksum or a protocol buffer is wrong, and ends early where a record is torn.
        events = [event for file in files for event in event_file_loader.RawEventFileLoader(file).Load()]
        loaded = event_accumulator.EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0}).Reload()
        scalars = {tag: [(p.step, p.value) for p in loaded.Scalars(tag)] for tag in loaded.Tags()["scalars"]}
        print(f"{run}: {len(files)} files, {len(events)} records, {len(scalars)} tags")
        for tag, points in sorted(scalars.items()):
            steps = [step for step, _ in points]
            print(f"  {tag}: {len(points)} points, steps {steps[0]} to {steps[-1]}, last {points[-1][1]:.6g}")
            if steps != sorted(steps):
                wrong.append(f"{run} {tag}: steps go back")
            if not all(math.isfinite(value) for _, value in points):
                wrong.append(f"{run} {tag}: a value is not finite")
        wrong += [f"{run}: {tag} is missing" for tag in wanted if tag not in scalars]
        if run == "policy" and len(scalars.get("train/reward", [])) < asked.updates:
            wrong.append(f"fewer than {asked.updates} points of train/reward")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
