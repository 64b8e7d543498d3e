"""What holds in every tracing backend, read back by its own API. Skipped but in `python -m tests.backends`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.backends.agent import CONVERSATION, INPUT_TOKENS, NOBODY, OUTPUT_TOKENS
from tests.backends.backend import Span, Trace, wait_for
from tests.backends.backends import BACKENDS, FOLDER_VARIABLE, PICTURES_VARIABLE
from tests.backends.stage import LAST_EPISODE, TURNS, Stage, played, section

SCORE = 0.75

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get(FOLDER_VARIABLE), reason=f"SKIPPED: {FOLDER_VARIABLE} names no installed backends"
    ),
    pytest.mark.timeout(900),  # the first test of a backend starts it, which takes long on a cold disk
]


@pytest.fixture(scope="session", params=[*BACKENDS])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    python = Path(os.environ[FOLDER_VARIABLE]) / request.param / "bin" / "python"
    directory = tmp_path_factory.mktemp(request.param)
    with BACKENDS[request.param].started(python, directory) as backend:
        yield played(backend, python, directory)


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def only(spans: list[Span]) -> Span:
    (span,) = spans
    return span


def trace_of(stage: Stage) -> Trace:
    told = stage.backend.trace(stage.told.trace_id(LAST_EPISODE))
    if told is None:
        pytest.skip("SKIPPED: this backend knows nothing of models, sessions and scores")
    return told


def test_a_decision_hangs_under_the_turn_that_asked(stage: Stage):
    spans = {span.span_id: span for span in stage.spans(LAST_EPISODE)}
    decisions = {s.attributes["sojourn.decision_id"]: s for s in named([*spans.values()], "sojourn.decide")}
    for told in stage.told.decisions[LAST_EPISODE]:
        rpc = spans[decisions[told["decision_id"]].parent_id]
        assert rpc.name == "sojourn.v1.RouterService/Decide"
        assert rpc.parent_id == told["turn_span_id"]
        assert spans[rpc.parent_id].name.startswith("turn: ")


def test_a_decision_says_what_was_chosen_and_why(stage: Stage):
    told = stage.told.decisions[LAST_EPISODE]
    found = {s.attributes["sojourn.turn_index"]: s for s in named(stage.spans(LAST_EPISODE), "sojourn.decide")}
    assert len(found) == len(told) == TURNS
    for index, answer in enumerate(told):
        attributes = found[index].attributes
        for field in ("decision_id", "model", "reason", "phase"):
            assert attributes[f"sojourn.{field}"] == answer[field]
        assert attributes["sojourn.propensity"] == pytest.approx(answer["propensity"])
        assert attributes["sojourn.episode_id"] == LAST_EPISODE


def test_the_outcome_is_in_the_trace_of_its_episode_and_names_its_decisions(stage: Stage):
    outcome = only(named(stage.spans(LAST_EPISODE), "sojourn.outcome"))
    assert outcome.attributes["sojourn.outcome.score"] == SCORE
    assert [*outcome.attributes["sojourn.decision_ids"]] == [
        d["decision_id"] for d in stage.told.decisions[LAST_EPISODE]
    ]


def test_an_outcome_from_elsewhere_names_its_decisions(stage: Stage):
    outcome = only(named(stage.backend.spans(stage.told.judge_trace_id), "sojourn.outcome"))
    told = stage.told.decisions["judged-later"]
    assert [*outcome.attributes["sojourn.decision_ids"]] == [decision["decision_id"] for decision in told]


def test_an_outcome_from_elsewhere_links_to_its_decisions(stage: Stage):
    outcome = only(named(stage.backend.spans(stage.told.judge_trace_id), "sojourn.outcome"))
    if not stage.backend.keeps_links:
        assert outcome.links == ()
        pytest.skip("SKIPPED: this backend drops links")
    traces = [decision["trace_id"] for decision in stage.told.decisions["judged-later"]]
    decisions = [only(named(stage.backend.spans(trace_id), "sojourn.decide")) for trace_id in traces]
    assert len(set(traces)) == 2
    assert [*outcome.links] == [(t, d.span_id) for t, d in zip(traces, decisions, strict=True)]


def test_an_episode_is_found_by_its_id_wherever_its_outcome_was_reported(stage: Stage):
    assert f"`{stage.backend.search}`" in section(stage.backend.title)
    found = stage.backend.find(stage.backend.search.replace("task-17", "judged-later"))
    decided = {decision["trace_id"] for decision in stage.told.decisions["judged-later"]}
    assert found == {*decided, stage.told.judge_trace_id}


def test_only_calls_by_the_agent_count_as_calls_of_models(stage: Stage):
    trace_of(stage)
    called = [span.name for span in stage.spans(LAST_EPISODE) if span.is_model_call]
    assert sorted(called) == sorted(f"chat {decision['model']}" for decision in stage.told.decisions[LAST_EPISODE])


def test_only_calls_by_the_agent_cost_tokens_and_money(stage: Stage):
    whole = wait_for(lambda: trace_of(stage), lambda told: told.cost_usd > 0)  # some work it out afterwards
    assert whole.tokens == TURNS * (INPUT_TOKENS + OUTPUT_TOKENS)
    assert whole.cost_usd > 0
    judged = stage.backend.trace(stage.told.judge_trace_id)
    assert judged is not None
    assert (judged.tokens, judged.cost_usd) == (0, 0)


def test_the_trace_stays_in_the_session_of_the_agent(stage: Stage):
    assert trace_of(stage).session == CONVERSATION


def test_the_score_shows_as_an_evaluation(stage: Stage):
    assert wait_for(lambda: trace_of(stage).scores, bool) == {"outcome": SCORE}


def test_what_the_caller_does_not_sample_leaves_no_span_and_the_same_records(stage: Stage):
    assert stage.backend.spans(f"{NOBODY.trace_id:032x}") == []
    assert stage.told.records["unsampled"] == stage.told.records[LAST_EPISODE] > TURNS


def test_its_page_shows_the_decision(stage: Stage, chromium: Path):
    trace_of(stage)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # as root, in a container, there is none
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(180_000)
        where = stage.backend.show(page, stage.told.trace_id(LAST_EPISODE))
        page.get_by_text("sojourn.reason").first.wait_for()
        picture = page.screenshot(clip=where, animations="disabled")
        browser.close()
    assert len(picture) <= 200_000
    if folder := os.environ.get(PICTURES_VARIABLE):
        (Path(folder) / f"{type(stage.backend).__name__.lower()}.png").write_bytes(picture)
