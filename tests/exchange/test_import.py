from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.journal.sqlite import SqliteJournal
from tests.cli.command import MAP, open_app, run, run_json

LEARNED = {"SOJOURN_POLICIES__DEFAULT__LESSON__LEARN_SERVED_IN_SHADOW": "true"}
EPISODES = "task,reward,ended\na,1,2024-05-01T10:00:00\nb,0.5,2024-05-01T11:00:00+02:00\n"
TURNS = """task,turn,model,tool,tokens,error,at
a,0,gpt-5,search,1000,0,1714557600000
a,1,gpt-5,search,1500,1,1714557601000
a,2,gpt-5,code,2000,0,1714557602000
a,3,kimi-k2,code,2500,0,1714557603000
b,1,kimi-k2,search,1200,,
b,0,kimi-k2,search,900,,
"""


class Files:
    """A directory with a map, its two files and a journal beside them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = directory / "journal"
        self.write(MAP, EPISODES, TURNS)

    def write(self, text: str, episodes: str | None = None, turns: str | None = None) -> None:
        (self.directory / "map.toml").write_text(text)
        if episodes is not None:
            (self.directory / "episodes.csv").write_bytes(episodes.encode("utf-8", "surrogateescape"))
        if turns is not None:
            (self.directory / "turns.csv").write_bytes(turns.encode("utf-8", "surrogateescape"))

    @property
    def command(self) -> list[object]:
        return ["import", self.directory, "--map", self.directory / "map.toml", "--journal", self.journal]

    def imported(self, *, exit_code: int = 0) -> dict[str, object]:
        found: dict[str, object] = run_json(*self.command, exit_code=exit_code)
        return found

    def records(self, episode_id: str) -> list[journal_pb2.JournalRecord]:
        journal = SqliteJournal.open_read_only(self.journal)
        found = journal.episode("default", episode_id)
        journal.close()
        return found

    def decisions(self, episode_id: str) -> list[journal_pb2.DecisionRecord]:
        return [r.decision for r in self.records(episode_id) if r.HasField("decision")]

    def position(self) -> int:
        journal = SqliteJournal.open_read_only(self.journal)
        position = journal.position()
        journal.close()
        return position


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_episodes_become_records_in_the_order_of_their_turns(files: Files):
    """Each turn's decision and facts, then the outcome; a file need not be sorted."""
    summary = files.imported()
    assert (summary["episodes"], summary["turns"], summary["rejected"]) == (2, 6, [])
    assert summary["turns_by_model"] == {"gpt-5": 3, "kimi-k2": 3}
    bodies = [r.WhichOneof("body") for r in files.records("imported/b")]
    assert bodies == ["decision", "turn", "decision", "turn", "outcome"]
    assert [d.request.turn_index for d in files.decisions("imported/b")] == [0, 1]
    outcome = files.records("imported/a")[-1].outcome
    assert (outcome.request.score, outcome.joined_decisions) == (1.0, 4)
    facts = [r.turn.request.facts for r in files.records("imported/a") if r.HasField("turn")]
    assert [f.served_model for f in facts] == ["gpt-5", "gpt-5", "gpt-5", "kimi-k2"]
    assert [f.error for f in facts[:2]] == [types_pb2.SEVERITY_NONE, types_pb2.SEVERITY_MEDIUM]
    assert facts[0].usage.input_tokens == 1000


def test_a_decision_point_is_the_first_turn_a_change_of_phase_or_of_model(files: Files):
    files.imported()
    answers = [d.answer for d in files.decisions("imported/a")]
    assert [a.decision_point for a in answers] == [True, False, True, True]
    assert [types_pb2.Reason.Name(a.reason).removeprefix("REASON_") for a in answers] == [
        "FIRST_TURN",
        "HELD",
        "PHASE_CHANGED",
        "UNSPECIFIED",
    ]


def test_a_model_that_was_chosen_once_an_episode_has_to_stay(files: Files):
    """Its later turns are no decision points; a change all the same is one."""
    files.write("chosen_once = true\n" + MAP)
    files.imported()
    decisions = files.decisions("imported/a")
    assert [d.answer.decision_point for d in decisions] == [True, False, False, True]
    assert [d.request.constraints.HasField("must_stay_because") for d in decisions] == [False, True, True, False]
    assert decisions[2].answer.reason == types_pb2.REASON_MUST_STAY


def test_a_model_that_comes_back_all_the_same_had_not_stayed(files: Files):
    files.write("chosen_once = true\n" + MAP, turns=TURNS + "a,4,gpt-5,code,3000,0,1714557604000\n")
    files.imported()
    back = files.decisions("imported/a")[-1]
    assert back.answer.decision_point
    assert not back.request.constraints.HasField("must_stay_because")


def test_an_imported_decision_claims_no_choice(files: Files):
    """No chosen model, no propensity, no cohort, SHADOW: no importance weight can be made of it."""
    files.imported()
    for decision in files.decisions("imported/a"):
        answer, inputs = decision.answer, decision.inputs
        assert (answer.model, answer.propensity, answer.mode) == ("", 0.0, types_pb2.MODE_SHADOW)
        assert (inputs.cohort, inputs.cohort_probability) == (types_pb2.COHORT_UNSPECIFIED, 0.0)
        assert not answer.ranked


def test_what_was_known_before_a_turn_is_folded_as_the_router_folds_it(files: Files):
    files.imported()
    inputs = [d.inputs for d in files.decisions("imported/a")]
    assert [i.incumbent for i in inputs] == ["", "gpt-5", "gpt-5", "gpt-5"]
    assert [i.error_count for i in inputs] == [0, 0, 1, 1]
    assert [i.prompt_tokens for i in inputs] == [1000, 1500, 2000, 2500]
    warm = dict(zip(inputs[3].candidates, inputs[3].warm_tokens, strict=True))
    assert {name for name, tokens in warm.items() if tokens} == {"gpt-5"}


@pytest.mark.parametrize("learned", [True, False])
def test_imported_episodes_are_learned_by_the_explicit_setting_only(
    files: Files, learned: bool, monkeypatch: pytest.MonkeyPatch
):
    """And then the journal replays to the policy that learned them."""
    if learned:
        for name, value in LEARNED.items():
            monkeypatch.setenv(name, value)
    summary = files.imported()
    assert summary["will_be_learned"] is learned
    with open_app(files.journal) as app:
        statistics = run_json("show", "policy", "--address", app.address)["statistics"]
    assert statistics["joins"] == ({"learned": "2"} if learned else {"nothing_learnable": "2"})
    assert int(statistics.get("decisions", 0)) == (3 if learned else 0)
    assert run("replay", "--journal", files.journal).exit_code == 0


def test_what_is_not_learned_says_so(files: Files):
    assert "lesson.learn_served_in_shadow = true" in run(*files.command).stderr


def test_the_same_import_again_adds_nothing(files: Files):
    files.imported()
    before = files.position()
    summary = files.imported()
    assert (summary["episodes"], summary["episodes_already_there"]) == (0, 2)
    assert files.position() == before


def test_an_import_that_was_cut_short_is_completed(files: Files):
    """Half of an episode lies in the journal already: each record is there once in the end."""
    files.imported()
    whole, half = files.records("imported/a"), files.directory / "half"
    journal = SqliteJournal.open(half)
    source = SqliteJournal.open_read_only(files.journal)
    for record in source.read(0):
        if record.position < whole[3].position:
            journal.append(record)
    source.close()
    journal.close()
    files.journal = half
    assert files.imported()["episodes"] == 2
    assert [r.WhichOneof("body") for r in files.records("imported/a")] == [r.WhichOneof("body") for r in whole]


def test_a_journal_that_a_router_holds_is_refused(files: Files):
    with open_app(files.journal):
        result = run(*files.command)
    assert result.exit_code == 2
    assert "stop the router" in result.stderr


def test_a_dry_run_checks_and_writes_nothing(files: Files):
    summary = run_json(*files.command, "--dry-run")
    assert (summary["episodes"], summary["turns"], summary["dry_run"]) == (2, 6, True)
    assert not files.journal.exists()


def test_times_are_taken_from_the_file_else_from_the_episode_else_from_now(files: Files):
    timed = MAP.replace('score = "reward"', 'score = "reward"\nat = "ended"').replace("[turns]", '[turns]\nat = "at"')
    files.write(timed)
    files.imported()
    times = [r.received_at_ms for r in files.records("imported/a")]
    assert times[:4] == [1714557600000] * 2 + [1714557601000] * 2
    assert times[-1] == 1714557600000
    assert {r.received_at_ms for r in files.records("imported/b")} == {1714554000000}


def test_episodes_enter_the_journal_oldest_first(files: Files):
    files.write(MAP.replace('score = "reward"', 'score = "reward"\nat = "ended"'))
    files.imported()
    assert files.records("imported/b")[0].position < files.records("imported/a")[0].position


def test_an_unknown_model_gets_the_terms_of_the_map_or_is_drained(files: Files):
    """Without prices it would be the cheapest of all, so no live turn may go there."""
    files.write(
        MAP + '[models."my model"]\nmodel_class = "small"\ninput_usd_per_mtok = 0.5\noutput_usd_per_mtok = 1\n',
        turns=TURNS.replace("gpt-5", "my model").replace("kimi-k2", "mystery"),
    )
    result = run(*files.command)
    assert "drained until" in result.stderr.replace("\n", " ")
    assert "mystery" in result.stderr
    models = {m["name"]: m for m in run_json("show", "models", "--journal", files.journal)}
    assert models["my model"]["input_usd_per_mtok"] == 0.5
    assert "drained" not in models["my model"]
    assert models["mystery"]["drained"]


def test_json_lines_nest(files: Files):
    text = MAP.replace("episodes.csv", "episodes.jsonl").replace("turns.csv", "turns.jsonl")
    files.write(text.replace('"tokens"', '{ column = "usage.chars", scale = 0.25 }'))
    (files.directory / "episodes.jsonl").write_text('{"task": "a", "reward": 1}\n\n')
    row = {"task": "a", "turn": 0, "model": "gpt-5", "tool": None, "usage": {"chars": 4000}, "error": True}
    (files.directory / "turns.jsonl").write_text(json.dumps(row) + "\n")
    files.imported()
    (decision,) = files.decisions("imported/a")
    assert decision.request.context.prompt_tokens == 1000
    assert files.records("imported/a")[1].turn.request.facts.error == types_pb2.SEVERITY_MEDIUM


def test_the_tool_that_a_turn_called_is_what_the_next_turn_works_on(files: Files):
    """Of parallel calls the first one counts; the map's patterns come before the policy's."""
    called = 'tool_called = "tool"\ntool_separator = "+"'
    text = MAP.replace('tool_type = "tool"', called) + '[tool_types]\n"get_*" = "lookup"\n'
    files.write(
        text, turns="task,turn,model,tool,tokens,error\na,0,gpt-5,get_x+grep,,\na,1,gpt-5,grep,,\na,2,gpt-5,,,\n"
    )
    files.imported(exit_code=1)
    decisions = files.decisions("imported/a")
    assert [d.request.context.tool_name for d in decisions] == ["", "get_x", "grep"]
    assert [d.inputs.tool_type for d in decisions] == ["", "lookup", "search"]


def test_a_long_name_is_cut_and_stays_one_of_its_own(files: Files):
    long = "x" * 300
    files.write(
        MAP,
        f"task,reward\n{long}a,1\n{long}b,0\n",
        f"task,turn,model,tool,tokens,error\n{long}a,0,gpt-5,,,\n{long}b,0,gpt-5,,,\n",
    )
    assert files.imported()["episodes"] == 2
    names = [e["episode_id"] for e in run_json("show", "episodes", "--journal", files.journal)]
    assert len(set(names)) == 2
    assert all(len(name.encode()) == 128 for name in names)


HEADER = "task,turn,model,tool,tokens,error\n"
GOOD = "a,0,gpt-5,search,10,0\n"


@pytest.mark.parametrize(
    ("row", "column", "because"),
    [
        ("a,x,gpt-5,,,", "turn", "must be a number, is 'x'"),
        ("a,-1,gpt-5,,,", "turn", "at least 0"),
        ("a,1e400,gpt-5,,,", "turn", "finite"),
        ("a,1,gpt-5,,nan,", "tokens", "finite"),
        ("a,1,gpt-5,,1e12,", "tokens", "at most 1e+08"),
        ("a,1,gpt-5,,,awful", "error", "must be one of"),
        ("a,1,,,,", "model", "is needed"),
        ("a,1," + "m" * 200 + ",,,", "model", "at most 128 bytes"),
        ('a,1,"gpt\n5",,,', "model", "control characters"),
        ("a,1,gp\0t,,,", "model", "control characters"),
        ("a,0,gpt-5,,,", "", "turn 0 stands twice"),
        ("z,0,gpt-5,,,", "task", "an episode without a row"),
        (",0,gpt-5,,,", "task", "is required to name the episode"),
        ("a,1,gpt-5", "", "has 3 cells, the header has 6"),
        ("a,1,gpt-5,,," + "e" * 200_000, "", "is not CSV: field larger"),
    ],
)
def test_a_wrong_row_is_reported_with_its_place_and_nothing_breaks(files: Files, row: str, column: str, because: str):
    files.write(MAP, "task,reward\na,1\n", HEADER + GOOD + row + "\n")
    rejected = files.imported(exit_code=1)["rejected"]
    assert isinstance(rejected, list)
    assert any(r["column"] == column and because in r["because"] for r in rejected), rejected
    places = [(r["file"], r["line"]) for r in rejected if r["file"] == "turns.csv"]
    assert places in ([], [("turns.csv", 3 + row.count("\n"))])
    assert f"{rejected[0]['file']}:{rejected[0]['line']}: " in run(*files.command).stderr


def test_an_episode_with_a_wrong_row_is_left_out_whole(files: Files):
    """Half an episode would teach what never happened; the others come in."""
    files.write(MAP, turns=TURNS.replace("a,2,gpt-5", "a,two,gpt-5"))
    summary = files.imported(exit_code=1)
    assert summary["episodes"] == 1
    assert files.records("imported/a") == []


@pytest.mark.parametrize(
    ("row", "column", "because"),
    [
        ("a,2,", "reward", "at most 1"),
        ("a,-0.5,", "reward", "at least 0"),
        ("a,,", "reward", "nothing says how the episode ended"),
        ("a,1,\nb,1,\na,0,", "task", "again; the first is in line 2"),
        ("a,1,\nlonely,1,", "", "it has no turns"),
    ],
)
def test_a_wrong_outcome_is_reported_with_its_place(files: Files, row: str, column: str, because: str):
    files.write(MAP, f"task,reward,ended\n{row}\n")
    rejected = files.imported(exit_code=1)["rejected"]
    assert isinstance(rejected, list)
    assert any(r["column"] == column and because in r["because"] for r in rejected), rejected


def test_statuses_stand_for_scores(files: Files):
    text = MAP.replace('score = "reward"', 'status = "reward"\nstatuses = { Solved = "SUCCEEDED", no = "FAILED" }')
    files.write(text, "task,reward\na,solved\nb,no\n")
    files.imported()
    ended = [files.records(f"imported/{task}")[-1].outcome.request.status for task in "ab"]
    assert ended == [types_pb2.OUTCOME_STATUS_SUCCEEDED, types_pb2.OUTCOME_STATUS_FAILED]


def test_all_mistakes_of_a_map_are_named_at_once(files: Files):
    files.write(MAP.replace('file = "turns.csv"', "fille = 1").replace('"error"', "7"))
    result = run(*files.command)
    assert result.exit_code == 2
    for key in ("turns.file", "turns.fille", "turns.error"):
        assert f"{key}: " in result.stderr


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('model = "model"', "", "turns.model or episodes.model is needed"),
        ('score = "reward"', "", "episodes.score or episodes.status is needed"),
        ('model = "model"', 'model = "mmodel"', "no column 'mmodel'"),
        ("turns.csv", "none.csv", "none.csv: No such file"),
        ("[episodes]", "[episodes", "not valid TOML"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(files: Files, before: str, after: str, said: str):
    files.write(MAP.replace(before, after))
    result = run(*files.command)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not files.journal.exists()


def test_an_unknown_policy_is_refused(files: Files):
    result = run(*files.command, "--policy", "none")
    assert result.exit_code == 2
    assert "there are ['default']" in result.stderr


@settings(max_examples=60)
@given(data=st.binary(max_size=300), suffix=st.sampled_from(["csv", "jsonl"]))
def test_no_file_can_crash_it(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str):
    """Whatever the bytes, the exit code is one of the three that the help names."""
    files = Files(tmp_path_factory.mktemp("fuzz"))
    files.write(MAP.replace("turns.csv", f"turns.{suffix}"))
    header = b'task,turn,model,tool,tokens,error\n"a",0,' if suffix == "csv" else b'{"task": "a", "model": '
    (files.directory / f"turns.{suffix}").write_bytes(header + data)
    assert run(*files.command, "--dry-run").exit_code in (0, 1, 2)


def test_half_a_character_is_no_name(files: Files):
    """JSON can spell a lone surrogate, which no message can hold."""
    files.write(MAP.replace("turns.csv", "turns.jsonl"), "task,reward\na,1\n")
    (files.directory / "turns.jsonl").write_text('{"task": "a", "turn": 0, "model": "\\ud800"}\n')
    (rejected, left_out) = run_json(*files.command, exit_code=1)["rejected"]
    assert "lone surrogates" in rejected["because"]
    assert left_out["file"] == "episodes.csv"


def test_bytes_that_are_no_text_become_a_mark(files: Files):
    files.write(MAP, "task,reward\na,1\n")
    (files.directory / "turns.csv").write_bytes(HEADER.encode() + b"a,0,gpt\xff,,,\n")
    assert files.imported()["turns_by_model"] == {"gpt\N{REPLACEMENT CHARACTER}": 1}
