#!/usr/bin/env python3
"""Checks an exported model folder with Hugging Face's transformers: loads, tokenises alike, gives the same logits.

    python3 scripts/check_export.py FOLDER --expected EXPECTED.json [--tolerance 1e-3]
    python3 scripts/check_export.py FOLDER --against ORIGINAL_FOLDER [--tolerance 1e-4]

EXPECTED.json is one of the fixtures: tests/fixtures/models/reference/<family>/expected.json (all logits of some rows of
tokens) or tests/fixtures/models/smollm2_expected.json (token ids, rendered chats, the ten highest logits and greedy
tokens of the default model). Prints the greatest difference; exits 0 if all is within the tolerance, 1 otherwise.

transformers and torch come from the Python package index. The wheel of torch loads only with all of NVIDIA's packages
beside it, about 3 GB (a minute and a half to fetch and unpack on a fast line), so this is not part of every test run:

    python3 -m venv check-env
    check-env/bin/pip install torch==2.11.0 transformers
    check-env/bin/python scripts/check_export.py FOLDER --expected EXPECTED.json

Seen with transformers 5.23.0 on folders exported from the fixtures: 0.95e-6 to 1.9e-6 over the seven reference families
(also with 4.57 for those tried), 1.3e-5 for the default model, all token ids, chats and greedy tokens equal.
"""

import argparse
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

PROMPTS = [
    "How long should I boil an egg for a soft yolk?",
    "Prove that √2 is irrational – naïvely, please. 数学",
    "let m = Mutex::new(0);\n\n    // 1234567890",
]


class Report:
    """Collects differences and failures; both are printed, failures decide."""

    def __init__(self, tolerance):
        self.tolerance, self.greatest, self.failures = tolerance, 0.0, []

    def logits(self, name, found, expected):
        difference = (found.double() - expected.double()).abs().max().item()
        self.greatest = max(self.greatest, difference)
        if not difference <= self.tolerance:
            self.failures.append(f"{name}: logits differ by {difference:.3g}")

    def same(self, name, found, expected):
        if found != expected:
            self.failures.append(f"{name}: {str(found)[:200]} is not {str(expected)[:200]}")


def load(folder, report):
    import torch
    from transformers import AutoModelForCausalLM

    settings = {"attn_implementation": "eager", "output_loading_info": True}
    try:
        model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **settings)
    except TypeError:  # transformers 4 before it knew `dtype`
        model, info = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, **settings)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        report.same(f"{kind} of {folder}", sorted(info[kind]), [])
    return model.eval()


def tokenizer_of(folder):
    if not os.path.exists(os.path.join(folder, "tokenizer.json")):
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def logits_of(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def greedy(model, ids, count):
    ids, out = list(ids), []
    for _ in range(count):
        out.append(int(logits_of(model, ids)[-1].argmax()))
        ids.append(out[-1])
    return out


def check_expected(folder, path, report):
    import torch

    with open(path, encoding="utf-8") as file:
        expected = json.load(file)
    model, tokenizer = load(folder, report), tokenizer_of(folder)
    for i, row in enumerate(expected.get("rows", [])):
        report.logits(f"row {i}", logits_of(model, row["tokens"]), torch.tensor(row["logits"]))
    if "greedy" in expected:
        prompt, continuation = expected["greedy"]["prompt"], expected["greedy"]["continuation"]
        report.same("greedy tokens", greedy(model, prompt, len(continuation)), continuation)
    for case in expected.get("tokenize", []):
        report.same("tokens", tokenizer(case["text"])["input_ids"], case["ids"])
    for case in expected.get("chat", []):
        rendered = tokenizer.apply_chat_template(case["messages"], tokenize=False, add_generation_prompt=True)
        report.same("rendered chat", rendered, case["rendered"])
        report.same("chat tokens", tokenizer(rendered, add_special_tokens=False)["input_ids"], case["ids"])
        last = logits_of(model, case["ids"])[-1]
        top = last.topk(len(case["last_top10"]["ids"]))
        report.same("ten highest", top.indices.tolist(), case["last_top10"]["ids"])
        report.logits("ten highest", last[case["last_top10"]["ids"]], torch.tensor(case["last_top10"]["logits"]))
        report.same("greedy tokens", greedy(model, case["ids"], len(case["greedy_24"])), case["greedy_24"])
    if not (expected.get("rows") or expected.get("chat")):
        report.failures.append(f"{path} holds nothing that this script knows")


def check_against(folder, original, report):
    exported, source = load(folder, report), load(original, report)
    ours, theirs = tokenizer_of(folder), tokenizer_of(original)
    if ours is None or theirs is None:
        rows = [[(7 * i + 3 * row) % source.config.vocab_size for i in range(12 + row)] for row in range(3)]
    else:
        rows = [theirs(prompt)["input_ids"] for prompt in PROMPTS]
        report.same("tokens", [ours(prompt)["input_ids"] for prompt in PROMPTS], rows)
        if theirs.chat_template:
            chat = [{"role": "user", "content": PROMPTS[0]}]
            rendered = [t.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for t in (ours, theirs)]
            report.same("rendered chat", *rendered)
    for i, row in enumerate(rows):
        report.logits(f"row {i}", logits_of(exported, row), logits_of(source, row))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--expected")
    what.add_argument("--against")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    arguments = parser.parse_args()
    try:
        import torch
        import transformers
    except ImportError as error:
        sys.exit(f"check_export: {error}: install transformers and torch as the head of this script says")
    torch.set_num_threads(2)
    report = Report(arguments.tolerance)
    if arguments.expected:
        check_expected(arguments.folder, arguments.expected, report)
    else:
        check_against(arguments.folder, arguments.against, report)
    found = f"greatest difference {report.greatest:.3g}, tolerance {report.tolerance:g}"
    print(f"transformers {transformers.__version__}: {found}")
    for failure in report.failures:
        print(f"check_export: {failure}")
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
