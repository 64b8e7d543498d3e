"""The Grafana dashboards: `python -m deploy.dashboards` writes them to deploy/grafana/, for Grafana to import.

Change them here: a test compares the files with what this makes, and runs every query against a live router.
"""

from __future__ import annotations

from pathlib import Path

from deploy.panels import Dashboard, Panel, bad_from, count, good_from, mean, quantile, rate, series, stat
from sojourn_server.telemetry import (
    DECIDE_DURATION,
    DECISIONS,
    EPISODE_COST,
    EPISODE_SCORE,
    FALLBACKS,
    FAULTS,
    IGNORED_TURNS,
    JOINS,
    LEARNER_LAG,
    POLICY_AGE,
    POLICY_VERSION,
    REPORTS,
    SWITCHES,
    SWITCHING_COST,
)

FOLDER = Path(__file__).parent / "grafana"
SLOW_S = 0.025  # half of the clients' default deadline

MODEL, REASON, COHORT = "sojourn_model", "sojourn_reason", "sojourn_cohort"
LEARNED, NEVER_SWITCH = 'sojourn_cohort="LEARNED"', 'sojourn_cohort="NEVER_SWITCH"'
FIRST_TURN, HELD = 'sojourn_reason="FIRST_TURN"', 'sojourn_reason="HELD"'
CACHE_EXPIRED, JOINED_LEARNED = 'sojourn_reason="CACHE_EXPIRED"', 'sojourn_join_state="learned"'
FREE_TO_LEAVE = 'sojourn_reason=~"PHASE_CHANGED|CACHE_EXPIRED"'

DECISIONS_BY_MODEL = Panel(
    "Decisions by model",
    "Decisions per second, by the model that was chosen.",
    "reqps",
    {f"{{{{{MODEL}}}}}": rate(DECISIONS, by=MODEL)},
    stacked=True,
)
SCORE_BY_COHORT = Panel(
    "Score by cohort",
    "Mean terminal score of the episodes that were learned. LEARNED is the policy, the others are its controls; "
    "`sojourn savings` has the intervals.",
    "none",
    {f"{{{{{COHORT}}}}}": mean(EPISODE_SCORE, by=COHORT)},
)
SPEND_BY_COHORT = Panel(
    "Spend per episode by cohort",
    "Mean USD of the episodes that were learned.",
    "currencyUSD",
    {f"{{{{{COHORT}}}}}": mean(EPISODE_COST, by=COHORT)},
)
DECIDE_LATENCY = Panel(
    "Time of a decision",
    "As the server measures it, the journal's commit included. The dashed line is half of the clients' deadline.",
    "s",
    {f"p{q:.0%}".rstrip("%"): quantile(q, DECIDE_DURATION) for q in (0.5, 0.9, 0.99)},
    steps=bad_from(SLOW_S),
)
FAULTS_BY_KIND = Panel(
    "Faults by kind",
    "Faults that were survived, per second. Each kind has an entry in the runbook (docs/operations.md).",
    "cps",
    {"{{sojourn_fault_kind}}": rate(FAULTS, by="sojourn_fault_kind")},
)
FALLBACK_SHARE = stat(
    "Decided without the policy",
    "Share of decisions that an inner fault or an absent journal left to the incumbent or the heuristic.",
    "percentunit",
    f"({count(FALLBACKS)} or vector(0)) / {count(DECISIONS)}",
    bad_from(0.001),
)

OVERVIEW = Dashboard(
    "sojourn-overview",
    "Sojourn / Overview",
    "What the router does, what it is worth, and whether it is well.",
    [
        stat("Decisions", "Decisions per second.", "reqps", rate(DECISIONS, over="$__range")),
        stat("Episodes", "Episodes that the learner has met.", "short", count(JOINS)),
        stat(
            "Score",
            "Mean terminal score of episodes that the learned policy served.",
            "none",
            mean(EPISODE_SCORE, where=LEARNED, over="$__range"),
        ),
        stat(
            "Spend per episode",
            "Mean USD of episodes that the learned policy served.",
            "currencyUSD",
            mean(EPISODE_COST, where=LEARNED, over="$__range"),
        ),
        stat(
            "Saved against never-switch",
            "How much less an episode costs under the learned policy than in the never-switch control. "
            "Few control episodes say little: `sojourn savings` has the interval, and the score beside it.",
            "percentunit",
            f"1 - ({mean(EPISODE_COST, where=LEARNED, over='$__range')})"
            f" / ({mean(EPISODE_COST, where=NEVER_SWITCH, over='$__range')})",
            good_from(0.0),
        ),
        FALLBACK_SHARE,
        DECISIONS_BY_MODEL,
        Panel(
            "Decisions by reason",
            "Why the choice was open, or why it was not: HELD between decision points.",
            "reqps",
            {f"{{{{{REASON}}}}}": rate(DECISIONS, by=REASON)},
            stacked=True,
        ),
        SCORE_BY_COHORT,
        SPEND_BY_COHORT,
        DECIDE_LATENCY,
        FAULTS_BY_KIND,
    ],
)

SWITCHING = Dashboard(
    "sojourn-switching",
    "Sojourn / Switching and cache",
    "How often the incumbent is left, why, and what its prompt cache was worth.",
    [
        stat(
            "Switches per episode",
            "Switches over first turns.",
            "none",
            f"{count(SWITCHES)} / {count(DECISIONS, where=FIRST_TURN)}",
        ),
        stat(
            "Turns held",
            "Share of turns between decision points, where the incumbent is kept.",
            "percentunit",
            f"{count(DECISIONS, where=HELD)} / {count(DECISIONS)}",
        ),
        stat(
            "Left when free to leave",
            "Share of changed phases and expired caches at which the incumbent was left.",
            "percentunit",
            f"{count(SWITCHES, where=FREE_TO_LEAVE)} / {count(DECISIONS, where=FREE_TO_LEAVE)}",
        ),
        stat(
            "Caches found cold",
            "Share of turns at which the incumbent's prompt cache was presumed gone.",
            "percentunit",
            f"{count(DECISIONS, where=CACHE_EXPIRED)} / {count(DECISIONS)}",
        ),
        stat(
            "Given up per switch",
            "Expected price of the warm prompt cache that a switch gave up, in USD.",
            "currencyUSD",
            f"{count(SWITCHING_COST)} / {count(SWITCHES)}",
        ),
        stat(
            "Given up, of the spend",
            "The same over all episodes' spend: what switching costs.",
            "percentunit",
            f"{rate(SWITCHING_COST, over='$__range')} / {rate(EPISODE_COST, over='$__range', part='_sum')}",
            bad_from(0.2),
        ),
        Panel(
            "Switches by reason",
            "Switches per second, by why the choice was open. An error alone is never a reason.",
            "cps",
            {f"{{{{{REASON}}}}}": rate(SWITCHES, by=REASON)},
            stacked=True,
        ),
        Panel(
            "Left, by reason",
            "Share of decisions that left the incumbent, by why the choice was open.",
            "percentunit",
            {
                f"{{{{{REASON}}}}}": f"{rate(SWITCHES, by=REASON, over='$window')}"
                f" / {rate(DECISIONS, by=REASON, over='$window')}"
            },
        ),
        Panel(
            "Switches per episode by policy",
            "Switches over first turns. A sudden rise: candidates, prices or phases that flicker.",
            "none",
            {
                "{{sojourn_policy}}": f"{rate(SWITCHES, by='sojourn_policy', over='$window')}"
                f" / {rate(DECISIONS, by='sojourn_policy', where=FIRST_TURN, over='$window')}"
            },
        ),
        Panel(
            "Cache money given up",
            "Expected price of the warm prompt caches that switches gave up, in USD per hour.",
            "currencyUSD",
            {"{{sojourn_policy}}": f"3600 * {rate(SWITCHING_COST, by='sojourn_policy', over='$window')}"},
        ),
        DECISIONS_BY_MODEL,
        Panel(
            "Choices at first turns",
            "Which model begins episodes, per second.",
            "reqps",
            {f"{{{{{MODEL}}}}}": rate(DECISIONS, by=MODEL, where=FIRST_TURN)},
            stacked=True,
        ),
    ],
)

LEARNING = Dashboard(
    "sojourn-learning",
    "Sojourn / Learning",
    "Whether outcomes come, whether they are learned, and what came of it.",
    [
        stat(
            "Episodes learned",
            "Episodes that taught the policy something.",
            "short",
            count(JOINS, where=JOINED_LEARNED),
        ),
        stat(
            "Share learned",
            "Of all episodes that the learner has met. Others were abandoned, late, expired, quarantined or excluded.",
            "percentunit",
            f"{count(JOINS, where=JOINED_LEARNED)} / {count(JOINS)}",
            good_from(0.9),
        ),
        stat(
            "Outcomes taken",
            "ReportOutcome calls that were recorded.",
            "short",
            count(REPORTS, where='sojourn_report_kind="outcome", sojourn_report_state="RECORDED"'),
        ),
        stat(
            "Contradicted facts",
            "Facts of a previous turn that contradicted recorded ones, and were ignored: the caller's mistake.",
            "short",
            f"{count(IGNORED_TURNS)} or vector(0)",
            bad_from(1),
        ),
        stat(
            "Age of the version",
            "Time since the newest version of the least recent policy was made; it stands still without outcomes.",
            "s",
            f"max(min by (sojourn_policy) ({series(POLICY_AGE)}))",
            bad_from(3600),
        ),
        stat(
            "Records behind",
            "Journal records that the newest version did not hold when it was published.",
            "short",
            f"max({series(LEARNER_LAG)})",
        ),
        SCORE_BY_COHORT,
        SPEND_BY_COHORT,
        Panel(
            "Episodes by how they joined",
            "Episodes per second: learned, or why not.",
            "cps",
            {"{{sojourn_join_state}}": rate(JOINS, by="sojourn_join_state")},
            stacked=True,
        ),
        Panel(
            "Outcomes by state",
            "Outcomes per second: recorded, repeated, or after their window.",
            "cps",
            {
                "{{sojourn_report_state}}": rate(
                    REPORTS, by="sojourn_report_state", where='sojourn_report_kind="outcome"'
                )
            },
            stacked=True,
        ),
        Panel(
            "Scores of the learned policy",
            "How terminal scores are spread, over time.",
            "none",
            {"{{le}}": f"sum by (le) (increase({series(EPISODE_SCORE, LEARNED, '_bucket')}[$__rate_interval]))"},
            "heatmap",
        ),
        Panel(
            "Journal position learned up to",
            "The policy's version. Level while outcomes come: learning stands still.",
            "short",
            {"{{sojourn_policy}} {{instance}}": f"max by (sojourn_policy, instance) ({series(POLICY_VERSION)})"},
        ),
    ],
)

OPERATIONS = Dashboard(
    "sojourn-operations",
    "Sojourn / Operations",
    "For whoever is on call: latency, faults and resources by instance. The runbook is docs/operations.md.",
    [
        stat("Routers up", "Instances that answer Prometheus.", "short", 'sum(up{job=~"$job"})', good_from(1)),
        stat(
            "Decisions at once",
            "Decisions in progress, in the mean; `server.threads` bounds them.",
            "none",
            rate(DECIDE_DURATION, over="$__range", part="_sum"),
        ),
        stat(
            "Slowest percent",
            "The 99th percentile of the time of a decision.",
            "s",
            f"histogram_quantile(0.99, {rate(DECIDE_DURATION, by='le', over='$__range', part='_bucket')})",
            bad_from(SLOW_S),
        ),
        stat("Faults", "Faults that were survived.", "short", count(FAULTS), bad_from(1)),
        FALLBACK_SHARE,
        stat(
            "Refused for overload",
            "Calls beyond `server.max_calls_in_flight`.",
            "short",
            count(FAULTS, where='sojourn_fault_kind="overloaded"'),
            bad_from(1),
        ),
        DECIDE_LATENCY,
        Panel(
            "Times of decisions",
            "How the time of a decision is spread, over time.",
            "s",
            {"{{le}}": f"sum by (le) (increase({series(DECIDE_DURATION, part='_bucket')}[$__rate_interval]))"},
            "heatmap",
        ),
        FAULTS_BY_KIND,
        Panel(
            "Decisions without the policy",
            "Per second, by reason. Clients go on, and what they then do is not learned.",
            "reqps",
            {f"{{{{{REASON}}}}}": rate(FALLBACKS, by=REASON)},
        ),
        Panel(
            "Decisions by instance",
            "Decisions per second of each router.",
            "reqps",
            {"{{instance}}": rate(DECIDE_DURATION, by="instance", part="_count")},
        ),
        Panel(
            "Reports by kind and state",
            "ReportTurn and ReportOutcome per second: RECORDED, DUPLICATE or LATE.",
            "reqps",
            {
                "{{sojourn_report_kind}} {{sojourn_report_state}}": rate(
                    REPORTS, by="sojourn_report_kind, sojourn_report_state"
                )
            },
        ),
        Panel(
            "Age of the version by instance",
            "Time since the version was made by which this router decides.",
            "s",
            {"{{sojourn_policy}} {{instance}}": f"max by (sojourn_policy, instance) ({series(POLICY_AGE)})"},
            steps=bad_from(3600),
        ),
        Panel(
            "Memory",
            "Resident memory of each router. Over OTLP there is none.",
            "bytes",
            {"{{instance}}": 'process_resident_memory_bytes{job=~"$job"}'},
        ),
        Panel(
            "Processor",
            "Cores that each router keeps busy; one Python process decides on about one. Over OTLP there is none.",
            "none",
            {"{{instance}}": 'rate(process_cpu_seconds_total{job=~"$job"}[$__rate_interval])'},
        ),
        Panel(
            "Open files",
            "Sockets and files of each router, beside how many it may have. Over OTLP there is none.",
            "short",
            {"{{instance}}": 'process_open_fds{job=~"$job"}', "{{instance}} at most": 'process_max_fds{job=~"$job"}'},
        ),
        Panel(
            "Releases",
            "The release of each router.",
            "none",
            {"": 'count by (instance, service_name, service_version) (target_info{job=~"$job"})'},
            "table",
        ),
    ],
)

DASHBOARDS = {"overview": OVERVIEW, "switching": SWITCHING, "learning": LEARNING, "operations": OPERATIONS}


def main() -> None:
    """Writes a file per dashboard."""
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(dashboard.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
