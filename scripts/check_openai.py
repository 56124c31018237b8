"""Asks a running daemon everything that OpenAI's own Python client can ask of it, and says what differs.

Usage: check_openai.py [ADDRESS], by default http://127.0.0.1:8477. Each check is a function whose name is its claim; the
exit code is the number of those that do not hold. UNDERSTUDY_TOKEN is sent where it is set.
"""

import json
import os
import sys
import urllib.request

import openai

ADDRESS = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8477").rstrip("/")
KEY = os.environ.get("UNDERSTUDY_TOKEN", "none")
client = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key=KEY, max_retries=5, timeout=120)
MODEL = client.models.list().data[0].id
QUESTION = [{"role": "user", "content": "Name three colours of the rainbow."}]


def chat(**more):
    return client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, "max_tokens": 12, **more})


def text(**more):
    return client.completions.create(**{"model": MODEL, "prompt": "Name a colour.", "max_tokens": 12, **more})


def refused(kind, call, param=None):
    try:
        call()
    except kind as error:
        assert type(error) is kind, f"{type(error).__name__} is not {kind.__name__}"
        body = error.body if isinstance(error.body, dict) else {}
        assert body.get("message") and body.get("code") and body.get("type"), f"the error's body is {error.body}"
        assert param is None or body.get("param") == param, f"param is {body.get('param')!r}, not {param!r}"
        return
    raise AssertionError(f"nothing was raised, {kind.__name__} was to be")


def a_chat_has_all_its_fields():
    answer = chat()
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.model == MODEL and answer.id.startswith("chatcmpl-")
    assert choice.message.role == "assistant" and choice.message.content and choice.index == 0
    assert choice.finish_reason in ("stop", "length") and choice.logprobs is None
    usage = answer.usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer.system_fingerprint.startswith("policy-") and answer.created > 1_600_000_000


def an_answer_names_itself_and_the_versions_that_wrote_it():
    own = chat().choices[0].model_extra["understudy"]
    assert own["answer"] > 0 and own["spans"][0]["start"] == 0 and own["spans"][0]["version"] >= 0


def max_tokens_is_kept_under_both_names():
    for name in ("max_tokens", "max_completion_tokens"):
        answer = chat(**{"max_tokens": openai.omit, name: 3})
        assert answer.usage.completion_tokens <= 3, answer.usage


def n_gives_that_many_choices():
    answer = chat(n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert len({choice.model_extra["answer_id"] for choice in answer.choices}) == 2


def the_same_seed_gives_the_same_answer_of_the_same_policy():
    first, again = chat(seed=7, temperature=1.0), chat(seed=7, temperature=1.0)
    same = first.choices[0].message.content == again.choices[0].message.content
    assert same or first.system_fingerprint != again.system_fingerprint


def temperature_0_is_greedy():
    first, again = chat(seed=1, temperature=0), chat(seed=2, temperature=0)
    same = first.choices[0].message.content == again.choices[0].message.content
    assert same or first.system_fingerprint != again.system_fingerprint


def stop_ends_before_the_string():
    whole = chat(temperature=0, seed=3).choices[0].message.content
    stop = whole[len(whole) // 2 :][:2]
    answer = chat(temperature=0, seed=3, stop=[stop]).choices[0]
    assert stop not in answer.message.content and answer.finish_reason == "stop"


def logprobs_has_an_entry_for_each_token():
    answer = chat(logprobs=True)
    entries = answer.choices[0].logprobs.content
    assert len(entries) == answer.usage.completion_tokens and all(entry.logprob <= 0 for entry in entries)


def a_stream_is_the_answer_in_pieces():
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant" and len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])
    ends = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert len(ends) == 1 and "".join(pieces)


def a_stream_of_two_keeps_its_choices_apart():
    whole = ["", ""]
    for chunk in chat(stream=True, n=2, logprobs=True):
        for choice in chunk.choices:
            whole[choice.index] += choice.delta.content or ""
    assert all(whole)


def the_clients_own_stream_helper_puts_it_together():
    # The helper refuses answers that were cut for length, whoever gave them: this one ends at a string that it has.
    whole = chat(temperature=0, seed=3).choices[0].message.content
    same = {"model": MODEL, "messages": QUESTION, "max_tokens": 12, "temperature": 0, "seed": 3}
    with client.chat.completions.stream(**same, stop=[whole[len(whole) // 2 :][:2]]) as stream:
        pieces = "".join(event.delta for event in stream if event.type == "content.delta")
        assert pieces == stream.get_final_completion().choices[0].message.content


def content_parts_and_developer_messages_are_read():
    parts = [{"type": "text", "text": "Say hello."}]
    answer = chat(messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}])
    assert answer.choices[0].message.content is not None


def a_stream_that_is_closed_early_harms_nobody():
    stream = chat(stream=True, max_tokens=50)
    next(iter(stream))
    stream.close()
    chat(max_tokens=1)


def a_completion_has_all_its_fields():
    answer = text(n=2, logprobs=1)
    assert answer.object == "text_completion" and len(answer.choices) == 2
    for choice in answer.choices:
        assert choice.text and choice.finish_reason in ("stop", "length")
        assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs) == len(choice.logprobs.text_offset)


def a_streamed_completion_is_the_answer_in_pieces():
    chunks = list(text(stream=True))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")


def the_model_is_listed_and_found_by_name():
    assert client.models.retrieve(MODEL).id == MODEL
    refused(openai.NotFoundError, lambda: client.models.retrieve("no/such model"))


def errors_are_the_clients_own_classes():
    refused(openai.BadRequestError, lambda: chat(n=0), "n")
    refused(openai.BadRequestError, lambda: chat(temperature=9), "temperature")
    refused(openai.BadRequestError, lambda: chat(messages=[]), "messages")
    refused(openai.BadRequestError, lambda: chat(tools=[{"type": "function", "function": {"name": "f"}}]), "tools")
    refused(openai.BadRequestError, lambda: chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]))
    refused(openai.BadRequestError, lambda: text(echo=True), "echo")
    refused(openai.NotFoundError, lambda: chat(model="gpt-4"), "model")
    refused(openai.NotFoundError, lambda: client.embeddings.create(model=MODEL, input="x"))


def a_rating_can_name_what_the_client_was_given():
    answer = chat().id
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    body = json.dumps({"kind": "thumb", "up": True, "completion_id": answer, "annotator": "check"}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{ADDRESS}/v1/feedback", body, headers)) as reply:
        assert reply.status == 200


def main():
    wrong = 0
    own = [thing for name, thing in globals().items() if "_" in name and callable(thing)]
    checks = [thing for thing in own if thing.__module__ == "__main__"]
    for check in checks:
        try:
            check()
            print(f"ok    {check.__name__}")
        except Exception as error:
            wrong += 1
            print(f"WRONG {check.__name__}: {type(error).__name__}: {error}")
    print(f"openai {openai.__version__} against {ADDRESS} ({MODEL}): {len(checks) - wrong} of {len(checks)} hold")
    return wrong


sys.exit(main())
