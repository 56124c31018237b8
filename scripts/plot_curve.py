#!/usr/bin/env python3
"""Draws the curve that `understudy simulate --out FILE` writes, as an SVG. Needs Python 3 alone.

    scripts/plot_curve.py curve.jsonl curve.svg
"""

import json
import sys

WIDTH, HEIGHT, LEFT, TOP, GAP = 720, 150, 64, 26, 44
PANELS = [
    ("gold reward of the update's fresh answers (line: mean of 5)", lambda d: (d.get("gold") or {}).get("mean")),
    ("prequential accuracy of the reward model", lambda d: d.get("reward_accuracy")),
    ("KL to the base model, nats an answer", lambda d: (d.get("ppo") or {}).get("kl_per_sequence")),
    ("tokens an answer", lambda d: (d.get("ppo") or {}).get("mean_length")),
]


def panel(index, title, times, values):
    """One chart: dots, and a line through the mean of five."""
    top = TOP + index * (HEIGHT + GAP)
    points = [(t, v) for t, v in zip(times, values) if v is not None]
    low, high = min(v for _, v in points), max(v for _, v in points)
    margin = (high - low or 1.0) * 0.08
    low, high = low - margin, high + margin
    span = max(times[-1], 1e-9)
    x = lambda t: LEFT + t / span * (WIDTH - LEFT - 16)
    y = lambda v: top + HEIGHT - (v - low) / (high - low) * HEIGHT
    out = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>']
    for step in range(3):
        value = low + (high - low) * step / 2
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#8884"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    out += [f'<circle cx="{x(t):.1f}" cy="{y(v):.1f}" r="2.2" fill="#2a7f9e" fill-opacity="0.55"/>' for t, v in points]
    means = [(points[i][0], sum(v for _, v in points[i - 4 : i + 1]) / 5) for i in range(4, len(points))]
    line = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in means)
    out.append(f'<polyline points="{line}" fill="none" stroke="#d1495b" stroke-width="2"/>')
    return out


def main():
    """Reads the curve, writes the picture."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    if len(rows) < 2:
        sys.exit(f"{sys.argv[1]} holds {len(rows)} updates; at least 2 make a curve")
    times = [row["t_s"] / 60 for row in rows]
    height = TOP + len(PANELS) * (HEIGHT + GAP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for index, (title, pick) in enumerate(PANELS):
        out += panel(index, title, times, [pick(row) for row in rows])
    out.append(f'<text x="{WIDTH - 16}" y="{height - 10}" text-anchor="end">minutes, 0 to {times[-1]:.1f}</text></svg>')
    with open(sys.argv[2], "w", encoding="utf-8") as picture:
        picture.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
